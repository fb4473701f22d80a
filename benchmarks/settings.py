"""Settings of the quickstart's recipe with batches of 32, compared on tasks that neither it nor the race scores.

The tasks are the smallest of ARC-AGI-2's training set that are not in ARC-AGI-1, so that settings
are not chosen by the quickstart's own test outputs. Every setting gets equally many optimizer
updates, or with --minutes the same training time.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks._paired import right_votes
from benchmarks._runs import add_keep, positive, runs_folder, scored_run, updates

COMMON = [
    *("--data.solve", "[arc-agi-2/training]", "--data.exclude", "[arc-agi-1]"),
    *("--training.batch_size", "32"),
]
SETTINGS: dict[str, list[str]] = {
    "batch 32": [],
    "AdamW 1e-3 instead of Muon": ["--optimizer.name", "adamw"],
    "AdamW 2e-3 instead of Muon": ["--optimizer.name", "adamw", "--optimizer.lr", "2e-3"],
    "Muon's lr 5e-3": ["--optimizer.matrix_lr", "5e-3"],
    "Muon's lr 2e-2": ["--optimizer.matrix_lr", "2e-2"],
    "batch 16": ["--training.batch_size", "16"],
    "batch 24": ["--training.batch_size", "24"],
    "batch 24, Muon's lr 2e-2": ["--training.batch_size", "24", "--optimizer.matrix_lr", "2e-2"],
    "batch 64": ["--training.batch_size", "64"],
    "two segments": ["--model.segments", "2"],
    "two cycles": ["--model.h_cycles", "2"],
    "two cycles, gradient through the last": ["--model.h_cycles", "2", "--model.grad_cycles", "last"],
    "both levels share their layers": ["--model.share_levels", "true"],
    "four register tokens": ["--model.registers", "4"],
    "weight decay 0.01": ["--optimizer.weight_decay", "0.01"],
    "weight decay 0.5": ["--optimizer.weight_decay", "0.5"],
    "no EMA": ["--optimizer.ema", "0"],
    "label smoothing 0.1": ["--loss.label_smoothing", "0.1"],
    "one layer a level": ["--model.h_layers", "1", "--model.l_layers", "1"],
    "three layers a level": ["--model.h_layers", "3", "--model.l_layers", "3"],
    "hidden size 64": ["--model.hidden_size", "64"],
    "hidden size 192": ["--model.hidden_size", "192"],
    "8 variants a task": ["--data.augment", "8"],
    "100 variants a task": ["--data.augment", "100"],
    "tied embeddings": ["--model.tie_embeddings", "true"],
    "a convolution in each feed-forward": ["--model.convolution", "3"],
    "tied embeddings and convolutions": ["--model.tie_embeddings", "true", "--model.convolution", "3"],
    "learned positions": ["--model.learned_positions", "true"],
    "sinusoidal instead of rotary positions": ["--model.positions", "sinusoids"],
    "square instead of cropped canvases": ["--data.canvas", "squares"],
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--steps", type=int, default=1000, help="number of optimizer updates (default 1000)")
    parser.add_argument("--minutes", type=positive, help="minutes of training for each setting, in place of --steps")
    parser.add_argument("--tasks", type=int, default=12, help="number of tasks, smallest first (default 12)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="seeds to run (default 0)")
    parser.add_argument(
        "--only", nargs="+", choices=SETTINGS, default=list(SETTINGS), metavar="NAME", help="run only these settings"
    )
    add_keep(parser)


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for name in options.only:
        tasks = ["--data.smallest", str(options.tasks)]
        flags = [*COMMON, *tasks, *SETTINGS[name], *_length(SETTINGS[name], options)]
        with runs_folder(options.keep) as root:
            runs = [
                scored_run(root, f"{name}, seed {seed}", "quickstart", [*flags, "--seed", str(seed)])
                for seed in options.seeds
            ]
            passes = [right_votes(run) for run in runs]
        outputs = runs[0].scores["test_outputs"]
        yield {
            "setting": name,
            "updates": ", ".join(f"{run.trained['steps'] * updates('quickstart', flags):,}" for run in runs),
            "solved, two attempts": ", ".join(str(run.scores["solved_pass2"]) for run in runs) + f" of {outputs}",
            "right in one pass": f"{np.mean([run.scores['exact_accuracy'] for run in runs]):.1%}",
            "over all passes": f"{np.mean(passes):.1%}",
        }


def _length(flags: Sequence[str], options: argparse.Namespace) -> list[str]:
    """Flags for the same minutes, or for equally many updates, of which each segment is one."""
    if options.minutes is not None:
        return ["--training.max_steps", "1000000", "--training.max_minutes", str(options.minutes)]
    return ["--training.max_steps", str(options.steps // updates("quickstart", flags)), "--training.max_minutes", "0"]
