from __future__ import annotations

import numpy as np
import pytest

from hrm_arc.evaluation.prediction import Prediction
from hrm_arc.evaluation.refinement import cells_changed, refinement
from hrm_arc.puzzles.task import Grid, Pair, Task, make_grid

EMPTY = np.zeros(900, dtype=np.uint8)
A, B, WIDE = make_grid([[1, 2], [3, 4]]), make_grid([[1, 2], [3, 5]]), make_grid([[1, 2, 3]])


def predicted(task: str, *grids: Grid | None) -> Prediction:
    return Prediction(task, 0, (), None, EMPTY, 1.0, grids)


def test_cells_changed_by_hand() -> None:
    assert cells_changed(A, A) == 0
    assert cells_changed(A, B) == 0.25
    assert cells_changed(A, WIDE) == 1
    assert (cells_changed(None, A), cells_changed(A, None), cells_changed(None, None)) == (1, 1, 0)


def test_a_refinement_by_hand() -> None:
    tasks = [Task(name, (Pair(A, A),), (Pair(A, truth),)) for name, truth in (("x", A), ("y", B), ("unknown", None))]
    predictions = [predicted("x", B, A, A), predicted("y", None, A, B), predicted("unknown", A, B, A)]
    rows = refinement(tasks, predictions)
    assert [(row["segment"], row["exact"], row["test_outputs"]) for row in rows] == [(1, 0, 2), (2, 1, 2), (3, 2, 2)]
    assert rows[0]["changed"] is None
    assert [row["changed"] for row in rows[1:]] == pytest.approx([(0.25 + 1) / 2, (0 + 0.25) / 2])


def test_without_a_recorded_refinement_there_are_no_rows() -> None:
    assert refinement([Task("x", (Pair(A, A),), (Pair(A, A),))], [predicted("x")]) == []


def test_the_row_of_a_prediction_counts_segments_with_the_same_grid() -> None:
    prediction = predicted("x", None, A, A, B)
    row = prediction.as_row()
    assert row["refinement"] == [[None, 1], [A.tolist(), 2], [B.tolist(), 1]]
    again = Prediction.from_row(row).refinement
    assert [None if grid is None else grid.tolist() for grid in again] == [None, A.tolist(), A.tolist(), B.tolist()]
