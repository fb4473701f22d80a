from __future__ import annotations

from typing import Any

import pytest

from hrm_arc.evaluation.comparison import compare


def rows(*solved: tuple[str, int, bool | None]) -> list[dict[str, Any]]:
    """Rows whose one attempt is the truth or another grid; the flag ``solved`` is wrong on purpose."""
    return [
        {
            "task": task,
            "test": test,
            "candidates": [{"grid": [[test if right else test + 1]], "votes": 1, "confidence": 0.5}],
            "solved": not right,
            "truth": None if right is None else [[test]],
        }
        for task, test, right in solved
    ]


FIRST = rows(("a", 0, True), ("a", 1, False), ("b", 0, True), ("c", 0, False), ("d", 0, None))
SECOND = rows(("a", 0, True), ("a", 1, True), ("b", 0, False), ("c", 0, False), ("d", 0, None), ("e", 0, True))


def test_a_comparison_by_hand() -> None:
    found = compare(FIRST, SECOND)
    assert (found["both"], found["first_only"], found["second_only"], found["neither"]) == (1, 1, 1, 1)
    assert (found["test_outputs"], found["tasks"], found["left_out"]) == (4, 3, 1)
    assert found["difference"] == 0
    low, high = found["interval"]
    # Of resamples of the tasks {a: +1 of 2, b: -1 of 1, c: 0 of 1}, the extremes are b and a alone.
    assert (low, high) == (-1, 0.5)


def test_the_difference_is_second_minus_first() -> None:
    assert compare(FIRST, FIRST)["interval"] == [0, 0]
    ones = rows(*((str(n), 0, True) for n in range(20)))
    zeros = rows(*((str(n), 0, False) for n in range(20)))
    assert compare(zeros, ones)["difference"] == 1
    assert compare(ones, zeros)["interval"] == [-1, -1]


def test_each_board_counts_as_a_task_and_one_task_has_no_interval() -> None:
    boards = [{**row, "board": True} for row in rows(*(("game", n, False) for n in range(6)))]
    better = [*({**row, "board": True} for row in rows(("game", 0, True))), *boards[1:]]
    low, high = compare(boards, better)["interval"]
    assert low == 0 < high
    assert compare(boards, better)["tasks"] == 6
    assert compare(rows(("a", 0, True), ("a", 1, False)), rows(("a", 0, True), ("a", 1, True)))["interval"] is None


def test_predictions_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(ValueError, match="in common"):
        compare(rows(("a", 0, True)), rows(("b", 0, True)))
    other = [{**FIRST[0], "truth": [[9]]}]
    with pytest.raises(ValueError, match="different answers to a"):
        compare(FIRST, other)
