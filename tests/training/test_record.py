"""The record's recipe: its size, and that no test output reaches its weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from hrm_arc.models.spec import build_model
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.puzzles.task import Pair, Task, make_grid
from hrm_arc.training.build import load_corpus
from hrm_arc.training.config import Recipe
from hrm_arc.training.recipes import load_recipe
from hrm_arc.training.trainer import Trainer

MOST_PARAMETERS = 6_950_000


def record(**data: object) -> Recipe:
    """The record's recipe, three steps of it in single precision on its smallest tasks."""
    flags = ["--training.max_steps", "3", "--training.max_minutes", "0", "--training.batch_size", "8"]
    recipe = load_recipe("cpu-arc1", [*flags, "--training.compile", "never", "--training.precision", "32-true"])
    return replace(recipe, data=replace(recipe.data, **data))  # type: ignore[arg-type]


def noisy(task: Task) -> Task:
    """The task with other test outputs, of another size."""
    noise = make_grid([[n % 10 for n in range(28)]] * 28)
    return replace(task, tests=tuple(Pair(test.input, noise) for test in task.tests))


def test_its_size_is_at_most_that_of_the_logs_model() -> None:
    recipe = load_recipe("cpu-arc1")
    tasks = load_tasks("arc-agi-1/evaluation")
    model = build_model(recipe.model["name"], recipe.model_options, len(tasks))
    assert sum(parameter.numel() for parameter in model.parameters()) <= MOST_PARAMETERS


def test_no_test_output_reaches_the_choice_of_tasks_or_the_weights(tmp_path: Path) -> None:
    recipe = record(largest=60)
    corpus = load_corpus(recipe)
    assert len(corpus.solve) > 3
    weights = []
    for number, solve in enumerate((corpus.solve, tuple(noisy(task) for task in corpus.solve))):
        trainer = Trainer(recipe, replace(corpus, solve=solve), root=tmp_path / str(number))
        trainer.fit()
        weights.append(trainer.model.state_dict())
    assert weights[0].keys() == weights[1].keys()
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name]), name
