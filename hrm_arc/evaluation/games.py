"""Scores of boards: every answer is checked by the rules of its game as well as against the solution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hrm_arc.evaluation.prediction import Prediction, by_key
from hrm_arc.puzzles.boards import shortest_path
from hrm_arc.puzzles.rules import DIFFICULTY, GameName, difficulty, game_of, is_valid, without_search
from hrm_arc.puzzles.task import Grid, Task

# Groups of boards by difficulty; with fewer different values, each is a group.
MOST_GROUPS = 8
# The z value of a 95% interval.
DEVIATION = 1.959964


@dataclass(frozen=True)
class BoardScore:
    """One board and one answer to it.

    Attributes:
        difficulty: see :func:`~hrm_arc.puzzles.rules.difficulty`.
        exact: whether the answer is the solution; None if that is not known.
        valid: whether the answer solves the board by rule.
        cells: the share of cells that are right, of those that the board leaves to be filled in or marked; None if
            the solution is not known.
        segments: the number of segments, or 0 if it is not known.
    """

    difficulty: int | None
    exact: bool | None
    valid: bool
    cells: float | None
    segments: float


def score_board(game: GameName, board: Grid, solution: Grid | None, answer: Grid | None, segments: float) -> BoardScore:
    """Score one answer; an answer of another size has no cell right."""
    exact, cells = None, None
    if solution is not None:
        exact = answer is not None and np.array_equal(answer, solution)
        fits = answer is not None and answer.shape == solution.shape
        # In a maze every free cell is to be decided; a given or a wall is not.
        is_open = board == 0
        right = (answer == solution)[is_open] if fits and answer is not None else np.zeros(max(1, is_open.sum()))
        cells = float(right.mean()) if right.size else 1.0
    return BoardScore(difficulty(game, board), exact, is_valid(game, board, answer), cells, segments)


def game_scores(tasks: Sequence[Task], predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    """Scores of the first attempts at the boards of games.

    Args:
        tasks: those that are no games are left out.
        predictions: of their test inputs; a board without one has a wrong answer.

    Returns:
        for each game a row: ``task``; ``game`` (sudoku or maze); ``boards``; ``exact`` and ``valid``: the boards
        that are exactly the solution, and those that are solved by rule; ``intervals`` of both shares (Wilson, 95%);
        ``cells``: the mean share of right cells among those that the board leaves open; ``baselines``: the same three
        for ``copy``, for ``without_search``, and in a maze for ``shortest_path``, which checks the data set;
        ``difficulty``: what groups are made by, and ``groups``: rows of ``from``, ``to``, ``boards``, ``exact``,
        ``valid`` and ``mean_segments``. What is not known is None.
    """
    given = by_key(predictions)
    rows = []
    for task in tasks:
        game = game_of(task.tests[0].input) if task.boards and task.tests else None
        if game is None or any(game_of(test.input) != game for test in task.tests):
            continue
        scores = _scored(game, task, [_answer(given.get((task.id, number))) for number in range(len(task.tests))])
        rows.append(
            {
                "task": task.id,
                "game": game,
                **_totals(scores),
                "baselines": _baselines(game, task),
                "difficulty": DIFFICULTY[game],
                "groups": _groups(scores),
            }
        )
    return rows


def wilson(count: int, of: int) -> list[float]:
    """The 95% interval of a share, as [low, high] (Wilson 1927); [0, 1] for nothing."""
    if not of:
        return [0.0, 1.0]
    share, z = count / of, DEVIATION**2 / of
    middle, half = share + z / 2, DEVIATION * math.sqrt(share * (1 - share) / of + z / (4 * of))
    return [max(0.0, (middle - half) / (1 + z)), min(1.0, (middle + half) / (1 + z))]


def _answer(prediction: Prediction | None) -> tuple[Grid | None, float]:
    """The first attempt, or without candidates what one pass gave, and the number of segments."""
    if prediction is None:
        return None, 0.0
    attempts = prediction.attempts(1)
    return attempts[0] if attempts else prediction.single, prediction.segments


def _baselines(game: GameName, task: Task) -> dict[str, dict[str, Any]]:
    boards = [test.input for test in task.tests]
    answers: dict[str, list[Grid | None]] = {
        "copy": [*boards],
        "without_search": [without_search(game, board) for board in boards],
    }
    if game == "maze":
        answers["shortest_path"] = [shortest_path(board) for board in boards]
    return {name: _totals(_scored(game, task, [(grid, 0.0) for grid in each])) for name, each in answers.items()}


def _scored(game: GameName, task: Task, answers: Sequence[tuple[Grid | None, float]]) -> list[BoardScore]:
    return [score_board(game, test.input, test.output, *each) for test, each in zip(task.tests, answers, strict=True)]


def _totals(scores: Sequence[BoardScore]) -> dict[str, Any]:
    known = [score for score in scores if score.exact is not None]
    exact = sum(bool(score.exact) for score in known) if len(known) == len(scores) else None
    valid = sum(score.valid for score in scores)
    cells = [score.cells for score in scores if score.cells is not None]
    return {
        "boards": len(scores),
        "exact": exact,
        "valid": valid,
        "cells": float(np.mean(cells)) if len(cells) == len(scores) else None,
        "intervals": {
            "exact": None if exact is None else wilson(exact, len(scores)),
            "valid": wilson(valid, len(scores)),
        },
    }


def _groups(scores: Sequence[BoardScore]) -> list[dict[str, Any]]:
    """Groups of boards by ranges of difficulty of equal width; a maze without a path is in none."""
    values = sorted({score.difficulty for score in scores if score.difficulty is not None})
    if not values:
        return []
    width = -(-(values[-1] - values[0] + 1) // MOST_GROUPS)
    rows = []
    for low in range(values[0], values[-1] + 1, width):
        here = [score for score in scores if score.difficulty is not None and low <= score.difficulty < low + width]
        if here:
            totals = _totals(here)
            taken = [score.segments for score in here if score.segments]
            rows.append(
                {
                    "from": low,
                    "to": min(low + width - 1, values[-1]),
                    **{key: totals[key] for key in ("boards", "exact", "valid")},
                    "mean_segments": float(np.mean(taken)) if taken else None,
                }
            )
    return rows
