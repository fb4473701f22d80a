"""The overhead of training beside the model's computation: files of the run, a checkpoint, the optimizer."""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from hrm_arc.models import build_model
from hrm_arc.runs.card import Card
from hrm_arc.runs.checkpoint import LATEST, save_checkpoint
from hrm_arc.training.checkpointing import optimizer_tensors
from hrm_arc.training.clock import Clock
from hrm_arc.training.config import OptimizerConfig
from hrm_arc.training.muon import Muon
from hrm_arc.training.optim import build_optimizers
from hrm_arc.training.recipes import load_recipe
from hrm_arc.training.recorder import RunRecorder
from hrm_arc.training.trainer import Trainer

STEPS = 300


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing: this benchmark has no options."""


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        share = _upkeep_share(Path(folder))
        yield {"what": "status, metrics, log and timing, as a share of a quickstart step", "cost": f"{share:.2%}"}
        seconds = _checkpoint_seconds(Path(folder) / "checkpoints")
        yield {"what": "a checkpoint of the log's model with AdamW's state, median of 5", "cost": f"{seconds:.2f} s"}
        for name, kind in (("Muon", Muon), ("torch.optim.Muon", torch.optim.Muon)):
            cost = f"{1000 * _muon_seconds(kind):.0f} ms"
            yield {"what": f"a step of {name} for the quickstart's model, median of 5", "cost": cost}


def _muon_seconds(kind: Callable[..., torch.optim.Optimizer]) -> float:
    """Median time of one step for the matrices of the quickstart's model."""
    recipe = load_recipe("quickstart")
    model = build_model(recipe.model["name"], recipe.model_options, num_tasks=12)
    _, muon = build_optimizers(model, recipe.optimizer)
    optimizer = kind(muon.param_groups[0]["params"], lr=1e-2, weight_decay=0.1)
    times = []
    for _ in range(5):
        for parameter in optimizer.param_groups[0]["params"]:
            parameter.grad = torch.randn_like(parameter)
        started = time.perf_counter()
        optimizer.step()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def _upkeep_share(folder: Path) -> float:
    """Share of a run's time that is spent in its recorder and in the clock's shares."""
    spent = [0.0]
    recipe = load_recipe("quickstart", ["--training.max_steps", str(STEPS), "--training.max_minutes", "0"])
    trainer = Trainer(recipe, root=folder)
    with contextlib.ExitStack() as stack:
        for owner, name in ((RunRecorder, "on_step"), (RunRecorder, "event"), (Clock, "shares")):
            stack.enter_context(mock.patch.object(owner, name, _timed(getattr(owner, name), spent)))
        started = time.perf_counter()
        trainer.fit()
        return spent[0] / (time.perf_counter() - started)


def _timed(function: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    """The function, with its time added to ``spent[0]``. Nested calls count twice: the share is an upper bound."""

    def timed(*arguments: Any, **named: Any) -> Any:
        started = time.perf_counter()
        try:
            return function(*arguments, **named)
        finally:
            spent[0] += time.perf_counter() - started

    return timed


def _checkpoint_seconds(root: Path) -> float:
    """Median time of writing a checkpoint of the log's model, with checksums, synced to the disk."""
    model = build_model("dual-loop", {}, num_tasks=0)
    optimizers = build_optimizers(model, OptimizerConfig())
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizers[0].step()
    times = []
    for step in range(5):
        card = Card("dual-loop", {}, [], "full", False, [], [], 0, 1, 0, [], step, "benchmark", {})
        started = time.perf_counter()
        save_checkpoint(root, LATEST, card, model.state_dict(), optimizer_tensors(optimizers))
        times.append(time.perf_counter() - started)
    return statistics.median(times)
