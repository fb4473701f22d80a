"""Refinement: how many answers are right after each segment, and how many cells the segment changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hrm_arc.evaluation.prediction import Prediction, truths
from hrm_arc.evaluation.scores import same
from hrm_arc.puzzles.task import Grid, Task


def refinement(tasks: Sequence[Task], predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    """One row for each segment, over the test outputs with a known answer and a recorded refinement.

    All segments are run for every test output, without early exit.

    Returns:
        rows of ``segment`` (from 1), ``test_outputs``, ``exact``: the number of these that are right after the
        segment, in one pass without votes, and ``changed``: the mean share of cells that the segment changed, see
        :func:`cells_changed`; None for the first segment.
    """
    outputs = truths(tasks)
    known = [p for p in predictions if p.refinement and outputs[p.key] is not None]
    rows: list[dict[str, Any]] = []
    for segment in range(max((len(p.refinement) for p in known), default=0)):
        right = [same(p.refinement[segment], _known(outputs[p.key])) for p in known]
        changed = [cells_changed(p.refinement[segment - 1], p.refinement[segment]) for p in known if segment]
        rows.append(
            {
                "segment": segment + 1,
                "test_outputs": len(known),
                "exact": sum(right),
                "changed": float(np.mean(changed)) if changed else None,
            }
        )
    return rows


def cells_changed(before: Grid | None, after: Grid | None) -> float:
    """The share of cells that differ: 1 if the sizes differ or only one of the two is a readable grid."""
    if before is None or after is None:
        return float(before is not after)
    return float((before != after).mean()) if before.shape == after.shape else 1.0


def _known(truth: Grid | None) -> Grid:
    assert truth is not None
    return truth
