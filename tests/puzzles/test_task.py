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
    "color 10": (with_input([[1, 10]]), "train[0].input[0][1]: color 10, expected 0 to 9"),
    "negative": (with_input([[-1]]), "color -1"),
    "huge number": (with_input([[10**400]]), "color of more than 64 bits"),
    "31 rows": (with_input([[1]] * 31), "train[0].input: 31 rows, expected 1 to 30"),
    "31 columns": (with_input([[1] * 31]), "31 columns, expected 1 to 30"),
    "no rows": (with_input([]), "0 rows"),
    "no columns": (with_input([[]]), "0 columns"),
    "text": (with_input("11"), "expected a list of rows, got text"),
    "text cell": (with_input([["1"]]), "expected a color 0 to 9, got text"),
    "decimal": (with_input([[1.0]]), "got a decimal number"),
    "not a number": (with_input([[float("nan")]]), "got a decimal number"),
    "true": (with_input([[True]]), "got true/false"),
    "row is a number": (with_input([1]), "train[0].input[0]: expected a row of colors"),
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


def test_a_task_from_lists_is_the_task_of_its_file() -> None:
    train: list[tuple[Any, Any]] = [([[1, 2], [3, 4]], [[4]]), (((5, 6),), np.array([[7]]))]
    task = Task.from_lists("mine", train=train, test=[([[8]], None)], group="flips")
    pairs = [{"input": [[1, 2], [3, 4]], "output": [[4]]}, {"input": [[5, 6]], "output": [[7]]}]
    same = parse_task({"train": pairs, "test": [{"input": [[8]]}]}, "mine", "mine.json", "flips")
    assert (task.id, task.group, task.tests[0].output) == ("mine", "flips", None)
    for one, other in zip(task.visible_grids(), same.visible_grids(), strict=True):
        assert one.dtype == np.uint8
        assert not one.flags.writeable
        assert np.array_equal(one, other)


def test_a_task_does_not_change_with_the_array_that_it_was_made_from() -> None:
    grid = np.array([[1, 2]], dtype=np.uint8)
    task = Task.from_lists("mine", train=[(grid, grid)], test=[(grid, None)])
    grid[0, 0] = 9
    assert task.demonstrations[0].input.tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ([([[1, 10]], [[1]])], [([[1]], None)], "mine: train[0].input[0][1]: color 10, expected 0 to 9"),
        ([([[1]], None)], [([[1]], None)], "mine: train[0].output: expected a list of rows, got null"),
        ([([[1]], [[1], [1, 2]])], [([[1]], None)], "mine: train[0].output[1]: ragged"),
        ([], [([[1]], None)], "mine: train: empty: a task needs at least one demonstration"),
        ([([[1]], [[1]])], [], "mine: test: empty: a task needs at least one test pair"),
        ([([[1]], [[1]])], [[[1]]], "mine: test[0]: expected a pair (input, output), got 1 values"),
        ([([[1]], [[1]])], [np.zeros((2, 2), int)], "mine: test[0]: expected a pair (input, output), got ndarray"),
        ("x", [([[1]], None)], "mine: train: expected a list of pairs, got text"),
        ([(np.zeros((1, 31), int), [[1]])], [([[1]], None)], "mine: train[0].input[0]: 31 columns, expected 1 to 30"),
        ([(np.zeros((1, 1)), [[1]])], [([[1]], None)], "mine: train[0].input: a 2-D array of float64"),
    ],
)
def test_mistakes_in_lists_are_named(train: Any, test: Any, message: str) -> None:
    with pytest.raises(PuzzleError) as caught:
        Task.from_lists("mine", train=train, test=test)
    assert str(caught.value).startswith(message)
