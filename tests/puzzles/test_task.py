from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from hrm_arc.puzzles.task import PuzzleError, Task, make_grid, parse_task, task_problems
from tests.strategies import grids, tasks


def task_json(**changes: Any) -> dict[str, Any]:
    pair = {"input": [[1, 2], [3, 4]], "output": [[4]]}
    return {"train": [pair], "test": [pair], **changes}


def with_input(grid: Any) -> dict[str, Any]:
    return task_json(train=[{"input": grid, "output": [[1]]}])


BAD = {
    "not an object": ([1], "expected an object"),
    "no train": ({"test": task_json()["test"]}, "train: missing"),
    "no demonstrations": (task_json(train=[]), "train: empty"),
    "no tests": (task_json(test=[]), "test: empty"),
    "train is an object": (task_json(train={}), "train: expected a list of pairs"),
    "pair is a list": (task_json(train=[[]]), "train[0]: expected an object"),
    "no input": (task_json(train=[{"output": [[1]]}]), "train[0].input: missing"),
    "no output": (task_json(train=[{"input": [[1]]}]), "train[0].output: missing"),
    "null output": (task_json(train=[{"input": [[1]], "output": None}]), "train[0].output: expected a list of rows"),
    "ragged": (with_input([[1, 2], [3]]), "train[0].input[1]: ragged: 1 columns, the first row has 2"),
    "colour 10": (with_input([[1, 10]]), "train[0].input[0][1]: colour 10, expected 0 to 9"),
    "negative": (with_input([[-1]]), "colour -1"),
    "huge number": (with_input([[10**400]]), "colour of more than 64 bits"),
    "31 rows": (with_input([[1]] * 31), "train[0].input: 31 rows, expected 1 to 30"),
    "31 columns": (with_input([[1] * 31]), "31 columns, expected 1 to 30"),
    "no rows": (with_input([]), "0 rows"),
    "no columns": (with_input([[]]), "0 columns"),
    "text": (with_input("11"), "expected a list of rows, got text"),
    "text cell": (with_input([["1"]]), "expected a colour 0 to 9, got text"),
    "decimal": (with_input([[1.0]]), "got a decimal number"),
    "not a number": (with_input([[float("nan")]]), "got a decimal number"),
    "true": (with_input([[True]]), "got true/false"),
    "row is a number": (with_input([1]), "train[0].input[0]: expected a row of colours"),
}


@pytest.mark.parametrize("name", BAD)
def test_every_fault_is_named_with_its_place(name: str) -> None:
    data, message = BAD[name]
    with pytest.raises(PuzzleError) as caught:
        parse_task(data, "x", "x.json")
    assert str(caught.value).startswith("x.json: ")
    assert message in str(caught.value)


def test_all_problems_are_found_and_counted() -> None:
    data = {"train": [{"input": [[10]], "output": [[1], [1, 2]]}], "test": []}
    assert [p.place for p in task_problems(data)] == ["train[0].input[0][0]", "train[0].output[1]", "test"]
    with pytest.raises(PuzzleError, match=r"\(and 2 more\)"):
        parse_task(data, "x", "x.json")


def test_a_test_output_may_be_missing() -> None:
    task = parse_task(task_json(test=[{"input": [[1]]}, {"input": [[1]], "output": None}]), "x", "x.json")
    assert [pair.output for pair in task.tests] == [None, None]


def test_grids_cannot_be_changed() -> None:
    task = parse_task(task_json(), "x", "x.json")
    with pytest.raises(ValueError, match="read-only"):
        task.demonstrations[0].input[0, 0] = 5


@given(grids())
def test_a_grid_survives_json(grid: np.ndarray) -> None:
    assert np.array_equal(make_grid(json.loads(json.dumps(grid.tolist()))), grid)


@given(tasks())
def test_a_blind_task_shows_no_test_output(task: Task) -> None:
    blind = task.blind()
    assert all(test.output is None for test in blind.tests)
    assert blind.demonstrations is task.demonstrations
    assert not any(grid is test.output for grid in blind.visible_grids() for test in task.tests)
