from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest

from hrm_arc.evaluation.backend import Answers
from hrm_arc.evaluation.dependence import Dependence, dependence
from hrm_arc.evaluation.predict import predict
from hrm_arc.evaluation.prediction import Prediction
from hrm_arc.puzzles.augmented import Samples
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.puzzles.task import Task

TASKS = load_tasks("arc-agi-1/evaluation")[:20]
ROWS = {task.id: n for n, task in enumerate(TASKS, start=1)}

# Tokens [cells] of an answer, from those of the input and the task's row.
Rule = Callable[[np.ndarray, int], np.ndarray]


class Made:
    """A backend that computes the tokens ``[cells]`` of each sample with a rule."""

    def __init__(self, rule: Rule):
        self.rule = rule

    def answer(self, samples: Samples) -> Answers:
        tokens = [self.rule(row, int(task)) for row, task in zip(samples.inputs, samples.identity.task, strict=True)]
        return Answers(np.stack(tokens), np.ones(len(samples)), np.ones(len(samples)))


def dependence_of(rows: Mapping[str, int], rule: Rule, given: Sequence[Task] = TASKS) -> Dependence:
    def answer(tasks: Sequence[Task], rows: Mapping[str, int]) -> list[Prediction]:
        return list(predict(Made(rule), tasks, rows, votes=1, canvas="full", ignores_padding=False))

    return dependence(given, rows, answer(given, rows), answer)


RULES: dict[str, tuple[Rule, str]] = {
    "padding": (lambda inputs, task: np.zeros_like(inputs), "it gives the same answer to everything"),
    "copy": (
        lambda inputs, task: inputs,
        "its answers depend on the input, and they do not depend on the puzzle embedding",
    ),
    "memory": (
        lambda inputs, task: np.full_like(inputs, task % 10 + 2),
        "its answers do not depend on the input, and they do depend on the puzzle embedding",
    ),
    # Its answers differ, by their sizes alone.
    "sizes": (
        lambda inputs, task: np.where(inputs > 1, 2, inputs).astype(np.uint8),
        "its answers depend neither on the cells of the input nor on the task, but perhaps on sizes",
    ),
    "both": (
        lambda inputs, task: np.where(inputs > 1, (inputs + task) % 10 + 2, 0).astype(np.uint8),
        "its answers depend on the input, and they do depend on the puzzle embedding",
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_verdicts_of_made_models(name: str) -> None:
    rule, verdict = RULES[name]
    assert verdict in dependence_of(ROWS, rule).verdict()


def test_shares_by_hand() -> None:
    found = dependence_of(ROWS, RULES["copy"][0])
    assert (found.with_input, found.with_identity) == (1.0, 0.0)
    found = dependence_of(ROWS, RULES["padding"][0])
    assert (found.distinct, found.with_input, found.with_identity) == (0.0, 0.0, 0.0)


def test_a_model_without_a_task_table_is_not_tested_with_another_task() -> None:
    found = dependence_of({}, RULES["copy"][0])
    assert found.with_identity is None
    assert found.verdict() == "its answers depend on the input"


def test_dependence_does_not_depend_on_test_outputs() -> None:
    blind = [task.blind() for task in TASKS]
    rule = RULES["both"][0]
    assert dependence_of(ROWS, rule, blind) == dependence_of(ROWS, rule)
