"""One packed forward pass over several canvases, compared with one forward pass for each canvas.

Forward and backward of the first step of the race's recipes. The two ways are timed alternately in one
process; the table has medians.
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
    parser.add_argument("--repeats", type=int, default=5, help="timed steps of each kind (default 5)")
    parser.add_argument("--only", nargs="+", choices=MODELS, default=list(MODELS), help="measure only these models")


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for name in options.only:
        model, batches = _step(name)
        # The batches of each forward pass.
        ways = {"together": [batches], "apart": [[batch] for batch in batches]}
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        # The first step of each way is not timed: kernels are built in it. Then each begins as often as the other.
        for repeat in range(options.repeats + 1):
            for way in ways if repeat % 2 else reversed(ways):
                started = time.perf_counter()
                _forward_backward(model, ways[way])
                if repeat:
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
    """A model of the race with new weights, and the batches of its first step."""
    import torch

    from hrm_arc.models import build_model
    from hrm_arc.models.reasoner import Batch
    from hrm_arc.training.build import load_corpus, training_set
    from hrm_arc.training.data import Batches
    from hrm_arc.training.recipes import load_recipe

    torch.manual_seed(0)
    recipe = load_recipe(f"race/{name}")
    corpus = load_corpus(recipe)
    data = training_set(recipe, corpus)
    model = build_model(name, recipe.model_options, len(corpus.tasks), int(data.variants.max()))
    parts = Batches(data, recipe.training.batch_size, sampling=recipe.data.sampling).draw(0)[0]
    return model.train(), [Batch.from_samples(part) for part in parts]


def _forward_backward(model: Reasoner, microbatches: list[list[Batch]]) -> None:
    """One segment and its gradients; each list of batches is one forward pass."""
    import torch

    model.zero_grad()
    for batches in microbatches:
        results = model.forward_packed([model.initial_carry(batch) for batch in batches], batches)
        torch.stack([output.logits.square().mean() for _, output in results]).sum().backward()
