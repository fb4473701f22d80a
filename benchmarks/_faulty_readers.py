"""Trainings whose readers go away, and whose session is closed.

    python -m benchmarks._faulty_readers pipe|full 1,2 ARGUMENTS...

is ``hrm ARGUMENTS``; at SIGUSR1 the descriptors become a pipe without a reader, or a full device.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks._same import HRM, TRAIN, Tally, finish, is_same_run, leftovers, only_run, progress
from hrm_arc.cli.show import counting
from hrm_arc.errors import UserError
from hrm_arc.runs.checkpoint import LATEST, list_checkpoints
from hrm_arc.runs.folder import RunFolder

# Steps of a training, and seconds within which it is disturbed after its first checkpoint.
STEPS, WITHIN = 300, 3.0
READERS = {"pipe": "its reader closes the pipe", "full": "it becomes a full device"}
DESCRIPTORS = {"1": "standard output", "2": "standard error", "1,2": "both"}
TERMINATED = 130


class Trainings:
    """Trainings of one recipe, each compared with one that nobody disturbed.

    Args:
        root: an empty folder.
        seed: of the moments.
    """

    def __init__(self, root: Path, seed: int):
        self._root, self._moments = root, random.Random(seed)
        self._flags = ["--training.max_steps", str(STEPS), "--training.log_every", "1"]
        self._straight = finish(self._command(TRAIN, root / "straight"), root / "straight")
        self._number = 0

    def _command(self, train: Sequence[str], root: Path) -> list[str]:
        return [*train, *self._flags, "--out", str(root)]

    def readers(self, times: int) -> Iterator[dict[str, Any]]:
        """Trainings that lose their readers at random moments, and go on."""
        tallies = {kind: Tally() for kind in READERS}
        with counting("readers that go away", times) as count:
            for number in range(times):
                kind = list(READERS)[number % 2]
                descriptors = list(DESCRIPTORS)[number // 2 % 3]
                status, run = self._disturbed(
                    [sys.executable, "-m", "benchmarks._faulty_readers", kind, descriptors, *TRAIN[len(HRM) :]],
                    signal.SIGUSR1,
                )
                # A result that is lost is an error; a reader that does not want it is none.
                expected = 1 if kind == "full" and "1" in descriptors else 0
                tally = tallies[kind]
                tally.times += 1
                tally.same += status == expected and is_same_run(run, self._straight)
                tally.leftovers += leftovers(run, self._straight)
                count(number + 1)
        for kind, tally in tallies.items():
            if tally.times:
                yield tally.row(f"train: {READERS[kind]}", f"of {', of '.join(DESCRIPTORS.values())}")

    def hangups(self, times: int) -> Iterator[dict[str, Any]]:
        """Trainings that a closed session ends, and that are resumed; and others under nohup, which go on."""
        # Under nohup this process ignores SIGHUP, and so would its children.
        former = signal.signal(signal.SIGHUP, signal.SIG_DFL)
        ended, ignored, saved = Tally(), Tally(), 0
        with counting("SIGHUP", 2 * times) as count:
            for number in range(times):
                status, run = self._disturbed(TRAIN, signal.SIGHUP)
                is_saved = status == TERMINATED and _is_saved(run)
                saved += is_saved
                run = finish([*HRM, "train", "--resume", str(run.path)], run.path.parent)
                ended.times += 1
                ended.same += is_saved and is_same_run(run, self._straight)
                ended.leftovers += leftovers(run, self._straight)
                count(2 * number + 1)
                status, run = self._disturbed(["nohup", *TRAIN], signal.SIGHUP)
                ignored.times += 1
                ignored.same += status == 0 and is_same_run(run, self._straight)
                ignored.leftovers += leftovers(run, self._straight)
                count(2 * number + 2)
        signal.signal(signal.SIGHUP, former)
        if times:
            yield ended.row("train: SIGHUP, then --resume", f"{saved} of {times} saved at once, exit status 130")
            yield ignored.row("train: SIGHUP under nohup")

    def _disturbed(self, train: Sequence[str], number: signal.Signals) -> tuple[int, RunFolder]:
        """Train, and send a signal at a random moment; returns the exit status and the run.

        Raises:
            UserError: the training always ended before its signal.
        """
        for _ in range(10):
            self._number += 1
            root = self._root / str(self._number)
            process = subprocess.Popen(
                self._command(train, root), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            # What is written is read and dropped, as by a person who scrolls on.
            drain = subprocess.Popen(["cat"], stdin=process.stdout, stdout=subprocess.DEVNULL)
            assert process.stdout is not None
            process.stdout.close()
            while process.poll() is None and not progress(root):
                time.sleep(0.005)
            time.sleep(self._moments.uniform(0, WITHIN))
            was_running = process.poll() is None
            process.send_signal(number)
            status = process.wait()
            drain.wait()
            if was_running:
                return status, only_run(root)
        raise UserError("bench faults", "every training ended before it was disturbed, expected a slower machine")


def _is_saved(run: RunFolder) -> bool:
    """Whether a run was interrupted with a checkpoint of the step that it was at."""
    status, checkpoints = run.status(), list_checkpoints(run.checkpoints, LATEST)
    newest = checkpoints[-1].name if checkpoints else ""
    return status.get("state") == "interrupted" and newest == f"{LATEST}-{status['current_step']:08d}"


def _main(kind: str, descriptors: str, arguments: Sequence[str]) -> None:
    """Run a command that loses its readers at SIGUSR1."""
    from hrm_arc.cli.main import entry

    reader, writer = os.pipe()
    os.close(reader)
    lost = writer if kind == "pipe" else os.open("/dev/full", os.O_WRONLY)

    def lose(number: int, frame: FrameType | None) -> None:
        for descriptor in descriptors.split(","):
            os.dup2(lost, int(descriptor))

    signal.signal(signal.SIGUSR1, lose)
    sys.argv = ["hrm", *arguments]
    entry()


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2], sys.argv[3:])
