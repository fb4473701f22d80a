"""Exact scores of predictions: every metric with its 95% interval, beside the baselines.

Published figures average different things. The metrics of :mod:`hrm_arc.evaluation.metrics` put the averages
in use side by side, each under a name of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from hrm_arc.errors import and_more
from hrm_arc.evaluation.baselines import task_baselines
from hrm_arc.evaluation.bootstrap import interval
from hrm_arc.evaluation.metrics import Metric, Outcome, all_metrics
from hrm_arc.evaluation.prediction import Prediction, by_key, truths
from hrm_arc.puzzles.augmented import Samples
from hrm_arc.puzzles.canvas import FULL, Canvas, tokens_on_full
from hrm_arc.puzzles.task import Grid, Task


class SampleScores(NamedTuple):
    """Scores of some samples as whole numbers, so that sums over batches and processes are exact.

    Attributes:
        samples: the number of samples.
        correct_cells: cells that are right, of 900 for each sample.
        exact: samples whose grid is exactly right.
    """

    samples: int
    correct_cells: int
    exact: int


def score_samples(samples: Samples, tokens: np.ndarray, complete: bool) -> SampleScores:
    """Compare answers with the labels of their samples.

    Args:
        samples: with labels on the full canvas, ``[n, 900]``.
        tokens: the answers, ``[n, samples.canvas.cells]``.
        complete: as in :func:`~hrm_arc.puzzles.canvas.tokens_on_full`: the model was not trained on padding.

    Raises:
        ValueError: the samples have no labels on the full canvas.
    """
    if samples.labels is None or samples.labels.shape[1] != FULL.cells:
        raise ValueError("samples without labels on the full canvas cannot be scored")
    scored = [
        right_tokens(samples.canvas, answer, label, complete)
        for answer, label in zip(tokens, samples.labels, strict=True)
    ]
    return SampleScores(len(samples), sum(cells for cells, _ in scored), sum(exact for _, exact in scored))


def right_tokens(canvas: Canvas, tokens: np.ndarray, truth: np.ndarray, complete: bool) -> tuple[int, bool]:
    """How many of 900 cells an answer has right (the log's metric), and whether its grid is exactly right.

    Args:
        canvas: the canvas of the answer.
        tokens: the answer, ``[canvas.cells]``.
        truth: the label on the full canvas, ``[900]``.
        complete: as in :func:`~hrm_arc.puzzles.canvas.tokens_on_full`.
    """
    wanted = FULL.decode(truth)
    assert wanted is not None, "a label is a grid"
    right = int((tokens_on_full(canvas, tokens, complete) == truth).sum())
    return right, same(canvas.decode(tokens), wanted)


def same(answer: Grid | None, truth: Grid) -> bool:
    """Whether an answer is exactly right: its size and every cell."""
    return answer is not None and np.array_equal(answer, truth)


def outcomes(tasks: Sequence[Task], predictions: Sequence[Prediction]) -> list[Outcome]:
    """The result of each test output whose answer is known, in the order of the tasks.

    A test output without a prediction is unsolved, and all its cells count as wrong.
    """
    given = by_key(predictions)
    results = []
    for task in tasks:
        for index, test in enumerate(task.tests):
            if test.output is None:
                continue
            prediction = given.get((task.id, index))
            rank, cells, exact = None, 0, False
            if prediction is not None:
                ranks = (n for n, c in enumerate(prediction.candidates, start=1) if same(c.grid, test.output))
                rank = next(ranks, None)
                # A prediction's tokens are written on the full canvas already.
                cells, exact = right_tokens(FULL, prediction.tokens, FULL.encode(test.output), complete=False)
            share = cells / FULL.cells
            results.append(Outcome(task.id, index, prediction, test.output, test.input, rank, exact, share))
    return results


def unknown_answers(tasks: Sequence[Task]) -> list[str]:
    """A sentence that counts the test outputs without a known answer and names the first; none if all are known."""
    unknown = [(task.id, n) for task in tasks for n, test in enumerate(task.tests, start=1) if test.output is None]
    if not unknown:
        return []
    total, (name, number) = sum(len(task.tests) for task in tasks), unknown[0]
    has = "has no known answer and is" if len(unknown) == 1 else "have no known answer and are"
    return [f"{len(unknown)} of {total} test outputs {has} not scored: {name}, test {number}{and_more(unknown)}"]


def right_votes(tasks: Sequence[Task], predictions: Sequence[Prediction]) -> int:
    """How many votes, over all variants of all test inputs, were for the right grid.

    It tells two models apart where the few solved test outputs cannot.
    """
    outputs = truths(tasks)
    counts = 0
    for prediction in predictions:
        truth = outputs.get(prediction.key)
        if truth is not None:
            counts += sum(c.votes for c in prediction.candidates if same(c.grid, truth))
    return counts


def score(
    tasks: Sequence[Task], predictions: Sequence[Prediction], seed: int = 0, metrics: Sequence[Metric] = ()
) -> dict[str, Any]:
    """Every score of a set of predictions, with baselines and 95% intervals.

    Args:
        tasks: with their answers, as far as they are known.
        predictions: of the tasks' test outputs, in any order.
        seed: of the bootstrap.
        metrics: computed beside those of every evaluation (:data:`hrm_arc.evaluation.metrics.METRICS`).

    Returns:
        ``tasks`` and ``test_outputs``: those whose answers are known; each board of a game counts as a task;
        ``answers_not_known``: the number of test outputs without a known answer, which no score counts;
        one value for each metric, under its name;
        ``metrics``: name, title, aggregate, headline and share of each metric, in the order of display;
        ``intervals``: for each metric that is known [low, high], a bootstrap over tasks;
        ``baselines``; ``mean_segments``; ``solved_pass1`` and ``solved_pass2``: test outputs solved in one
        attempt and in two. What is not known is None: metrics and counts without a known answer, segments of a
        submission, and pass@k of predictions that cannot have k candidates.

    Raises:
        UserError: a metric failed, or two different metrics have one name.
    """
    computed = all_metrics(metrics)
    results = outcomes(tasks, predictions)
    by_task = _by_task(tasks, results)
    averages = _Averages(computed, results, by_task)
    segments = [prediction.segments for prediction in predictions if prediction.segments]
    return {
        "tasks": len(by_task),
        "test_outputs": len(results),
        "answers_not_known": sum(len(task.tests) for task in tasks) - len(results),
        "solved_pass1": sum(outcome.rank == 1 for outcome in results) if results else None,
        "solved_pass2": sum(outcome.solved for outcome in results) if results else None,
        **averages.values(),
        "metrics": [metric.as_dict() for metric in computed],
        "intervals": averages.intervals(seed),
        "baselines": task_baselines(tasks),
        "mean_segments": float(np.mean(segments)) if segments else None,
    }


def _by_task(tasks: Sequence[Task], results: Sequence[Outcome]) -> list[np.ndarray]:
    """The numbers of the results of each task. Each board of a game is a task of its own."""
    games = {task.id for task in tasks if task.boards}
    members: dict[tuple[str, int], list[int]] = {}
    for number, outcome in enumerate(results):
        members.setdefault((outcome.task, outcome.test if outcome.task in games else -1), []).append(number)
    return [np.array(numbers) for numbers in members.values()]


class _Averages:
    """The averages of all metrics, over the tasks or over resampled tasks.

    A task is reduced to one number for each metric, so that an average over resampled tasks is a few
    operations on arrays.

    Args:
        metrics: what to compute.
        results: one for each test output.
        by_task: the numbers of the results of each task.
    """

    def __init__(self, metrics: Sequence[Metric], results: Sequence[Outcome], by_task: Sequence[np.ndarray]):
        self._sizes = np.array([len(numbers) for numbers in by_task])
        self._all_names = [metric.name for metric in metrics]
        values = {metric.name: [metric.value(outcome) for outcome in results] for metric in metrics}
        known: dict[str, list[float]] = {
            name: [each for each in column if each is not None] for name, column in values.items() if None not in column
        }
        metrics = [metric for metric in metrics if metric.name in known]
        # Metrics of one aggregate are computed side by side; _order puts the values back into the order of the metrics.
        self._names = [metric.name for metric in metrics]
        self._outputs = [metric for metric in metrics if metric.aggregate == "outputs"]
        self._means = [metric for metric in metrics if metric.aggregate == "tasks_mean"]
        self._strict = [metric for metric in metrics if metric.aggregate == "tasks_strict"]
        by_aggregate = [metric.name for metric in (*self._outputs, *self._means, *self._strict)]
        self._order = [by_aggregate.index(name) for name in self._names]
        groups = (self._outputs, self._means, self._strict)
        outputs, means, strict = (_table([known[m.name] for m in some], len(results)) for some in groups)
        self._sums = _reduced([outputs[numbers].sum(axis=0) for numbers in by_task], outputs)
        self._task_means = _reduced([means[numbers].sum(axis=0) / len(numbers) for numbers in by_task], means)
        self._solved = _reduced([(strict[numbers] == 1).all(axis=0) for numbers in by_task], strict)

    def values(self) -> dict[str, float | None]:
        """The average of each metric; None if there is no test output, or one whose number is not known."""
        if not len(self._sizes):
            return dict.fromkeys(self._all_names)
        everything = np.arange(len(self._sizes))[None]
        averages = {name: float(value) for name, value in zip(self._names, self._of(everything)[0], strict=True)}
        return {name: averages.get(name) for name in self._all_names}

    def intervals(self, seed: int) -> dict[str, list[float]]:
        """The 95% bootstrap interval of each metric that is known, as [low, high]."""
        if not len(self._sizes):
            return {}
        bounds = interval(self._of, len(self._sizes), seed)
        return {name: [float(low), float(high)] for name, low, high in zip(self._names, *bounds, strict=True)}

    def _of(self, draws: np.ndarray) -> np.ndarray:
        """The averages over some tasks: ``[draws, metrics]`` from the tasks' numbers ``[draws, tasks]``."""
        outputs = self._sums[draws].sum(axis=1) / self._sizes[draws].sum(axis=1, keepdims=True)
        means, strict = self._task_means[draws].mean(axis=1), self._solved[draws].mean(axis=1)
        return np.concatenate([outputs, means, strict], axis=1)[:, self._order]


def _table(columns: Sequence[Sequence[float]], outputs: int) -> np.ndarray:
    """The number of each test output under each metric, ``[outputs, metrics]``, from those of each metric."""
    return np.array(columns, dtype=float).reshape(len(columns), outputs).T


def _reduced(rows: Sequence[np.ndarray], table: np.ndarray) -> np.ndarray:
    """One row for each task, ``[tasks, metrics]``."""
    return np.array(rows, dtype=float).reshape(len(rows), table.shape[1])
