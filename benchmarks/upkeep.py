"""What a step costs beside its maths: status, metrics, log and timing, a checkpoint, the optimiser."""

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
from hrm_arc.runs.checkpoint import LATEST, Card, save_checkpoint
from hrm_arc.training.clock import Clock
from hrm_arc.training.muon import Muon
from hrm_arc.training.optimisers import OptimiserConfig, build_optimisers
from hrm_arc.training.recipe_files import load_recipe
from hrm_arc.training.recorder import Recorder
from hrm_arc.training.state import optimiser_tensors
from hrm_arc.training.trainer import Trainer

STEPS = 300


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It takes nothing."""


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        share = _upkeep_share(Path(folder))
        yield {"what": "status, metrics, log and timing, as a share of a quickstart step", "cost": f"{share:.2%}"}
        seconds = _checkpoint_seconds(Path(folder) / "checkpoints")
        yield {"what": "a checkpoint of the log's model with AdamW's state, median of 5", "cost": f"{seconds:.2f} s"}
        ours, theirs = _muon_seconds(Muon), _muon_seconds(torch.optim.Muon)
        times = f"{1000 * ours:.0f} ms, {1000 * theirs:.0f} ms"
        yield {
            "what": "Muon's step for the quickstart's model: here, and torch.optim.Muon's; medians of 5",
            "cost": times,
        }


def _muon_seconds(kind: Callable[..., torch.optim.Optimizer]) -> float:
    """Median time of one step for the matrices of the quickstart's model."""
    recipe = load_recipe("quickstart")
    model = build_model(recipe.model["name"], recipe.model_options, tasks=12)
    _, ours = build_optimisers(model, recipe.optimiser)
    optimiser = kind(ours.param_groups[0]["params"], lr=1e-2, weight_decay=0.1)
    times = []
    for _ in range(5):
        for parameter in optimiser.param_groups[0]["params"]:
            parameter.grad = torch.randn_like(parameter)
        started = time.perf_counter()
        optimiser.step()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def _upkeep_share(folder: Path) -> float:
    """Time inside the recorder and the clock over the time of the run."""
    spent = [0.0]
    recipe = load_recipe("quickstart", ["--training.steps", str(STEPS), "--training.minutes", "0"])
    trainer = Trainer(recipe, folder)
    with contextlib.ExitStack() as stack:
        for owner, name in ((Recorder, "tick"), (Recorder, "event"), (Clock, "shares")):
            stack.enter_context(mock.patch.object(owner, name, _timed(getattr(owner, name), spent)))
        started = time.perf_counter()
        trainer.fit()
        return spent[0] / (time.perf_counter() - started)


def _timed(function: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    """Nested calls are counted twice, which errs on the dear side."""

    def timed(*arguments: Any, **named: Any) -> Any:
        started = time.perf_counter()
        try:
            return function(*arguments, **named)
        finally:
            spent[0] += time.perf_counter() - started

    return timed


def _checkpoint_seconds(root: Path) -> float:
    """Median time of writing the log's model, synced and checksummed."""
    model = build_model("dual-loop", {}, tasks=0)
    optimisers = build_optimisers(model, OptimiserConfig())
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimisers[0].step()
    times = []
    for step in range(5):
        card = Card("dual-loop", {}, [], "full", False, [], [], 0, 1, 0, [], step, "benchmark", {})
        started = time.perf_counter()
        save_checkpoint(root, LATEST, card, model.state_dict(), optimiser_tensors(optimisers))
        times.append(time.perf_counter() - started)
    return statistics.median(times)
