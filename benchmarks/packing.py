"""What it saves to send small canvases through a model together instead of one after another.

Forward and backward of one step of the race's recipes, in turns in one process, with medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from benchmarks.race import MODELS

if TYPE_CHECKING:
    from hrm_arc.models.reasoner import Batch, Reasoner


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=MODELS, default=list(MODELS), help="some of the models")


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for name in options.only:
        model, batches = _step(name)
        # How the batches are portioned.
        ways = {"together": [batches], "apart": [[batch] for batch in batches]}
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(options.repeats):
            for way, portions in ways.items():
                started = time.perf_counter()
                _learn(model, portions)
                seconds[way].append(time.perf_counter() - started)
        together, apart = (statistics.median(seconds[way]) for way in ("together", "apart"))
        yield {
            "model": name,
            "samples": sum(len(batch) for batch in batches),
            "canvases": len(batches),
            "together, ms": f"{1000 * together:.0f}",
            "one after another, ms": f"{1000 * apart:.0f}",
            "times as fast": f"{apart / together:.2f}",
        }


def _step(name: str) -> tuple[Reasoner, list[Batch]]:
    """A fresh model of the race, and the batches of its first step."""
    import torch

    from hrm_arc.models import build_model
    from hrm_arc.models.reasoner import Batch
    from hrm_arc.training.batches import Batches
    from hrm_arc.training.recipe_files import load_recipe

    torch.manual_seed(0)
    recipe = load_recipe(f"race/{name}")
    corpus = recipe.corpus()
    data = recipe.training_set(corpus)
    model = build_model(name, recipe.model_options, len(corpus.tasks), int(data.variants.max()))
    parts = Batches(data, recipe.training.batch, draw=recipe.data.draw).step(0)[0]
    return model.train(), [Batch.of(part) for part in parts]


def _learn(model: Reasoner, portions: list[list[Batch]]) -> None:
    """One segment of thought and its gradients."""
    import torch

    model.zero_grad()
    for batches in portions:
        said = model([model.start(batch) for batch in batches], batches)
        torch.stack([output.logits.square().mean() for _, output in said]).sum().backward()
