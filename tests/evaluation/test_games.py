"""Scores of boards, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from hrm_arc.evaluation.games import game_scores, score_board, wilson
from hrm_arc.evaluation.prediction import Candidate, Prediction
from hrm_arc.puzzles.task import Grid, Pair, Task, make_grid

EMPTY = np.zeros(900, dtype=np.uint8)
BOARD = make_grid([[1, 0, 3, 4], [3, 4, 1, 2], [2, 1, 4, 3], [4, 3, 2, 0]])
SOLVED = make_grid([[1, 2, 3, 4], [3, 4, 1, 2], [2, 1, 4, 3], [4, 3, 2, 1]])
HALF = make_grid([[1, 2, 3, 4], [3, 4, 1, 2], [2, 1, 4, 3], [4, 3, 2, 4]])
HARDER = make_grid([[1, 0, 3, 4], [3, 4, 1, 0], [2, 0, 4, 3], [4, 3, 2, 0]])
RING = make_grid([[3, 0, 0], [0, 5, 0], [0, 0, 2]])
ONE_WAY = make_grid([[3, 4, 4], [0, 5, 4], [0, 0, 2]])
OTHER_WAY = make_grid([[3, 0, 0], [4, 5, 0], [4, 4, 2]])


def predicted(test: int, answer: Grid | None, segments: float = 1.0, task: str = "game") -> Prediction:
    candidates = () if answer is None else (Candidate(answer, 1, 0.5),)
    return Prediction(task, test, candidates, answer, EMPTY, segments)


def game(*pairs: tuple[Grid, Grid | None], name: str = "game") -> Task:
    return Task(name, (), tuple(Pair(*pair) for pair in pairs), boards=True)


def test_the_scores_of_sudokus_by_hand() -> None:
    task = game((BOARD, SOLVED), (BOARD, SOLVED), (HARDER, SOLVED), (HARDER, SOLVED))
    predictions = [predicted(0, SOLVED, 1), predicted(1, HALF, 2), predicted(2, SOLVED, 4), predicted(3, None, 2)]
    (row,) = game_scores([task], predictions)
    assert (row["task"], row["game"], row["difficulty"]) == ("game", "sudoku", "givens")
    assert (row["boards"], row["exact"], row["valid"]) == (4, 2, 2)
    # Of two open cells, HALF has one right.
    assert row["cells"] == pytest.approx((1 + 0.5 + 1 + 0) / 4)
    assert row["intervals"]["exact"] == wilson(2, 4)
    assert row["groups"] == [
        {"from": 12, "to": 12, "boards": 2, "exact": 1, "valid": 1, "mean_segments": 3.0},
        {"from": 14, "to": 14, "boards": 2, "exact": 1, "valid": 1, "mean_segments": 1.5},
    ]
    assert row["baselines"]["copy"]["exact"] == row["baselines"]["copy"]["cells"] == 0
    assert row["baselines"]["without_search"]["exact"] == 4
    assert "shortest_path" not in row["baselines"]


def test_a_shortest_path_that_is_not_the_solution_is_solved_by_rule() -> None:
    (row,) = game_scores([game((RING, ONE_WAY), (RING, ONE_WAY))], [predicted(0, OTHER_WAY), predicted(1, RING)])
    assert (row["game"], row["exact"], row["valid"]) == ("maze", 0, 1)
    assert row["difficulty"] == "steps of the shortest path"
    assert [(group["from"], group["boards"]) for group in row["groups"]] == [(4, 2)]
    assert row["baselines"]["shortest_path"]["valid"] == 2


def test_a_sudoku_with_several_solutions_is_solved_by_rule_in_each_way() -> None:
    # The cells without 1 and 2 are given: both ways to fill in the rest are right.
    swap = make_grid([[0, 0, 3, 4], [3, 4, 0, 0], [0, 0, 4, 3], [4, 3, 0, 0]])
    other = make_grid([[2, 1, 3, 4], [3, 4, 2, 1], [1, 2, 4, 3], [4, 3, 1, 2]])
    scored = score_board("sudoku", swap, SOLVED, other, 1.0)
    assert (scored.exact, scored.valid, scored.cells) == (False, True, 0.0)


def test_an_answer_of_another_size_has_no_cell_right() -> None:
    scored = score_board("sudoku", BOARD, SOLVED, make_grid([[1, 2], [3, 4]]), 1.0)
    assert (scored.exact, scored.valid, scored.cells) == (False, False, 0.0)


def test_what_is_not_known_is_none_and_rules_still_hold() -> None:
    (row,) = game_scores([game((BOARD, None))], [predicted(0, SOLVED, segments=0.0)])
    assert (row["exact"], row["cells"], row["intervals"]["exact"]) == (None, None, None)
    assert row["valid"] == 1
    assert row["groups"][0]["mean_segments"] is None


def test_boards_without_an_answer_are_wrong_and_other_tasks_are_left_out() -> None:
    arc = Task("arc", (Pair(BOARD, SOLVED),), (Pair(BOARD, SOLVED),))
    unknown = game((make_grid([[7, 7], [7, 7]]), make_grid([[7, 7], [7, 7]])), name="unknown")
    (row,) = game_scores([arc, game((BOARD, SOLVED)), unknown], [])
    assert (row["task"], row["boards"], row["exact"], row["valid"]) == ("game", 1, 0, 0)


def test_many_difficulties_are_few_groups_that_hold_every_board() -> None:
    boards = [SOLVED.copy() for _ in range(16)]
    for number, board in enumerate(boards):
        board.reshape(-1)[:number] = 0
    task = game(*((make_grid(board), SOLVED) for board in boards))
    (row,) = game_scores([task], [])
    assert len(row["groups"]) <= 8
    assert sum(group["boards"] for group in row["groups"]) == 16
    assert all(
        before["to"] + 1 == after["from"] for before, after in zip(row["groups"], row["groups"][1:], strict=False)
    )


def test_wilson_by_published_values() -> None:
    # Newcombe 1998, Two-sided confidence intervals for the single proportion, table I: method 3.
    assert wilson(81, 263) == pytest.approx([0.2553, 0.3662], abs=1e-4)
    assert wilson(15, 148) == pytest.approx([0.0624, 0.1605], abs=1e-4)
    assert wilson(0, 20) == pytest.approx([0.0, 0.1611], abs=1e-4)
    assert wilson(1, 29) == pytest.approx([0.0061, 0.1718], abs=1e-4)
    assert wilson(20, 20)[1] == 1.0
    assert wilson(0, 0) == [0.0, 1.0]
