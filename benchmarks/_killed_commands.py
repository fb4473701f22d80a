"""Commands that are killed with SIGKILL at random moments, and run again."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._same import HRM, Tally, names, plain, snapshot
from hrm_arc.cli.show import counting
from hrm_arc.errors import UserError

SMALL = [
    *("--data.smallest", "12", "--data.augment", "20", "--model.hidden_size", "32", "--model.num_heads", "2"),
    *("--training.max_steps", "20", "--training.batch_size", "8", "--training.accelerator", "cpu"),
]
# Arguments of each command, in a folder with a run and an exported model; and those that are added to run it again.
COMMANDS: dict[str, tuple[list[str], list[str]]] = {
    "eval": (["eval", "run", "--votes", "256"], []),
    "validate": (["validate", "model.onnx", "--augment", "300"], ["--resume"]),
    "export": (["export", "run", "--out", "other.onnx", "--samples", "200"], []),
    "build": (["data", "build", "arc-agi-1/training", "--augment", "5", "--out", "built", "--workers", "2"], []),
}
# A command that ended before its kill is tried again so many times.
TRIES = 10


@dataclass(frozen=True)
class _Undisturbed:
    """A command that nobody disturbed.

    Attributes:
        printed: its result, without measured values.
        files: what its files hold in the end.
        names: of its files and folders.
        seconds: from the first change of a file to the end.
    """

    printed: str
    files: dict[str, str]
    names: set[str]
    seconds: float


class Kills:
    """Kills commands, each in a copy of one folder.

    Args:
        root: an empty folder.
        seed: of the moments.
    """

    def __init__(self, root: Path, seed: int):
        self._root, self._moments = root, random.Random(seed)
        self._good = root / "good"
        self._good.mkdir()
        trained = json.loads(_printed([*HRM, "train", "quickstart", *SMALL, "--out", "runs", "--json"], self._good))
        (self._good / trained["folder"]).rename(self._good / "run")
        (self._good / "runs").rmdir()
        _printed([*HRM, "export", "run", "--out", "model.onnx", "--samples", "10"], self._good)

    def rows(self, name: str, times: int) -> Iterator[dict[str, Any]]:
        """Kill a command, and run it again, so many times."""
        arguments, again = COMMANDS[name]
        command = [*HRM, *arguments, "--json"]
        straight = self._undisturbed(command)
        tally, changed = Tally(), 0
        with counting(f"kills of {name}", times) as count:
            for number in range(times):
                copy = self._killed(command, straight.seconds)
                changed += names(copy) != names(self._good)
                done = subprocess.run([*command, *again], cwd=copy, capture_output=True, text=True, check=False)
                files = snapshot(copy)
                tally.times += 1
                tally.leftovers += len(names(copy) - straight.names)
                is_same = all(files.get(file) == content for file, content in straight.files.items())
                tally.same += is_same and done.returncode == 0 and self._result(done.stdout, copy) == straight.printed
                shutil.rmtree(copy)
                count(number + 1)
        how = " ".join(("hrm", *arguments[: 2 if name == "build" else 1]))
        what = f"{how}: SIGKILL, then the same command{' with ' if again else ''}{' '.join(again)}"
        yield tally.row(what, f"{changed} of {times} had files of an unfinished command")

    def _undisturbed(self, command: list[str]) -> _Undisturbed:
        copy = self._copy()
        process = subprocess.Popen(command, cwd=copy, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        _await_change(copy, process.poll)
        began = time.monotonic()
        printed, _ = process.communicate()
        seconds = time.monotonic() - began
        if process.returncode:
            raise UserError(" ".join(command), f"ended with status {process.returncode}")
        straight = _Undisturbed(self._result(printed, copy), snapshot(copy), names(copy), seconds)
        shutil.rmtree(copy)
        return straight

    def _killed(self, command: list[str], seconds: float) -> Path:
        """Kill a command at a random moment after its first change of a file; returns its folder.

        Raises:
            UserError: it always ended before its kill.
        """
        for _ in range(TRIES):
            copy = self._copy()
            process = subprocess.Popen(command, cwd=copy, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            _await_change(copy, process.poll)
            time.sleep(self._moments.uniform(0, seconds))
            was_running = process.poll() is None
            process.kill()
            process.wait()
            if was_running:
                return copy
            shutil.rmtree(copy)
        raise UserError(" ".join(command), "always ended before its kill")

    def _copy(self) -> Path:
        return Path(shutil.copytree(self._good, self._root / "copy"))

    @staticmethod
    def _result(printed: str, copy: Path) -> str:
        return plain(printed).replace(str(copy), "PLACE") if printed else ""


def _await_change(folder: Path, has_ended: Callable[[], int | None]) -> None:
    """Wait until the files of a folder change, or the command has ended."""
    before = _times(folder)
    while has_ended() is None and _times(folder) == before:
        time.sleep(0.002)


def _times(folder: Path) -> list[tuple[str, int]]:
    found = []
    for path in sorted(folder.rglob("*")):
        try:
            found.append((str(path), path.stat().st_mtime_ns))
        except OSError:  # It is a temporary file that was renamed.
            found.append((str(path), 0))
    return found


def _printed(command: list[str], folder: Path) -> str:
    """What a command prints that has to go well."""
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
