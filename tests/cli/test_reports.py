"""Which test outputs a comparison of two runs counts."""

from __future__ import annotations

from typing import Any, cast

from hrm_arc.cli.report import _unchanged
from hrm_arc.evaluation.results import Results


def results(changed: list[str], *tasks: str) -> Results:
    """The rows of an evaluation, and the tasks whose grids had changed since its training."""
    scores: Any = {"changed_tasks": {name: ["its demonstrations have changed"] for name in changed}}
    return Results(scores, [{"task": name, "test": 0} for name in tasks])


def compared(first: Results, second: Results) -> list[list[str]]:
    return [[cast(str, row["task"]) for row in rows] for rows in _unchanged(first, second)]


def test_tasks_that_have_changed_since_one_of_the_trainings_are_left_out() -> None:
    first, second = results(["a"], "a", "b", "c"), results(["c"], "a", "b", "c")
    assert compared(first, second) == [["b"], ["b"]]
    assert compared(results([], "a", "b"), results([], "a", "b")) == [["a", "b"], ["a", "b"]]


def test_where_all_have_changed_all_are_compared() -> None:
    assert compared(results(["a"], "a", "b"), results(["b"], "a", "b")) == [["a", "b"], ["a", "b"]]
