"""Fingerprints of tasks: a run knows its tasks by their grids, not by their names alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from hrm_arc.puzzles.task import Grid, Pair, Task

# A game has thousands of boards; their fingerprints are combined.
MOST_PAIRS = 200


def task_fingerprint(task: Task) -> dict[str, Any]:
    """What identifies a task's grids.

    Returns:
        ``pairs``: of each demonstration; ``tests``: of each test input; ``answers``: of each test output, None where
        it is not known: 16 hexadecimal digits each, or one for all of more than 200.
    """
    return {
        "pairs": _combined([pair_fingerprint(pair) for pair in task.demonstrations]),
        "tests": _combined([_digest(test.input) for test in task.tests]),
        "answers": _combined([None if test.output is None else _digest(test.output) for test in task.tests]),
    }


def pair_fingerprint(pair: Pair) -> str:
    """16 hexadecimal digits of an input with its output."""
    return _digest(pair.input) if pair.output is None else _digest(pair.input, pair.output)


def task_changes(task: Task, known: Mapping[str, Any] | None) -> list[str]:
    """How a task differs from the one with its name that a model was trained on, in words; nothing if it does not.

    Args:
        task: the task now.
        known: its fingerprint at training time; None if it was not in training.
    """
    if not isinstance(known, Mapping):
        return []
    now = task_fingerprint(task)
    learned = known.get("pairs")
    said = []
    if now["pairs"] != learned:
        said.append("its demonstrations have changed")
    if now["tests"] != known.get("tests"):
        said.append("its test inputs have changed")
    elif now["answers"] != known.get("answers") and not _only_hidden(now["answers"], known.get("answers")):
        said.append("its answers have changed")
    if isinstance(learned, Sequence) and not isinstance(learned, str):
        for number, test in enumerate(task.tests, start=1):
            if test.output is not None and pair_fingerprint(test) in learned:
                said.append(f"its test {number} is a demonstration that was trained on")
    return said


def _only_hidden(now: Any, known: Any) -> bool:
    """Whether answers differ only in that some are known on one side."""
    if not isinstance(now, list) or not isinstance(known, list) or len(now) != len(known):
        return False
    return all(a is None or b is None or a == b for a, b in zip(now, known, strict=True))


def _combined(digests: list[str | None]) -> Any:
    if len(digests) <= MOST_PAIRS:
        return digests
    return hashlib.sha256(repr(digests).encode()).hexdigest()[:16]


def _digest(*grids: Grid) -> str:
    digest = hashlib.sha256()
    for grid in grids:
        digest.update(repr(grid.shape).encode() + grid.tobytes())
    return digest.hexdigest()[:16]
