"""Runs commands on damaged copies of a run, several at a time, and judges what they do."""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import multiprocessing.connection
import os
import re
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks._corrupt import Case
from hrm_arc.cli.show import note

# Imported once, by the process that all cases are forked from.
IMPORTED = [
    *("hrm_arc.cli.main", "hrm_arc.deploy.export", "hrm_arc.deploy.runtime", "hrm_arc.solver"),
    *("hrm_arc.evaluation.torch_backend", "hrm_arc.report.page", "hrm_arc.report.versus", "hrm_arc.training.trainer"),
    *("hrm_arc.training.recipes", "jsonargparse", "onnxruntime", "rich.live", "torch._dynamo"),
]
# Seconds of a command on undamaged files, at the most.
UNDAMAGED = 600.0
# What a clock, a random name or a place has a say in.
VOLATILE = re.compile(
    r'"(seconds|started|report|folder|run_id|file|memory|temperature|watts|[a-z_]*bytes|[a-z_]*per_sec[a-z_]*)":'
    r" [^,}]+"
)
# Words in a result that say of a number that it is not there.
SAID = re.compile("damaged|not known|unknown|missing")


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


@dataclass
class _Started:
    """A command that runs on a copy, which is the folder ``place``."""

    case: Case
    place: Path
    process: Any
    began: float
    before: list[tuple[str, str]]
    is_touched: bool = False


@dataclass(frozen=True)
class Ended:
    """What a command has printed, with its place named PLACE, and its exit status, or None if it was too slow."""

    out: str
    err: str
    status: int | None
    seconds: float


class Bench:
    """A small run with its scores and its export, made once; copies of it are damaged.

    Args:
        root: an empty folder.
        limit: seconds that a command may take.
        jobs: commands that run at the same time.
    """

    def __init__(self, root: Path, limit: float, jobs: int):
        self.root, self.limit, self.jobs = root.resolve(), limit, jobs
        # Forks of one process that has imported what the commands need, and has done nothing else.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(IMPORTED)
        self.good = self.root / "good"
        self._number = 0
        self._expected: dict[tuple[str, ...], Ended] = {}
        note("making a run, its scores and its export")
        self._make()

    def _make(self) -> None:
        tasks = self.good / "tasks"
        tasks.mkdir(parents=True)
        (self.good / "out").mkdir()
        for number in range(3):
            rows = [[[number, 1], [2, 3 + n]] for n in range(4)]
            pairs = [{"input": grid, "output": grid[::-1]} for grid in rows]
            (tasks / f"flip{number}.json").write_text(json.dumps({"train": pairs[:3], "test": pairs[3:]}))
        small = {"name": "grid-hrm", "hidden_size": 16, "num_heads": 2, "h_layers": 1, "l_layers": 1}
        training = {"max_steps": 40, "batch_size": 8, "log_every": 10, "checkpoint_every": 20, "accelerator": "cpu"}
        # The path of the tasks is relative, so that a copy is trained and scored on its own tasks.
        recipe = {"model": small, "data": {"solve": ["tasks"], "augment": 5}, "training": training}
        path = self.good / "recipe.yaml"
        path.write_text(json.dumps({**recipe, "validation": {"every": 20}, "evaluation": {"votes": 2}}))
        for run in ("runs", "others"):
            trained = json.loads(self._make_with("train", "recipe.yaml", "--out", f"{run}/made", "--json"))
            made = self.good / trained["folder"]
            made.rename(self.good / run / "run")
            made.parent.rmdir()
            self._make_with("eval", f"{run}/run", "--votes=2")
        self._make_with("export", "runs/run", "--out", "model.onnx", "--samples=6")
        self._make_with("validate", "model.onnx")

    def _make_with(self, *arguments: str) -> str:
        """Run a command in the undamaged folder itself; returns what it prints."""
        process = self._process(arguments, self.good)
        process.start()
        process.join()
        if process.exitcode:
            raise RuntimeError((self.good / "stderr").read_text())
        return (self.good / "stdout").read_text()

    def run(self, cases: Sequence[Case], outcome: Outcome, progress: Callable[[int], None] = lambda done: None) -> None:
        """Damage copies and run commands on them.

        Args:
            cases: what to damage in which way, for which command.
            outcome: counts each case as soon as it has ended.
            progress: called with the number of cases that were done.
        """
        progress(0)
        for case in cases:
            if tuple(case.arguments) not in self._expected:
                self._expected[tuple(case.arguments)] = self._undamaged(case)
        slow = self._together(cases, self.jobs, outcome, progress)
        # Alone a command has the machine for itself.
        slow = self._together(slow, 1, outcome, progress) if self.jobs > 1 else slow
        outcome.cases += len(slow)
        outcome.slowest = max(outcome.slowest, self.limit if slow else 0.0)
        outcome.hangs.extend(map(str, slow))
        progress(outcome.cases)

    def _undamaged(self, case: Case) -> Ended:
        started = self._start(case, undamaged=True)
        multiprocessing.connection.wait([started.process.sentinel], UNDAMAGED)
        ended = self._end(started)
        if ended.status != 0:
            raise RuntimeError(f"{case.command} on undamaged files: status {ended.status}\n{ended.err}")
        return ended

    def _together(
        self, cases: Sequence[Case], jobs: int, outcome: Outcome, progress: Callable[[int], None]
    ) -> list[Case]:
        """Run cases, so many at a time; returns those that were too slow, which are not counted."""
        waiting, slow = list(reversed(cases)), []
        running: list[_Started] = []
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    running.append(self._start(waiting.pop()))
                left = min(each.began for each in running) + self.limit - time.monotonic()
                ready = multiprocessing.connection.wait([each.process.sentinel for each in running], max(0.0, left))
                for each in list(running):
                    is_late = time.monotonic() - each.began >= self.limit
                    if not is_late and each.process.sentinel not in ready:
                        continue
                    running.remove(each)
                    ended = self._end(each)
                    if is_late:
                        slow.append(each.case)
                    else:
                        usual = self._expected[tuple(each.case.arguments)]
                        judge(each.case, ended, usual, each.is_touched, outcome)
                    progress(outcome.cases + len(slow) if jobs > 1 else outcome.cases)
        finally:
            for each in running:
                self._end(each)
        return slow

    def _start(self, case: Case, undamaged: bool = False) -> _Started:
        self._number += 1
        place = self.root / str(self._number)
        shutil.copytree(self.good, place / "copy")
        outside = place / "outside"
        outside.mkdir()
        if not undamaged:
            case.damage(place / "copy", outside)
        process = self._process(case.arguments, place / "copy")
        started = _Started(case, place, process, time.monotonic(), _guarded(place))
        process.start()
        return started

    def _process(self, arguments: Sequence[str], copy: Path) -> Any:
        places = {
            "OTHER": copy / "others" / "run",
            "RUN": copy / "runs" / "run",
            "TASKS": copy / "tasks",
            "TASK": copy / "tasks" / "flip0.json",
            "RECIPE": copy / "recipe.yaml",
            "OUT": copy / "out",
            "ONNX": copy / "model.onnx",
            "THEIRS": copy / "model.validation.json",
        }
        filled = [re.sub("|".join(places), lambda match: str(places[match[0]]), each) for each in arguments]
        return self._context.Process(target=_child, args=(filled, copy))

    def _end(self, started: _Started) -> Ended:
        """End a command that has not ended, and remove its folder."""
        process, copy = started.process, started.place / "copy"
        seconds = time.monotonic() - started.began
        was_running = process.is_alive()
        if was_running:
            process.kill()
        process.join()
        # A process that was stopped early has no files.
        texts = [
            file.read_text(errors="replace") if file.is_file() else "" for file in (copy / "stdout", copy / "stderr")
        ]
        out, err = (text.replace(str(copy), "PLACE") for text in texts)
        ended = Ended(out, err, None if was_running else process.exitcode, seconds)
        process.close()
        started.is_touched = started.before != _guarded(started.place)
        shutil.rmtree(started.place, ignore_errors=True)
        return ended


def judge(case: Case, ended: Ended, usual: Ended, is_touched: bool, outcome: Outcome) -> None:
    """Count a case.

    Args:
        case: what was damaged, for which command.
        ended: what the command did.
        usual: what it does on undamaged files.
        is_touched: whether a file outside of the run has changed.
        outcome: where to count it.
    """
    outcome.cases += 1
    outcome.slowest = max(outcome.slowest, ended.seconds)
    if ended.status not in (0, 1, 2) or "Traceback" in ended.err:
        outcome.tracebacks.append(f"{case}: {ended.err.strip().splitlines()[-1:]}")
    elif ended.status and "error: " not in ended.err:
        outcome.silent.append(f"{case}: exit status {ended.status} without a message")
    if is_touched:
        outcome.outside.append(str(case))
    is_said = messages(ended.err) - messages(usual.err) or said(ended.out) > said(usual.out)
    if ended.status == 0 and plain(ended.out) != plain(usual.out) and not is_said:
        outcome.silent.append(f"{case}: {difference(plain(usual.out), plain(ended.out))}")


def _child(arguments: Sequence[str], copy: Path) -> None:
    """Run a command in a process of its own, and leave it."""
    code = 70
    try:
        os.chdir(copy)
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), number)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        import torch

        from hrm_arc.cli.main import main

        # Several commands share the cores.
        torch.set_num_threads(1)
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


def _guarded(place: Path) -> list[tuple[str, str]]:
    """What no command may touch, with a hash of each file: what links lead to, another run, and the tasks."""
    found = []
    for folder in (place / "outside", place / "copy" / "others", place / "copy" / "tasks"):
        for path in sorted(folder.rglob("*")):
            content = path.read_bytes() if path.is_file() else b""
            found.append((str(path), hashlib.sha256(content).hexdigest()))
    return found


def difference(one: str, other: str, around: int = 60) -> str:
    """The first place at which two texts differ."""
    place = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    first, last = max(0, place - around), place + around
    return f"{one[first:last]!r} has become {other[first:last]!r}"


def messages(text: str) -> set[str]:
    """The kinds of messages in standard error, without numbers and random names."""
    return {re.sub(r"[0-9a-f]*[0-9][0-9a-f]*", "#", line) for line in text.splitlines()}


def said(text: str) -> int:
    """How often a result says of a number that it is not there."""
    return len(SAID.findall(text))


def plain(text: str) -> str:
    """A command's output without what differs from run to run."""
    # The live view has times, speeds and memory.
    return "\n".join(
        line
        for line in VOLATILE.sub(r'"\1": 0', text).splitlines()
        if not re.search(r"last update|speed|data \d+%|backward|other \d+%|MiB|memory", line)
    )


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
