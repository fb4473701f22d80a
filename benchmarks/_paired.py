"""Runs compared test output by test output: the difference of their pass@2, with an interval."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._runs import Scored


def difference(before: Sequence[Scored], after: Sequence[Scored]) -> tuple[float, float, float]:
    """The difference of pass@2 of runs that were scored on the same tasks, one for each seed; see :func:`paired`."""
    first, second = (np.array([solved(run.folder) for run in runs]) for runs in (before, after))
    return paired(first, second, [row["task"] for row in _answers(before[0].folder)])


def paired(first: np.ndarray, second: np.ndarray, tasks: Sequence[str]) -> tuple[float, float, float]:
    """The difference of pass@2, and the ends of its 95% interval: a paired bootstrap over tasks.

    Args:
        first, second: whether each test output was solved, ``[seeds, outputs]`` (bool).
        tasks: the task of each test output.
    """
    from hrm_arc.evaluation.bootstrap import ratio_interval

    differences = (second.astype(int) - first.astype(int)).sum(0)
    _, members = np.unique(tasks, return_inverse=True)
    sums = np.stack([np.bincount(members, weights=differences), len(first) * np.bincount(members)], axis=1)
    low, high = ratio_interval(sums, 0)
    return float(differences.sum() / first.size), low, high


def shown(found: tuple[float, float, float]) -> str:
    """A difference with its interval, for a table."""
    return "{:+.1%} ({:+.1%} to {:+.1%})".format(*found)


def solved(run: Path) -> list[bool]:
    """Whether each test output with a known answer was solved, in an order that all runs have."""
    from hrm_arc.evaluation.comparison import is_solved

    return [is_solved(row) for row in _answers(run)]


def right_votes(run: Scored) -> float:
    """The share of all votes that are right: it tells runs apart that solve equally many test outputs."""
    rows = _answers(run.folder)
    right = sum(c["votes"] for row in rows for c in row["candidates"] if c["grid"] == row["truth"])
    # Votes without a readable grid count as wrong.
    return right / (run.scores["votes"] * len(rows))


def _answers(run: Path) -> list[dict[str, Any]]:
    from hrm_arc.reading import read_lines

    rows = [row for row in read_lines(run / "predictions.jsonl") if row["truth"] is not None]
    return sorted(rows, key=lambda row: (row["task"], row["test"]))
