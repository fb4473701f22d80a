from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest

from hrm_arc.evaluation.dependence import Dependence, dependence
from hrm_arc.evaluation.predict import Answers, Prediction, predict
from hrm_arc.puzzles.augmented import Samples
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.puzzles.task import Task

TASKS = load_tasks("arc-agi-1/evaluation")[:20]
ROWS = {task.id: n for n, task in enumerate(TASKS, start=1)}

# Tokens [cells] of an answer, from those of the input and the task's row.
Rule = Callable[[np.ndarray, int], np.ndarray]


class Made:
    """A backend that computes tokens ``[cells]`` from a sample's input tokens and task row."""

    def __init__(self, rule: Rule):
        self.rule = rule

    def answer(self, samples: Samples) -> Answers:
        tokens = [self.rule(row, int(task)) for row, task in zip(samples.inputs, samples.task, strict=True)]
        return Answers(np.stack(tokens), np.ones(len(samples)), np.ones(len(samples)))


def held_against_others(rows: Mapping[str, int], rule: Rule, asked: Sequence[Task] = TASKS) -> Dependence:
    def answer(tasks: Sequence[Task], rows: Mapping[str, int]) -> list[Prediction]:
        return list(predict(Made(rule), tasks, rows, votes=1, canvas="full", ignores_padding=False))

    return dependence(asked, rows, answer(asked, rows), answer)


RULES: dict[str, tuple[Rule, str]] = {
    "padding": (lambda inputs, task: np.zeros_like(inputs), "it says the same to everything"),
    "copy": (lambda inputs, task: inputs, "its answers depend on the input, and they do not depend on which task"),
    "memory": (
        lambda inputs, task: np.full_like(inputs, task % 10 + 2),
        "its answers do not depend on the input, and they do depend on which task",
    ),
    "both": (
        lambda inputs, task: np.where(inputs > 1, (inputs + task) % 10 + 2, 0).astype(np.uint8),
        "its answers depend on the input, and they do depend on which task",
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_made_models_are_told_apart(name: str) -> None:
    rule, verdict = RULES[name]
    assert verdict in held_against_others(ROWS, rule).verdict()


def test_shares_by_hand() -> None:
    found = held_against_others(ROWS, RULES["copy"][0])
    assert (found.with_input, found.with_identity) == (1.0, 0.0)
    found = held_against_others(ROWS, RULES["padding"][0])
    assert (found.distinct, found.with_input, found.with_identity) == (0.0, 0.0, 0.0)


def test_a_model_that_is_told_no_task_is_not_asked_about_it() -> None:
    found = held_against_others({}, RULES["copy"][0])
    assert found.with_identity is None
    assert found.verdict() == "its answers depend on the input"


def test_answers_are_not_looked_at() -> None:
    blind = [task.blind() for task in TASKS]
    rule = RULES["both"][0]
    assert held_against_others(ROWS, rule, blind) == held_against_others(ROWS, rule)
