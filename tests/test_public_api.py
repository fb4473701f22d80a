"""The public API, with tasks and models in memory and nothing private."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import hrm_arc
from hrm_arc import (
    Batch,
    Carry,
    Corpus,
    Outcome,
    Output,
    Reasoner,
    Samples,
    StepMetrics,
    Task,
    Trainer,
    UserError,
    load_recipe,
)
from hrm_arc.evaluation.metrics import METRICS
from hrm_arc.models import MODELS, find_model
from hrm_arc.puzzles.formats import task_json
from hrm_arc.puzzles.sources import SOURCES
from hrm_arc.puzzles.transforms import TRANSFORMS
from hrm_arc.runs.checkpoint import WEIGHTS, newest_checkpoint, read_card, read_tensors
from hrm_arc.training.losses import LOSSES
from tests.cli.commands import answer

# A type alias cannot have a docstring; a comment beside it says what it is.
ALIASES = {"Carry"}


@dataclass(frozen=True)
class OwnConfig:
    """A small model.

    Attributes:
        size: size of a cell's vector.
        segments: the most segments.
    """

    size: int = 8
    segments: int = 2


class OwnModel(Reasoner):
    """A convolution that sees the cells and the task."""

    def __init__(self, config: OwnConfig, num_tasks: int):
        super().__init__()
        self.config = config
        self.segments = config.segments
        self.tokens = nn.Embedding(12, config.size)
        self.tasks = nn.Embedding(num_tasks + 1, config.size)
        self.mix = nn.Conv2d(config.size, config.size, 3, padding=1)
        self.head = nn.Linear(config.size, 12)
        self.halt = nn.Linear(config.size, 1)

    def initial_carry(self, batch: Batch) -> Carry:
        return (torch.zeros(len(batch), self.config.size, batch.height, batch.width, device=batch.inputs.device),)

    def forward(self, carry: Carry, batch: Batch) -> tuple[Carry, Output]:
        given = self.tokens(batch.inputs) + self.tasks(batch.identity.task)[:, None]
        grid = given.transpose(1, 2).unflatten(2, (batch.height, batch.width))
        hidden = torch.tanh(carry[0] + self.mix(carry[0] + grid) + grid)
        cells = hidden.flatten(2).transpose(1, 2)
        return (hidden,), Output(self.head(cells), self.halt(cells.mean(dim=1)))


SPEC = hrm_arc.ModelSpec(
    OwnConfig, lambda config, tasks, variants: OwnModel(config, tasks), task_tables=("tasks.weight",)
)


def flips(*names: str) -> tuple[Task, ...]:
    """Tasks that turn a grid upside down; grids depend on the name alone."""
    tasks = []
    for name in names:
        grids = np.random.default_rng(sum(name.encode())).integers(0, 10, size=(4, 4, 3))
        pairs = [(grid, grid[::-1]) for grid in grids]
        tasks.append(Task.from_lists(name, train=pairs[:3], test=pairs[3:]))
    return tuple(tasks)


def tiny(model: Mapping[str, Any] | None = None, **sections: Mapping[str, Any]) -> hrm_arc.Recipe:
    """A recipe of a few steps, as plain data."""
    plain: dict[str, Any] = {
        "name": "tiny",
        "model": dict(model or {"name": f"{__name__}:OwnModel"}),
        "data": {"augment": 8},
        "training": {"max_steps": 4, "batch_size": 8, "log_every": 1, "accelerator": "cpu"},
        "validation": {"every": 2},
    }
    for section, keys in sections.items():
        plain[section] = {**plain.get(section, {}), **keys}
    return load_recipe(plain)


# Steps that change no weight, so that a run ends with the weights that it started from.
FROZEN = {"lr": 0.0, "weight_decay": 0.0, "ema": 0.0}


class Counter(hrm_arc.Callback):
    """Counts steps, and stops the run after one of them."""

    def __init__(self, last: int | None = None):
        self.last = last
        self.steps: list[int] = []
        self.ended = ""

    def on_run_start(self, trainer: Trainer) -> None:
        self.trainer = trainer

    def on_step(self, metrics: StepMetrics) -> None:
        self.steps.append(metrics.step)
        if metrics.step == self.last:
            self.trainer.stop()

    def on_run_end(self, state: str) -> None:
        self.ended = state


def test_importing_the_package_loads_neither_torch_nor_numpy() -> None:
    program = "import sys, hrm_arc; print(hrm_arc.__version__, sorted({'torch', 'numpy', 'yaml'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=1) == [hrm_arc.__version__, "[]\n"]


@pytest.mark.parametrize("name", hrm_arc.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(hrm_arc, name)
    if name in ALIASES:
        return
    assert value.__module__.startswith("hrm_arc.")
    own = vars(value).get("__doc__") if isinstance(value, type) else value.__doc__
    # The docstring that a dataclass gets by itself is its signature.
    assert own
    assert not own.startswith(f"{name}(")
    if not isinstance(value, type):
        signature = inspect.signature(value)
        assert signature.return_annotation is not signature.empty


def test_public_names_are_listed_and_others_are_refused() -> None:
    assert set(hrm_arc.__all__) <= set(dir(hrm_arc))
    assert len(hrm_arc.__all__) == len(set(hrm_arc.__all__)) >= 24
    with pytest.raises(AttributeError, match="has no attribute 'Trainers'"):
        _ = hrm_arc.Trainers


def test_tasks_and_a_model_in_memory_are_trained_scored_and_loaded_again(tmp_path: Path) -> None:
    corpus = Corpus(solve=flips("a", "b"), study=flips("c"))
    model, counter, watcher = OwnModel(OwnConfig(size=12), num_tasks=len(corpus.tasks)), Counter(), Counter()
    trainer = Trainer(tiny(), corpus=corpus, model=model, callbacks=[counter, watcher], root=tmp_path)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    result = trainer.fit()
    assert (result["state"], result["steps"], counter.ended) == ("finished", 4, "finished")
    assert counter.steps == watcher.steps == [1, 2, 3, 4]
    assert trainer.model is model
    assert any(not torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())

    card = trainer.card()
    assert (card.model, card.options) == ("tests.test_public_api:OwnModel", {"size": 12, "segments": 2})
    assert (card.tasks, card.held_out, card.solve) == (["a", "b", "c"], 2, [])
    assert read_card(newest_checkpoint(trainer.folder.path)).model == card.model

    solver = hrm_arc.Solver.from_model(trainer.model, card)
    scores = hrm_arc.evaluate(solver, corpus.solve, votes=4)
    assert (scores["tasks"], scores["test_outputs"], scores["unseen_tasks"]) == (2, 2, 0)
    assert scores["warnings"] == []
    assert {"pad_only", "copy_input"} <= set(scores["baselines"])
    loaded = hrm_arc.Solver.load(trainer.folder.path, device="cpu")
    assert isinstance(loaded.backend.model, OwnModel)  # type: ignore[attr-defined]
    again = hrm_arc.evaluate(loaded, corpus.solve, votes=4)
    assert {k: v for k, v in again.items() if k != "seconds"} == {k: v for k, v in scores.items() if k != "seconds"}
    for task in corpus.solve:
        for attempts in loaded.solve(task, votes=4):
            assert all(grid.dtype == np.uint8 for grid in attempts)
    with pytest.raises(UserError, match="attempts: 0, expected at least 1"):
        loaded.solve(corpus.solve[0], attempts=0)


def test_a_callback_stops_the_run_and_it_goes_on(tmp_path: Path) -> None:
    corpus = Corpus(solve=flips("a"))
    counter = Counter(last=2)
    trainer = Trainer(tiny(), corpus=corpus, callbacks=[counter], root=tmp_path)
    assert trainer.fit()["state"] == counter.ended == "interrupted"
    assert counter.steps == [1, 2]
    rest = Counter()
    again = Trainer(tiny(), corpus=corpus, callbacks=[rest], root=tmp_path, resume=str(trainer.folder.path))
    assert again.fit()["state"] == "finished"
    assert rest.steps == [3, 4]


def test_a_model_that_is_not_importable_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = f"from {__name__} import OwnModel as Base\n\n\nclass Gone(Base):\n    pass\n"
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "passing_model.py").write_text(source)
    with monkeypatch.context() as during:
        during.syspath_prepend(tmp_path / "code")
        recipe = tiny({"name": "passing_model:Gone", "size": 4})
        trainer = Trainer(recipe, corpus=Corpus(solve=flips("a")), root=tmp_path / "runs")
        trainer.fit()
        assert trainer.card().model == "passing_model:Gone"
        assert hrm_arc.Solver.load(trainer.folder.path, device="cpu").card.options["size"] == 4
    monkeypatch.delitem(sys.modules, "passing_model")
    missing = "the model passing_model:Gone is not importable here: there is no module passing_model"
    with pytest.raises(UserError, match=missing):
        hrm_arc.Solver.load(trainer.folder.path, device="cpu")
    with pytest.raises(UserError, match=missing):
        tiny({"name": "passing_model:Gone"})


@pytest.fixture
def own_registries(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten after it."""
    for registry in (MODELS, LOSSES, METRICS, SOURCES, TRANSFORMS):
        monkeypatch.setattr(registry, "_known", dict(registry._known))


@pytest.mark.usefixtures("own_registries")
def test_what_is_registered_is_used(tmp_path: Path) -> None:
    calls: set[str] = set()

    def source(rest: str) -> tuple[Task, ...]:
        calls.add(f"source {rest}")
        return flips("a", "b")

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        calls.add("loss")
        chosen = logits.softmax(dim=-1).gather(-1, labels[..., None])
        return 1 - chosen.squeeze(-1)

    def noise(samples: Samples, keys: np.ndarray) -> Samples:
        calls.add("augmentation")
        assert len(keys) == len(samples)
        return samples

    def right_size(outcome: Outcome) -> float:
        calls.add("metric")
        best = outcome.prediction.candidates[:1] if outcome.prediction else ()
        return float(any(candidate.grid.shape == outcome.truth.shape for candidate in best))

    hrm_arc.register_model("own", SPEC)
    hrm_arc.register_source("mine", source)
    hrm_arc.register_loss("probability", loss)
    hrm_arc.register_augmentation("quiet", noise)
    hrm_arc.register_metric(hrm_arc.Metric("right_size", "best grids of the right size", right_size))

    recipe = tiny(
        {"name": "own", "size": 6},
        data={"solve": ["mine:easy"], "transforms": ["quiet"]},
        loss={"kind": "probability"},
        evaluation={"metrics": ["right_size"]},
    )
    trainer = Trainer(recipe, root=tmp_path)
    trainer.fit()
    assert (trainer.card().model, trainer.card().solve) == ("own", ["mine:easy"])
    scores = hrm_arc.evaluate(trainer.folder.path, "mine:easy", votes=2)
    predictions = hrm_arc.Solver.load(trainer.folder.path, device="cpu").predict_all(flips("a", "b"), votes=2)
    assert scores["right_size"] == np.mean([each.candidates[0].grid.shape == (4, 3) for each in predictions])
    assert "right_size" in [metric["name"] for metric in scores["metrics"]]
    assert calls == {"source easy", "loss", "augmentation", "metric"}


def test_a_run_starts_from_the_weights_of_another(tmp_path: Path) -> None:
    recipe = tiny({"name": f"{__name__}:SPEC"})
    first = Trainer(recipe, corpus=Corpus(solve=flips("a", "b", "c")), root=tmp_path)
    first.fit()
    pretrained = hrm_arc.Pretrained.load(first.folder.path)
    assert pretrained.card.tasks == ["a", "b", "c"]
    second = Trainer(recipe, corpus=Corpus(solve=flips("another", "c")), root=tmp_path, pretrained=pretrained)
    check_started_from(second.model.state_dict(), first.model.state_dict(), "tasks.weight")
    assert second.fit()["state"] == "finished"


def check_started_from(new: Mapping[str, torch.Tensor], old: Mapping[str, torch.Tensor], table: str) -> None:
    """Whether a model of the tasks ``another`` and ``c`` has the weights of one of the tasks ``a``, ``b`` and ``c``."""
    assert {name for name in new if not torch.equal(new[name], old[name])} == {table}
    rows, given = new[table], old[table]
    assert len(rows) == 3
    assert torch.equal(rows[0], given[0]), "the row of unseen tasks"
    torch.testing.assert_close(rows[1], given[1:].mean(dim=0), msg="a new task starts from the mean")
    assert torch.equal(rows[2], given[3]), "a known task keeps its row"


def test_the_command_starts_a_run_from_the_weights_of_another(tmp_path: Path) -> None:
    for folder, names in (("old", ("a", "b", "c")), ("new", ("another", "c"))):
        (tmp_path / folder).mkdir()
        for task in flips(*names):
            (tmp_path / folder / f"{task.id}.json").write_text(json.dumps(task_json(task)))
    small = {"name": "grid-hrm", "hidden_size": 16, "num_heads": 2, "h_cycles": 1, "segments": 2}
    # JSON is YAML, too.
    recipe = tiny(small, data={"solve": [str(tmp_path / "old")]})
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe.as_dict()))
    old = Trainer(recipe, root=tmp_path)
    old.fit()
    frozen = [f"--optimizer.{key}={value}" for key, value in FROZEN.items()]
    done = answer("train", "recipe.yaml", "--init-from", old.folder.path, '--data.solve=["new"]', *frozen, cwd=tmp_path)
    weights = [
        read_tensors(newest_checkpoint(run), WEIGHTS) for run in (tmp_path / str(done["folder"]), old.folder.path)
    ]
    check_started_from(*weights, next(iter(weights[0].keys() & set(find_model("grid-hrm").task_tables))))
