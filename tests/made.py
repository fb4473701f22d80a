"""Small puzzles and recipes for tests that train."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from hrm_arc.evaluation.backend import Answers
from hrm_arc.evaluation.evaluate import predict_tasks, write_evaluation
from hrm_arc.files import write_lines, write_sealed_json, write_text
from hrm_arc.models import find_model
from hrm_arc.puzzles.augmented import Samples
from hrm_arc.puzzles.canvas import FIRST_COLOR
from hrm_arc.puzzles.formats import task_json
from hrm_arc.puzzles.task import Task
from hrm_arc.runs.card import Card
from hrm_arc.runs.folder import RunFolder
from hrm_arc.training.callbacks import Callback
from hrm_arc.training.config import Recipe
from hrm_arc.training.metrics import StepMetrics
from hrm_arc.training.recipes import load_recipe
from hrm_arc.training.trainer import Trainer

# Several processes, on a port of their own; how many comes next.
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]


def write_tasks(folder: Path, count: int = 3, noise: int | None = None) -> Path:
    """Tasks that flip a 2 x 2 grid upside down; ``noise`` replaces the test outputs."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    other = np.random.default_rng(noise)
    for number in range(count):
        grids = random.integers(0, 10, size=(4, 2, 2))
        pairs = [{"input": grid.tolist(), "output": grid[::-1].tolist()} for grid in grids]
        task: dict[str, Any] = {"train": pairs[:3], "test": pairs[3:]}
        if noise is not None:
            task["test"] = [{**task["test"][0], "output": other.integers(0, 10, size=(5, 4)).tolist()}]
        (folder / f"flip{number}.json").write_text(json.dumps(task))
    return folder


def write_puzzles(folder: Path, tasks: Sequence[Task]) -> Path:
    """Tasks as files of the usual kind."""
    folder.mkdir(parents=True)
    for task in tasks:
        (folder / f"{task.id}.json").write_text(json.dumps(task_json(task)))
    return folder


def tiny_recipe(tasks: Path, model: str = "grid-hrm", *flags: str) -> Recipe:
    """A recipe that trains in a second, with the model's example configuration."""
    config = {"name": model, **find_model(model).example_config}
    recipe = {
        "name": "tiny",
        "model": config,
        "data": {"solve": [str(tasks)], "augment": 20},
        "training": {"max_steps": 6, "batch_size": 8, "log_every": 2, "accelerator": "cpu"},
        "validation": {"every": 3},
        "evaluation": {"votes": 8},
    }
    path = tasks.parent / f"{model}.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return load_recipe(str(path), list(flags))


def made_run(
    path: Path,
    status: dict[str, Any] | None = None,
    rows: Sequence[dict[str, Any]] | None = None,
    name: str = "made",
) -> RunFolder:
    """A run folder without a training; by default of a finished run with two rows of metrics.

    Args:
        path: the folder to create.
        status: the content of status.json.
        rows: the rows of metrics.jsonl.
        name: of its recipe.
    """
    run = RunFolder(path)
    recipe = {"name": name, "model": {"name": "grid-hrm"}, "training": {"max_steps": 9, "max_minutes": 0}}
    if rows is None:
        rows = [{"kind": "train", "step": n, "seconds": 1.0 * n, "loss": 3.0 - n} for n in (1, 2)]
    write_text(run.config_file, yaml.safe_dump(recipe))
    write_lines(run.metrics_file, rows)
    write_sealed_json(run.status_file, {"state": "finished", "current_step": 2} if status is None else status)
    return run


def stopped(
    recipe: Any, root: Path, step: int, folder: RunFolder | None = None, overrides: Sequence[str] = ()
) -> RunFolder:
    """A run that was asked to stop in a step."""

    class Stopping(Callback):
        def on_run_start(self, trainer: Trainer) -> None:
            run = trainer._one_step

            def one_step(progress: float) -> Any:
                output = run(progress)
                if trainer.step == step:
                    trainer.stop()
                return output

            trainer._one_step = one_step  # type: ignore[method-assign]

    trainer = Trainer(recipe, root=root, resume=folder, overrides=overrides, callbacks=[Stopping()])
    assert (trainer.fit()["state"], trainer.step) == ("interrupted", step)
    return trainer.folder


class OnStep(Callback):
    """A callback that hands each step's metrics to a function."""

    def __init__(self, function: Callable[[StepMetrics], object]):
        self._function = function

    def on_step(self, metrics: StepMetrics) -> None:
        self._function(metrics)


class Scribbles:
    """A backend that copies the input with a few cells changed, other ones after each segment."""

    segments = 4

    def __init__(self, wrong: float = 0.05):
        self.wrong = wrong
        self._random = np.random.default_rng(0)

    def answer(self, samples: Samples) -> Answers:
        tokens = self._scribble(samples)
        return Answers(tokens, np.full(len(samples), 0.5), np.full(len(samples), 2.0))

    def refine(self, samples: Samples) -> np.ndarray:
        return np.stack([self._scribble(samples) for _ in range(self.segments)])

    def _scribble(self, samples: Samples) -> np.ndarray:
        tokens = samples.inputs.copy()
        cells = (self._random.random(tokens.shape) < self.wrong) & (tokens >= FIRST_COLOR)
        tokens[cells] = self._random.permutation(tokens[cells])
        return tokens


def scored_run(path: Path, tasks: Sequence[Task], name: str = "made", wrong: float = 0.05, votes: int = 3) -> RunFolder:
    """The folder of a run that nobody trained, scored: answers are copies of the inputs with a few cells changed."""
    folder = RunFolder(path)
    recipe = tiny_recipe(write_tasks(path / "tasks"))
    write_text(folder.config_file, yaml.safe_dump({**recipe.as_dict(), "name": name}))
    write_sealed_json(folder.status_file, {"run_id": path.name, "current_step": 3, "state": "finished"})
    training = {"kind": "train", "exact_accuracy": 0.1}
    write_lines(folder.metrics_file, [{**training, "step": n, "seconds": 60.0 * n, "loss": 1 / n} for n in (1, 2, 3)])
    names = [task.id for task in tasks]
    card = Card("grid-hrm", {}, names, "cropped", True, ["made"], [], len(names), 1, 0, [], 3, path.name, {})
    predictions = predict_tasks(Scribbles(wrong), card, tasks, votes=votes, refine=True)
    write_evaluation(card, tasks, predictions, folder, {"votes": votes})
    return folder
