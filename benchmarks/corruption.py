"""Damaged files: every file of a run and of an export, damaged in every way, given to every command.

Each case copies a small run, damages one file, and runs one command on it in a process of its own. Counted are
tracebacks, commands that take longer than the limit, files outside the run that were touched, and numbers that differ
from those of the undamaged run without a message.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hrm_arc.cli.show import counting, note

RUN_FILES = (
    *("config.yaml", "status.json", "metrics.jsonl", "train.log", "predictions.jsonl", "scores.json"),
    *("submission.json", "checkpoints/NEWEST/checkpoint.json", "checkpoints/NEWEST/model.safetensors"),
    "checkpoints/NEWEST/training.safetensors",
)
EXPORT_FILES = ("model.onnx", "model.validation.json")
# Arguments of each command; RUN, OTHER, TASK, ONNX and OUT are filled in.
RUN_COMMANDS: dict[str, list[str]] = {
    "train --resume": ["train", "--resume", "RUN", "--training.max_steps=6", "--override=training.max_steps", "--json"],
    "runs": ["runs", "RUN/..", "--json"],
    "watch": ["watch", "RUN", "--once"],
    "eval": ["eval", "RUN", "--votes=2", "--json"],
    "audit": ["audit", "RUN", "--json"],
    "analyze": ["analyze", "RUN", "--json"],
    "report": ["report", "RUN", "--json"],
    "report of two": ["report", "OTHER", "RUN", "--json", "--out", "OUT/versus.html"],
    "eval --submission": ["eval", "--submission", "RUN/predictions.jsonl", "--data", "TASKS", "--json"],
    "solve --model": ["solve", "TASK", "--model", "RUN", "--finetune-seconds=0", "--votes=2", "--json"],
}
EXPORT_COMMANDS: dict[str, list[str]] = {
    "validate": ["validate", "ONNX", "--resume", "--json"],
    "eval": ["eval", "ONNX", "--votes=2", "--json", "--out", "OUT/scores"],
    "solve --model": ["solve", "TASK", "--model", "ONNX", "--votes=2", "--json"],
}
# What a clock, a random name or a place has a say in.
VOLATILE = re.compile(
    r'"(seconds|started|report|folder|run_id|file|memory|[a-z_]*bytes|[a-z_]*per_sec[a-z_]*)": [^,}]+'
)


@dataclass
class Outcome:
    """What became of some cases; each list names the cases."""

    cases: int = 0
    slowest: float = 0.0
    tracebacks: list[str] = field(default_factory=list)
    hangs: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        """Count further cases."""
        self.cases += other.cases
        self.slowest = max(self.slowest, other.slowest)
        for name in ("tracebacks", "hangs", "outside", "silent"):
            getattr(self, name).extend(getattr(other, name))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", type=float, default=5.0, metavar="S", help="longest time of a command (default 5)")
    parser.add_argument("--only", nargs="+", metavar="FILE", help="only these files")
    parser.add_argument("--verbose", action="store_true", help="name every case that went wrong")


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options.limit)
        files = [*RUN_FILES, *EXPORT_FILES]
        total = Outcome()
        for name in [each for each in files if not options.only or each in options.only]:
            outcome = bench.cases_of(name)
            total.add(outcome)
            yield _row(name, outcome, options.verbose)
        yield _row("all", total, False)


def _row(name: str, outcome: Outcome, verbose: bool) -> dict[str, Any]:
    if verbose:
        for kind in ("tracebacks", "hangs", "outside", "silent"):
            for case in getattr(outcome, kind):
                note(f"{kind}: {case}")
    return {
        "file": name.replace("NEWEST/", ""),
        "cases": outcome.cases,
        "tracebacks": len(outcome.tracebacks),
        "over the time limit": len(outcome.hangs),
        "files touched outside": len(outcome.outside),
        "numbers changed without a message": len(outcome.silent),
        "slowest command": f"{outcome.slowest:.1f} s",
    }


class Bench:
    """A small run with its scores and its export, made once; copies of it are damaged.

    Args:
        root: an empty folder.
        limit: seconds that a command may take.
    """

    def __init__(self, root: Path, limit: float):
        self.root, self.limit = root, limit
        self.outside = root / "outside"
        self.outside.mkdir()
        self.good = root / "good"
        self._make()
        # Imported once here; every case is a fork of this process.
        import hrm_arc.deploy.runtime
        import hrm_arc.evaluation.solver
        import hrm_arc.report.page
        import hrm_arc.training.trainer  # noqa: F401

        self._expected = {
            (kind, name): self._run(self.good, command)
            for kind, commands in (("run", RUN_COMMANDS), ("export", EXPORT_COMMANDS))
            for name, command in commands.items()
        }

    def _make(self) -> None:
        tasks = self.good / "tasks"
        tasks.mkdir(parents=True)
        for number in range(3):
            rows = [[[number, 1], [2, 3 + n]] for n in range(4)]
            pairs = [{"input": grid, "output": grid[::-1]} for grid in rows]
            (tasks / f"flip{number}.json").write_text(json.dumps({"train": pairs[:3], "test": pairs[3:]}))
        small = {"name": "grid-hrm", "hidden_size": 16, "num_heads": 2, "h_layers": 1, "l_layers": 1}
        training = {"max_steps": 4, "batch_size": 8, "log_every": 1, "checkpoint_every": 2, "accelerator": "cpu"}
        recipe = {"model": small, "data": {"solve": [str(tasks)], "augment": 5}, "training": training}
        path = self.good / "recipe.yaml"
        path.write_text(json.dumps({**recipe, "validation": {"every": 2}, "evaluation": {"votes": 2}}))
        note("making a run, its scores and its export")
        for run in ("runs", "others"):
            trained = hrm("train", path, "--out", self.good / "made", "--json")
            shutil.move(json.loads(trained)["folder"], self.good / run / "run")
            hrm("eval", self.good / run / "run", "--votes", "2")
        hrm("export", self.good / "runs" / "run", "--out", self.good / "model.onnx", "--samples", "6")
        hrm("validate", self.good / "model.onnx")

    def cases_of(self, name: str) -> Outcome:
        """Damage one file in every way, for every command that reads such files."""
        outcome = Outcome()
        commands = EXPORT_COMMANDS if name in EXPORT_FILES else RUN_COMMANDS
        kind = "export" if name in EXPORT_FILES else "run"
        with counting(name, len(MUTATIONS) * len(commands)) as progress:
            for mutation, damage in MUTATIONS.items():
                for verb, command in commands.items():
                    self._case(outcome, f"{name}, {mutation}, {verb}", name, damage, command, (kind, verb))
                    progress(outcome.cases)
        return outcome

    def _case(
        self,
        outcome: Outcome,
        case: str,
        name: str,
        damage: Callable[[Path, Path], None],
        command: Sequence[str],
        key: tuple[str, str],
    ) -> None:
        copy = self.root / "copy"
        shutil.copytree(self.good, copy)
        base = copy if name in EXPORT_FILES else copy / "runs" / "run"
        newest = max(path.name for path in (copy / "runs" / "run" / "checkpoints").iterdir())
        with contextlib.ExitStack() as cleanup:
            cleanup.callback(shutil.rmtree, copy, ignore_errors=True)
            damage(base / name.replace("NEWEST", newest), self.outside)
            before = fingerprint(self.outside)
            seconds, status, out, err = self._run(copy, command)
            outcome.cases += 1
            outcome.slowest = max(outcome.slowest, seconds)
            if seconds >= self.limit:
                outcome.hangs.append(case)
            elif status not in (0, 1, 2) or "Traceback" in err:
                outcome.tracebacks.append(f"{case}: {err.strip().splitlines()[-1:]}")
            if fingerprint(self.outside) != before:
                outcome.outside.append(case)
            _, _, expected, usual = self._expected[key]
            spoken = set(err.splitlines()) - set(usual.splitlines()) or re.search("damaged|not known|unknown", out)
            if status == 0 and plain(out, copy) != plain(expected, self.good) and not spoken:
                outcome.silent.append(f"{case}\n  {plain(expected, self.good)[:2000]}\n  {plain(out, copy)[:2000]}")

    def _run(self, place: Path, command: Sequence[str]) -> tuple[float, int, str, str]:
        """Run a command on a copy; returns seconds, exit status, standard output and standard error."""
        own = place if place != self.good else Path(shutil.copytree(self.good, self.root / "first"))
        (own / "out").mkdir(exist_ok=True)
        places = {
            "OTHER": own / "others" / "run",
            "RUN": own / "runs" / "run",
            "TASKS": own / "tasks",
            "TASK": own / "tasks" / "flip0.json",
            "ONNX": own / "model.onnx",
            "OUT": own / "out",
        }
        arguments = [re.sub("|".join(places), lambda match: str(places[match[0]]), each) for each in command]
        files = own / "stdout", own / "stderr"
        started = time.monotonic()
        child = os.fork()
        if child == 0:
            _child(arguments, own, *files)
        status = -1
        while time.monotonic() - started < self.limit:
            done, code = os.waitpid(child, os.WNOHANG)
            if done:
                status = os.waitstatus_to_exitcode(code)
                break
            time.sleep(0.005)
        else:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        seconds = time.monotonic() - started
        out, err = (file.read_text(errors="replace") for file in files)
        if own != place:
            out, err = (text.replace(str(own), str(place)) for text in (out, err))
            shutil.rmtree(own)
        return seconds, status, out, err


def _child(arguments: Sequence[str], place: Path, out: Path, err: Path) -> None:
    """Run a command in a forked process, and leave."""
    code = 70
    try:
        for number, file in ((1, out), (2, err)):
            os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), number)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        os.chdir(place)
        from hrm_arc.cli.main import main

        code = main(list(arguments))
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def hrm(*arguments: str | Path) -> str:
    """Run the command in a process of its own; returns its standard output."""
    command = [sys.executable, "-m", "hrm_arc", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def fingerprint(folder: Path) -> list[tuple[str, str]]:
    """Every file of a folder with a hash of its content."""
    return [
        (str(path), hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]


def plain(text: str, place: Path) -> str:
    """A command's output without what differs from run to run."""
    text = VOLATILE.sub(r'"\1": 0', text.replace(str(place), "PLACE"))
    # The live view has times, speeds and memory.
    return "\n".join(
        line
        for line in text.splitlines()
        if not re.search(r"last update|speed|data \d+%|backward|other \d+%|MiB|memory", line)
    )


def _write(content: bytes) -> Callable[[Path, Path], None]:
    return lambda path, outside: path.write_bytes(content) and None


def _cut(path: Path, outside: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def _halve(path: Path, outside: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _flip(path: Path, outside: Path) -> None:
    """Change a digit near the middle, or a byte where there is none."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    places = [n for n in range(middle, len(content)) if chr(content[n]) in "12345678"]
    place = places[0] if places else middle
    content[place] ^= 1
    path.write_bytes(content)


def _fifo(path: Path, outside: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _device(path: Path, outside: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _link_out(path: Path, outside: Path) -> None:
    target = outside / path.name
    shutil.copyfile(path, target)
    path.unlink()
    path.symlink_to(target)


def _directory(path: Path, outside: Path) -> None:
    path.unlink()
    path.mkdir()


def _remove(path: Path, outside: Path) -> None:
    path.unlink()


MUTATIONS: dict[str, Callable[[Path, Path], None]] = {
    "cut": _cut,
    "halved": _halve,
    "byte flipped": _flip,
    "[]": _write(b"[]\n"),
    "5": _write(b"5\n"),
    "null": _write(b"null\n"),
    "{}": _write(b"{}\n"),
    "deep": _write(b"[" * 100_000),
    "binary": _write(bytes(range(256)) * 40),
    "FIFO": _fifo,
    "device": _device,
    "link outward": _link_out,
    "directory": _directory,
    "removed": _remove,
}
