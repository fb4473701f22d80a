"""Exact scores of predictions, under every average in use, each with its name.

Published figures differ in what they average: Kaggle counts solved test outputs, HRM and
TRM take the mean over tasks of the share solved, ARC-AGI-2 counts tasks with every output
solved. All three stand here side by side, and exact match leads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hrm_arc.evaluation.baselines import task_baselines
from hrm_arc.evaluation.predict import Prediction
from hrm_arc.puzzles.canvas import FULL
from hrm_arc.puzzles.task import Grid, Task

RESAMPLES = 2000


@dataclass(frozen=True)
class Outcome:
    """How one test output came out.

    Attributes:
        rank: place of the right grid among the candidates, from 1; None if it is not there.
        single: whether the one pass without votes gave the right grid.
        tokens: share of the 900 cells that pass got right: the log's metric.
    """

    task: str
    test: int
    rank: int | None
    single: bool
    tokens: float


def outcomes(tasks: Sequence[Task], predictions: Sequence[Prediction]) -> list[Outcome]:
    """Hold predictions against the tasks' answers, in the tasks' order.

    A test output without an answer is left out. One without a prediction is unsolved, and
    its tokens count as wrong.
    """
    given = {(p.task, p.test): p for p in predictions}
    results = []
    for task in tasks:
        for index, test in enumerate(task.tests):
            if test.output is None:
                continue
            prediction = given.get((task.id, index))
            if prediction is None:
                results.append(Outcome(task.id, index, None, False, 0.0))
                continue
            ranks = (n for n, c in enumerate(prediction.candidates, start=1) if same(c.grid, test.output))
            tokens = float((prediction.tokens == FULL.encode(test.output)).mean())
            results.append(Outcome(task.id, index, next(ranks, None), same(prediction.single, test.output), tokens))
    return results


def same(answer: Grid | None, truth: Grid) -> bool:
    """Whether an answer is exactly right: the size and every cell."""
    return answer is not None and np.array_equal(answer, truth)


def score(tasks: Sequence[Task], predictions: Sequence[Prediction], seed: int = 0) -> dict[str, Any]:
    """Every score of a set of predictions, with baselines and 95% intervals.

    Returns:
        ``tasks`` and ``test_outputs``, counted where answers are known; a game's boards
        count as tasks;
        ``pass@k``: share of test outputs with the right grid among the k best (Kaggle);
        ``pass@2_tasks_strict``: share of tasks with every output so solved (ARC-AGI-2);
        ``pass@2_tasks_mean``: mean over tasks of the share of outputs solved (HRM, TRM);
        ``exact_accuracy``: share of test outputs right in one pass, without votes;
        ``token_accuracy``: cells right in that pass, of all 900, padding included (the log);
        ``intervals``: for each of these, bootstrap over tasks; ``baselines``;
        ``mean_segments``; ``solved_pass1``, ``solved_pass2``: counts.
    """
    results = outcomes(tasks, predictions)
    table = np.array([_row(outcome) for outcome in results]).reshape(-1, 4)
    groups = _groups(tasks, results)
    return {
        "tasks": len(groups),
        "test_outputs": len(results),
        "solved_pass1": int(table[:, 0].sum()),
        "solved_pass2": int(table[:, 1].sum()),
        **_averages(table, groups),
        "intervals": _intervals(table, groups, seed),
        "baselines": task_baselines(tasks),
        "mean_segments": float(np.mean([p.segments for p in predictions])) if predictions else 0.0,
    }


def _groups(tasks: Sequence[Task], results: Sequence[Outcome]) -> list[np.ndarray]:
    """The results of each task, by number; each board of a game stands for itself."""
    games = {task.id for task in tasks if task.boards}
    groups: dict[tuple[str, int], list[int]] = {}
    for number, outcome in enumerate(results):
        groups.setdefault((outcome.task, outcome.test if outcome.task in games else -1), []).append(number)
    return [np.array(group) for group in groups.values()]


def _row(outcome: Outcome) -> tuple[float, float, float, float]:
    rank = outcome.rank or 10**9
    return float(rank <= 1), float(rank <= 2), float(outcome.single), outcome.tokens


def _averages(table: np.ndarray, groups: Sequence[np.ndarray]) -> dict[str, float]:
    """Averages of rows (pass@1, pass@2, exact, tokens), one for each test output.

    ``groups`` holds each task's rows; a task may come several times.
    """
    if not groups:
        return dict.fromkeys(_NAMES, 0.0)
    rows = table[np.concatenate(groups)].mean(axis=0)
    shares = np.array([table[group, 1].mean() for group in groups])
    values = (*rows[:2], (shares == 1).mean(), shares.mean(), *rows[2:])
    return {name: float(value) for name, value in zip(_NAMES, values, strict=True)}


_NAMES = ("pass@1", "pass@2", "pass@2_tasks_strict", "pass@2_tasks_mean", "exact_accuracy", "token_accuracy")


def _intervals(table: np.ndarray, groups: Sequence[np.ndarray], seed: int) -> dict[str, list[float]]:
    """95% percentile bootstrap over tasks (Efron 1979) of each average, as [low, high]."""
    if not groups:
        return {}
    draws = np.random.default_rng(seed).integers(len(groups), size=(RESAMPLES, len(groups)))
    # A task's sums stand for its rows, so a resample is a sum over tasks.
    sums = np.array([[len(group), *table[group].sum(axis=0)] for group in groups])
    shares = sums[:, 2] / sums[:, 0]
    drawn = sums[draws].sum(axis=1)
    rows = drawn[:, 1:] / drawn[:, :1]
    strict, mean = (shares == 1)[draws].mean(axis=1), shares[draws].mean(axis=1)
    columns = (rows[:, 0], rows[:, 1], strict, mean, rows[:, 2], rows[:, 3])
    return {
        name: [float(v) for v in np.percentile(column, [2.5, 97.5])]
        for name, column in zip(_NAMES, columns, strict=True)
    }
