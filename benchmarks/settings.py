"""Settings of the quickstart model, compared on tasks that nothing else is scored on.

The tasks are the 24 smallest of ARC-AGI-2's training set that ARC-AGI-1 does not have, so
that a choice made here is not made by the quickstart's own answers. Every setting moves the
weights equally often; nothing depends on the clock.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from typing import Any

from benchmarks._processes import hrm

COMMON = [
    *("--data.solve", "[arc-agi-2/training]", "--data.without", "[arc-agi-1]", "--data.smallest", "24"),
    *("--training.batch", "32", "--training.minutes", "0"),
]
SETTINGS: dict[str, list[str]] = {
    "the recipe": [],
    "AdamW 1e-3 instead of Muon": ["--optimiser.name", "adamw"],
    "AdamW 2e-3 instead of Muon": ["--optimiser.name", "adamw", "--optimiser.learning_rate", "2e-3"],
    "two segments of thought": ["--model.segments", "2"],
    "two cycles a segment": ["--model.cycles", "2"],
    "weight decay 0.01": ["--optimiser.weight_decay", "0.01"],
    "weight decay 0.5": ["--optimiser.weight_decay", "0.5"],
    "no average of the weights": ["--optimiser.ema", "0"],
    "label smoothing 0.1": ["--loss.label_smoothing", "0.1"],
    "one layer a level": ["--model.h_layers", "1", "--model.l_layers", "1"],
    "three layers a level": ["--model.h_layers", "3", "--model.l_layers", "3"],
    "width 64": ["--model.width", "64"],
    "width 192": ["--model.width", "192"],
    "8 variants a task": ["--data.augment", "8"],
    "1,000 variants a task": ["--data.augment", "1000"],
    "a tied head": ["--model.tied", "true"],
    "a convolution in each feed-forward": ["--model.convolution", "3"],
    "sinusoids instead of rows and columns": ["--model.positions", "sinusoids"],
    "squares instead of exact canvases": ["--data.canvas", "squares"],
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--steps", type=int, default=1000, help="updates of the weights")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", nargs="+", default=list(SETTINGS), metavar="NAME", help="some of the settings")


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for name in options.only:
        results = [_run(SETTINGS[name], seed, options.steps) for seed in options.seeds]
        solved = ", ".join(str(result["solved_pass2"]) for result in results)
        yield {"setting": name, "solved, two attempts": f"{solved} of {results[0]['test_outputs']}"}


def _run(flags: list[str], seed: int, steps: int) -> dict[str, Any]:
    """Train and score one setting under one seed."""
    segments = int(flags[flags.index("--model.segments") + 1]) if "--model.segments" in flags else 1
    length = ["--training.steps", str(steps // segments), "--seed", str(seed)]
    with tempfile.TemporaryDirectory() as folder:
        trained = hrm("train", "quickstart", *COMMON, *flags, *length, "--out", folder)
        return hrm("eval", trained["folder"])
