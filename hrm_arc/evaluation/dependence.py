"""Do a model's answers depend on what it was given, or would it say the same to anything?

A score can look well and rest on nothing: an answer that is always the same, or one that has
nothing to do with the grid or with the task. Each is asked for by changing one thing alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from hrm_arc.evaluation.predict import Prediction
from hrm_arc.puzzles.keyed import mix, name_key
from hrm_arc.puzzles.task import Grid, Pair, Task, make_grid

# Shares below this are called none, and distinct answers below it the same.
LITTLE = 0.02

# Answers tasks, given the row of each in the model's task table.
Answer = Callable[[Sequence[Task], Mapping[str, int]], list[Prediction]]


@dataclass(frozen=True)
class Dependence:
    """Shares of test inputs, from 0 to 1.

    Attributes:
        distinct: different answers, by tokens, as a share of all answers; nearly none for a model
            that says one thing to everything. None where there is a single answer.
        with_input: whose answer changes when the input's cells are put in another order; None
            where the model could not be asked.
        with_identity: whose answer changes when the model is told another task; None where it
            is not told any.
    """

    distinct: float | None
    with_input: float | None
    with_identity: float | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def verdict(self) -> str:
        """The same in words."""
        alike = self.distinct is not None and self.distinct <= LITTLE
        if (alike and not self.with_input) or self.with_input == 0 == (self.with_identity or 0):
            return "it says the same to everything"
        if self.with_input is None and self.distinct is None:
            return "one answer tells nothing about what it depends on"
        if self.with_input is None:
            return "its answers differ from one input to another; the model itself would have to be asked why"
        said = [
            "its answers depend on the input" if self.with_input > LITTLE else "its answers do not depend on the input",
        ]
        if self.with_identity is not None:
            does = "do" if self.with_identity > LITTLE else "do not"
            said.append(f"they {does} depend on which task it is told")
        return ", and ".join(said)


def dependence(
    tasks: Sequence[Task], rows: Mapping[str, int], answered: Sequence[Prediction], answer: Answer
) -> Dependence:
    """Hold answers against those to permuted inputs, and those under a wrong identity.

    Args:
        tasks: what is answered; their own answers are not looked at.
        rows: each task's row in the model's task table, for those that it has.
        answered: one pass over each test input, without votes.
        answer: gives such answers.
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
    """What answers alone can tell, where the model is not at hand."""
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
    """The task with the cells of each test input in another order; sizes stay."""
    tests = tuple(Pair(_shuffled(test.input, name_key(task.id), n), None) for n, test in enumerate(task.tests))
    return replace(task, tests=tests)


def _shuffled(grid: Grid, *key: int) -> Grid:
    """The grid's cells in another order; a grid of one colour gets another colour."""
    order = np.argsort(mix(*key, np.arange(grid.size)), kind="stable")
    shuffled = grid.reshape(-1)[order].reshape(grid.shape)
    return make_grid((grid + 1) % 10 if np.array_equal(shuffled, grid) else shuffled)
