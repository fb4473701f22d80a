"""Comparison of two sets of predictions on the same test outputs: is one significantly better?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hrm_arc.evaluation.bootstrap import ratio_interval
from hrm_arc.puzzles.task import ATTEMPTS

# Rows of predictions.jsonl.
Rows = Sequence[Mapping[str, Any]]


def compare(first: Rows, second: Rows, seed: int = 0) -> dict[str, Any]:
    """Compare two models on each test output that both answered and whose answer is known.

    Args:
        first: rows of the first model's predictions.jsonl.
        second: rows of the second model's predictions.jsonl.
        seed: of the bootstrap.

    Returns:
        ``test_outputs`` and ``tasks``: the numbers of those compared;
        ``both``, ``first_only``, ``second_only``, ``neither``: test outputs by who solved them in two attempts;
        ``difference``: share solved by the second model minus share solved by the first, and its 95%
        ``interval`` (paired bootstrap over tasks, or over the boards of a game; None for a single task);
        ``left_out``: test outputs that only one of them answered.

    Raises:
        ValueError: they have no test output in common, were scored on different answers, or have two answers to
            one test output.
    """
    ours, theirs = _known(first), _known(second)
    common = [key for key in ours if key in theirs]
    if not common:
        raise ValueError("they have no test output with a known answer in common")
    for key in common:
        if ours[key]["truth"] != theirs[key]["truth"]:
            raise ValueError(f"they were scored on different answers to {key[0]}")
    solved = np.array([(is_solved(ours[key]), is_solved(theirs[key])) for key in common], dtype=int)
    names = [f"{key[0]}/{key[1]}" if ours[key].get("board") else key[0] for key in common]
    _, members = np.unique(names, return_inverse=True)
    # Sums for each task: a resample of tasks then needs no loop over test outputs.
    sums = np.stack([np.bincount(members, weights=solved[:, 1] - solved[:, 0]), np.bincount(members)], axis=1)
    a, b = solved[:, 0], solved[:, 1]
    return {
        "test_outputs": len(common),
        "tasks": len(sums),
        "both": int((a & b).sum()),
        "first_only": int((a & ~b & 1).sum()),
        "second_only": int((b & ~a & 1).sum()),
        "neither": int((1 - (a | b)).sum()),
        "difference": float((b - a).mean()),
        "interval": ratio_interval(sums, seed) if len(sums) > 1 else None,
        "left_out": len(ours) + len(theirs) - 2 * len(common),
    }


def _known(rows: Rows) -> dict[tuple[str, int], Mapping[str, Any]]:
    known: dict[tuple[str, int], Mapping[str, Any]] = {}
    for row in rows:
        if row["truth"] is not None and known.setdefault((row["task"], row["test"]), row) is not row:
            raise ValueError(f"there are two answers to {row['task']}, test {row['test'] + 1}")
    return known


def is_solved(row: Mapping[str, Any]) -> bool:
    """Whether one of the two attempts of a row of predictions.jsonl is its truth."""
    return row["truth"] is not None and any(c["grid"] == row["truth"] for c in row["candidates"][:ATTEMPTS])
