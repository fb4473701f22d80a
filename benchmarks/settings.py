"""Settings of the quickstart's model in batches of 32, compared on tasks that nothing else is scored on.

The tasks are the smallest of ARC-AGI-2's training set that ARC-AGI-1 does not have, so
that a choice made here is not made by the quickstart's own answers. Every setting moves the
weights equally often, or under --minutes learns equally long.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks._runs import Scored, add_keep, runs_folder, scored_run

COMMON = [
    *("--data.solve", "[arc-agi-2/training]", "--data.without", "[arc-agi-1]"),
    *("--training.batch", "32"),
]
SETTINGS: dict[str, list[str]] = {
    "batch 32": [],
    "AdamW 1e-3 instead of Muon": ["--optimiser.name", "adamw"],
    "AdamW 2e-3 instead of Muon": ["--optimiser.name", "adamw", "--optimiser.learning_rate", "2e-3"],
    "Muon's rate 5e-3": ["--optimiser.matrix_learning_rate", "5e-3"],
    "Muon's rate 2e-2": ["--optimiser.matrix_learning_rate", "2e-2"],
    "batch 16": ["--training.batch", "16"],
    "batch 24": ["--training.batch", "24"],
    "batch 24, Muon's rate 2e-2": ["--training.batch", "24", "--optimiser.matrix_learning_rate", "2e-2"],
    "batch 64": ["--training.batch", "64"],
    "two segments of thought": ["--model.segments", "2"],
    "two cycles a segment": ["--model.cycles", "2"],
    "two cycles, gradient through the last": ["--model.cycles", "2", "--model.gradient", "last"],
    "both levels share their layers": ["--model.shared", "true"],
    "four register tokens": ["--model.registers", "4"],
    "weight decay 0.01": ["--optimiser.weight_decay", "0.01"],
    "weight decay 0.5": ["--optimiser.weight_decay", "0.5"],
    "no average of the weights": ["--optimiser.ema", "0"],
    "label smoothing 0.1": ["--loss.label_smoothing", "0.1"],
    "one layer a level": ["--model.h_layers", "1", "--model.l_layers", "1"],
    "three layers a level": ["--model.h_layers", "3", "--model.l_layers", "3"],
    "width 64": ["--model.width", "64"],
    "width 192": ["--model.width", "192"],
    "8 variants a task": ["--data.augment", "8"],
    "100 variants a task": ["--data.augment", "100"],
    "a tied head": ["--model.tied", "true"],
    "a convolution in each feed-forward": ["--model.convolution", "3"],
    "a tied head and convolutions": ["--model.tied", "true", "--model.convolution", "3"],
    "sinusoids instead of rows and columns": ["--model.positions", "sinusoids"],
    "squares instead of exact canvases": ["--data.canvas", "squares"],
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--steps", type=int, default=1000, help="updates of the weights")
    parser.add_argument("--minutes", type=float, help="of training for each, instead of updates")
    parser.add_argument("--tasks", type=int, default=12, help="how many, smallest first (default 12)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument(
        "--only", nargs="+", choices=SETTINGS, default=list(SETTINGS), metavar="NAME", help="some of the settings"
    )
    add_keep(parser)


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for name in options.only:
        few = ["--data.smallest", str(options.tasks)]
        flags = [*COMMON, *few, *SETTINGS[name], *_length(SETTINGS[name], options)]
        with runs_folder(options.keep) as root:
            runs = [
                scored_run(root, f"{name}, seed {seed}", "quickstart", [*flags, "--seed", str(seed)])
                for seed in options.seeds
            ]
            passes = [_right_passes(run) for run in runs]
        outputs = runs[0].scores["test_outputs"]
        yield {
            "setting": name,
            "updates": ", ".join(f"{run.trained['steps']:,}" for run in runs),
            "solved, two attempts": ", ".join(str(run.scores["solved_pass2"]) for run in runs) + f" of {outputs}",
            "right in one pass": f"{np.mean([run.scores['exact_accuracy'] for run in runs]):.1%}",
            "over all passes": f"{np.mean(passes):.1%}",
        }


def _right_passes(run: Scored) -> float:
    """The share of all variants' answers that are right: finer than a few outputs are."""
    from hrm_arc.files import read_lines

    rows = read_lines(run.folder / "predictions.jsonl")
    right = sum(c["votes"] for row in rows for c in row["candidates"] if c["grid"] == row["truth"])
    # Passes without a readable answer are among them.
    return right / (run.scores["votes"] * len(rows))


def _length(flags: Sequence[str], options: argparse.Namespace) -> list[str]:
    """Equal minutes, or equally many updates: a segment is an update of its own."""
    if options.minutes is not None:
        return ["--training.steps", "1000000", "--training.minutes", str(options.minutes)]
    segments = int(flags[flags.index("--model.segments") + 1]) if "--model.segments" in flags else 1
    return ["--training.steps", str(options.steps // segments), "--training.minutes", "0"]
