from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from hrm_arc.evaluation.breakdown import RULES, breakdown, error_kind, groups
from hrm_arc.evaluation.prediction import Candidate, Prediction
from hrm_arc.puzzles.canvas import FULL
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.puzzles.task import Grid, Pair, Task, make_grid
from tests.strategies import grids, tasks


def task(*pairs: tuple[list[list[int]], list[list[int]]], group: str = "") -> Task:
    made = tuple(Pair(make_grid(a), make_grid(b)) for a, b in pairs)
    return Task("made", made, made[:1], group)


MADE = {
    "same size": (task(([[1, 2]], [[2, 2]])), task(([[1, 2]], [[2, 2]]), ([[1]], [[1, 1]]))),
    "shrinking": (task(([[1, 2]], [[1]])), task(([[1, 2]], [[1, 2]]))),
    "growing": (task(([[1]], [[1, 2]])), task(([[1]], [[2]]))),
    "tiling or scaling": (task(([[1, 2]], [[1, 2, 1, 2]])), task(([[1, 2]], [[1, 2, 1]]))),
    "recoloring only": (task(([[0, 0, 5]], [[0, 0, 3]])), task(([[0, 0, 5]], [[0, 3, 5]]))),
    "cropping": (task(([[1, 2], [3, 4]], [[2], [4]])), task(([[1, 2], [3, 4]], [[4], [2]]))),
    "symmetry": (task(([[1, 2], [3, 4]], [[2, 1], [4, 3]])), task(([[1, 2], [3, 4]], [[1, 2], [4, 3]]))),
    "objects moved": (task(([[1, 0, 0]], [[0, 0, 1]])), task(([[1, 0, 0]], [[0, 1, 1]]))),
    "counts": (task(([[1, 2], [3, 4]], [[4]])), task(([[1, 2, 3], [3, 4, 5]], [[1, 2], [3, 4]]))),
}


def test_every_rule_is_tested() -> None:
    assert set(MADE) == set(RULES)


@pytest.mark.parametrize("name", RULES)
def test_a_rule_accepts_one_task_and_refuses_another(name: str) -> None:
    inside, outside = MADE[name]
    assert name in groups(inside)
    assert name not in groups(outside)


def test_groups_of_sizes_and_numbers_by_hand() -> None:
    made = task(([[1, 2]], [[2]]), ([[1]], [[1, 3]]), group="Center")
    expected = ["other sizes", "colors: up to 3", "cells: up to 100", "demonstrations: up to 2", "concept Center"]
    assert groups(made) == expected
    many = Task("many", (Pair(make_grid([list(range(10))] * 11), make_grid([[1]])),) * 4, made.tests)
    assert {"colors: more than 5", "cells: 101 to 225", "demonstrations: more than 3"} <= set(groups(many))


@given(tasks())
def test_every_task_has_one_group_of_each_range(task: Task) -> None:
    found = groups(task)
    assert len(set(found)) == len(found)
    assert sum(name in ("same size", "shrinking", "growing", "other sizes") for name in found) == 1
    for sort in ("colors", "cells", "demonstrations"):
        assert sum(name.startswith(f"{sort}:") for name in found) == 1


@given(tasks(), grids())
def test_groups_do_not_depend_on_test_outputs(task: Task, other: Grid) -> None:
    changed = Task(task.id, task.demonstrations, tuple(Pair(test.input, other) for test in task.tests), task.group)
    assert groups(changed) == groups(task)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (None, "no readable grid"),
        ([[1, 2, 3], [4, 5, 6]], "right"),
        ([[0, 0, 0], [0, 0, 7]], "copy of the input"),
        ([[1, 2]], "wrong size"),
        ([[1, 1, 1], [1, 1, 1]], "one color"),
        ([[2, 1, 3], [4, 5, 6]], "wrong colors in the right shape"),
        ([[1, 2, 3], [4, 5, 5]], "1 or 2 cells off"),
        ([[1, 2, 2], [2, 2, 2]], "more than a tenth of the cells off"),
    ],
)
def test_kinds_of_error(answer: list[list[int]] | None, kind: str) -> None:
    truth, input = make_grid([[1, 2, 3], [4, 5, 6]]), make_grid([[0, 0, 0], [0, 0, 7]])
    assert error_kind(None if answer is None else make_grid(answer), truth, input) == kind


def test_few_wrong_cells_in_a_large_grid() -> None:
    truth = np.zeros((10, 10), dtype=np.uint8)
    truth[0] = np.arange(10)
    answer = truth.copy()
    answer[1, :5] = 1
    assert error_kind(answer, truth, make_grid([[1]])) == "up to a tenth of the cells off"


def prediction(id: str, grid: list[list[int]] | None) -> Prediction:
    candidates = () if grid is None else (Candidate(make_grid(grid), 1, 0.5),)
    return Prediction(id, 0, candidates, None, np.zeros(FULL.cells, dtype=np.uint8), 1.0)


def test_a_breakdown_by_hand() -> None:
    pair = Pair(make_grid([[1, 2]]), make_grid([[2, 1]]))
    made = [Task(name, (pair,), (pair,)) for name in "abcd"]
    predictions = [prediction("a", [[2, 1]]), prediction("b", [[1, 2]]), prediction("c", [[1, 1]])]
    result = breakdown(made, predictions)
    row = next(row for row in result["groups"] if row["group"] == "objects moved")
    assert (row["tasks"], row["test_outputs"], row["solved"], row["pass@2"]) == (4, 4, 1, 0.25)
    low, high = row["interval"]
    assert 0 <= low < 0.25 < high <= 1
    third = pytest.approx(1 / 3)
    assert result["errors"] == [
        {"kind": "copy of the input", "count": 1, "share": third},
        {"kind": "no readable grid", "count": 1, "share": third},
        {"kind": "one color", "count": 1, "share": third},
    ]


def test_each_board_of_a_game_counts_as_a_task() -> None:
    boards = tuple(Pair(make_grid([[n, 2], [3, 4]]), make_grid([[n, 2], [3, 4]])) for n in range(4))
    game = Task("game", boards[:1], boards, boards=True)
    predictions = [Prediction("game", n, (), None, np.zeros(FULL.cells, dtype=np.uint8), 1.0) for n in range(4)]
    predictions[0] = prediction("game", [[0, 2], [3, 4]])
    row = breakdown([game], predictions)["groups"][0]
    assert (row["tasks"], row["solved"], row["test_outputs"]) == (4, 1, 4)
    low, high = row["interval"]
    assert low < 0.25 < high


def test_boards_without_demonstrations_are_in_no_group_that_demonstrations_show() -> None:
    (game,) = load_tasks("sudoku-4x4/test:3")
    assert not {name for name in groups(game) if name in RULES or "size" in name or "demonstrations" in name}
    assert {name.split(":")[0] for name in groups(game)} == {"colors", "cells"}


def test_arc_agi_1_has_tasks_in_every_group() -> None:
    found = {name for task in load_tasks("arc-agi-1") for name in groups(task)}
    assert set(RULES) | {"other sizes"} <= found
