"""Dependence of a model's answers on its input and on its conditioning.

A score can be above zero although the model ignores the grid, or ignores the task. So the test inputs are
answered again with one thing changed: the cells of the input, or the row of the task in the task table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from hrm_arc.evaluation.prediction import Prediction
from hrm_arc.puzzles.counter_rng import mix, name_key
from hrm_arc.puzzles.task import Grid, Pair, Task, make_grid

# Shares up to this one count as none.
LITTLE = 0.02

# Answers tasks; the second argument is the row of each task in the model's task table.
Answer = Callable[[Sequence[Task], Mapping[str, int]], list[Prediction]]


NEITHER = "depend neither on the cells of the input nor on the task"


@dataclass(frozen=True)
class Dependence:
    """Shares of test inputs, from 0 to 1.

    Attributes:
        distinct: number of different answers (by tokens) minus one, over number of answers minus one: 0 for a
            model with one answer to everything. None if there is a single answer.
        with_input: test inputs whose answer changes when the cells of the input are shuffled; None if the model
            is not at hand.
        with_identity: test inputs whose answer changes with the puzzle embedding of another task; None for a model
            without one, or fewer than two known tasks.
    """

    distinct: float | None
    with_input: float | None
    with_identity: float | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def verdict(self) -> str:
        """The shares in words."""
        alike = self.distinct is not None and self.distinct <= LITTLE
        if (alike or self.distinct is None) and self.with_input == 0 == (self.with_identity or 0):
            return "it gives the same answer to everything"
        if alike and not self.with_input:
            return "it gives the same answer to everything"
        if self.with_input == 0 == (self.with_identity or 0):
            neither = "do not depend on the cells of the input" if self.with_identity is None else NEITHER
            return f"its answers {neither}, but perhaps on sizes"
        if self.with_input is None and self.distinct is None:
            return "a single answer does not show what it depends on"
        if self.with_input is None:
            return "its answers differ from one input to another; only an audit of the model shows what they depend on"
        parts = [
            "its answers depend on the input" if self.with_input > LITTLE else "its answers do not depend on the input",
        ]
        if self.with_identity is not None:
            does = "do" if self.with_identity > LITTLE else "do not"
            parts.append(f"they {does} depend on the puzzle embedding")
        return ", and ".join(parts)


def dependence(
    tasks: Sequence[Task], rows: Mapping[str, int], answered: Sequence[Prediction], answer: Answer
) -> Dependence:
    """Compare answers with the answers to shuffled inputs, and with the answers under another task's row.

    Args:
        tasks: the tasks to answer; their test outputs are not read.
        rows: the row of each task in the model's task table; tasks that are not in it are left out.
        answered: predictions of one pass over each test input, without votes.
        answer: makes such predictions.
    """
    plain = _tokens(answered)
    permuted = _tokens(answer([_permuted(task) for task in tasks], rows))
    names = [task.id for task in tasks if task.id in rows]
    wrong = None
    if len(names) > 1:
        others = {**rows, **dict(zip(names, (rows[name] for name in names[1:] + names[:1]), strict=True))}
        wrong = _tokens(answer(tasks, others))
    keys = [key for key in plain if wrong is None or key[0] in rows]
    return Dependence(
        distinct=_distinct(plain),
        with_input=_changed(plain, permuted, list(plain)),
        with_identity=None if wrong is None else _changed(plain, wrong, keys),
    )


def observed(predictions: Sequence[Prediction]) -> Dependence:
    """The dependence that predictions alone show, where the model is not at hand."""
    return Dependence(_distinct(_tokens(predictions)), None, None)


def _distinct(answers: Mapping[tuple[str, int], bytes]) -> float | None:
    return (len(set(answers.values())) - 1) / (len(answers) - 1) if len(answers) > 1 else None


def _tokens(predictions: Sequence[Prediction]) -> dict[tuple[str, int], bytes]:
    return {(p.task, p.test): p.tokens.tobytes() for p in predictions}


def _changed(
    one: Mapping[tuple[str, int], bytes], other: Mapping[tuple[str, int], bytes], keys: Sequence[tuple[str, int]]
) -> float:
    return float(np.mean([one[key] != other[key] for key in keys])) if keys else 0.0


def _permuted(task: Task) -> Task:
    """The task with the cells of each test input shuffled; sizes are unchanged."""
    tests = tuple(Pair(_shuffled(test.input, name_key(task.id), n), None) for n, test in enumerate(task.tests))
    return replace(task, tests=tests)


def _shuffled(grid: Grid, *key: int) -> Grid:
    """The grid with its cells shuffled; a grid of one color gets another color."""
    order = np.argsort(mix(*key, np.arange(grid.size)), kind="stable")
    shuffled = grid.reshape(-1)[order].reshape(grid.shape)
    return make_grid((grid + 1) % 10 if np.array_equal(shuffled, grid) else shuffled)
