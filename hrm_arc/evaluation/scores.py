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
from hrm_arc.evaluation.bootstrap import interval
from hrm_arc.evaluation.predict import Prediction
from hrm_arc.puzzles.canvas import FULL, Canvas, tokens_on_full
from hrm_arc.puzzles.task import Grid, Task

# Among how many of the best candidates the right grid may be.
RANKS = (1, 2, 5, 10, 100)


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


def right_tokens(canvas: Canvas, tokens: np.ndarray, truth: np.ndarray, complete: bool) -> tuple[int, bool]:
    """How many of 900 cells an answer gets right, the log's metric, and whether its grid is exactly right.

    Args:
        canvas: that the answer lies on.
        tokens: the answer, ``[canvas.cells]``.
        truth: the right one on the full canvas, ``[900]``.
        complete: as in :func:`~hrm_arc.puzzles.canvas.tokens_on_full`.
    """
    wanted = FULL.decode(truth)
    assert wanted is not None, "a label is a grid"
    right = int((tokens_on_full(canvas, tokens, complete) == truth).sum())
    return right, same(canvas.decode(tokens), wanted)


def right_votes(tasks: Sequence[Task], predictions: Sequence[Prediction]) -> int:
    """How many of all passes over all variants gave the right grid: finer than a few outputs are."""
    truths = {(task.id, n): test.output for task in tasks for n, test in enumerate(task.tests)}
    counts = 0
    for prediction in predictions:
        truth = truths.get((prediction.task, prediction.test))
        if truth is not None:
            counts += sum(c.votes for c in prediction.candidates if same(c.grid, truth))
    return counts


def score(tasks: Sequence[Task], predictions: Sequence[Prediction], seed: int = 0) -> dict[str, Any]:
    """Every score of a set of predictions, with baselines and 95% intervals.

    Returns:
        ``tasks`` and ``test_outputs``, counted where answers are known; a game's boards
        count as tasks;
        for each k of ``RANKS``:
        ``pass@k``: share of test outputs with the right grid among the k best (Kaggle, k = 2);
        ``pass@k_tasks_strict``: share of tasks with every output so solved (ARC-AGI-2, k = 2);
        ``pass@k_tasks_mean``: mean over tasks of the share of outputs solved (HRM, TRM, k = 2);
        and further:
        ``exact_accuracy``: share of test outputs right in one pass, without votes;
        ``token_accuracy``: cells right in that pass, of all 900, padding included (the log);
        ``intervals``: for each of these, bootstrap over tasks; ``baselines``;
        ``mean_segments``; ``solved_pass1``, ``solved_pass2``: counts.
    """
    results = outcomes(tasks, predictions)
    table = np.array([_row(outcome) for outcome in results], dtype=float).reshape(-1, len(RANKS) + 2)
    groups = _groups(tasks, results)
    # A task's sums stand for its rows: every average is one of them, and so is one over resampled tasks.
    sums = np.array([table[group].sum(axis=0) for group in groups]).reshape(-1, table.shape[1])
    sizes = np.array([len(group) for group in groups])
    return {
        "tasks": len(groups),
        "test_outputs": len(results),
        "solved_pass1": int(table[:, RANKS.index(1)].sum()),
        "solved_pass2": int(table[:, RANKS.index(2)].sum()),
        **_averages(sums, sizes),
        "intervals": _intervals(sums, sizes, seed),
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


def _row(outcome: Outcome) -> list[float]:
    """Solved with each number of attempts, exact in one pass, share of tokens."""
    rank = outcome.rank or 10**9
    return [*(float(rank <= count) for count in RANKS), float(outcome.single), outcome.tokens]


def _averages(sums: np.ndarray, sizes: np.ndarray) -> dict[str, float]:
    """Every average by its name.

    Args:
        sums: of each task's rows, ``[tasks, columns]``; a task may come several times.
        sizes: test outputs of each, ``[tasks]``.
    """
    if not len(sizes):
        return dict.fromkeys(_names(), 0.0)
    return {name: float(value) for name, value in zip(_names(), _values(sums[None], sizes[None])[0], strict=True)}


def _intervals(sums: np.ndarray, sizes: np.ndarray, seed: int) -> dict[str, list[float]]:
    """The bootstrap interval of each average, as [low, high]."""
    if not len(sizes):
        return {}
    bounds = interval(lambda draw: _values(sums[draw], sizes[draw]), len(sizes), seed)
    return {name: [float(low), float(high)] for name, low, high in zip(_names(), *bounds, strict=True)}


def _values(sums: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The averages of ``_names`` of each draw of tasks: ``[draws, names]`` from ``[draws, tasks, ...]``."""
    outputs = sums.sum(axis=1) / sizes.sum(axis=1, keepdims=True)
    shares = sums[:, :, : len(RANKS)] / sizes[:, :, None]
    solved = [outputs[:, : len(RANKS)], shares.mean(axis=1), (shares == 1).mean(axis=1)]
    # Beside each other: one number of attempts under all three averages.
    by_attempts = np.stack(solved, axis=2).reshape(len(sums), -1)
    return np.concatenate([by_attempts, outputs[:, len(RANKS) :]], axis=1)


def _names() -> list[str]:
    averages = [f"pass@{count}{average}" for count in RANKS for average in ("", "_tasks_mean", "_tasks_strict")]
    return [*averages, "exact_accuracy", "token_accuracy"]
