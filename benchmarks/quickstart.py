"""The quickstart with several seeds: solved test outputs beside a copy of the input."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from typing import Any

from benchmarks._processes import hrm
from benchmarks._runs import positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds to run (default 0 1 2)")
    parser.add_argument("--minutes", type=positive, help="limit of the training time (default: the recipe's)")


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    limit = [] if options.minutes is None else ["--minutes", str(options.minutes)]
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as folder:
            result = hrm("quickstart", "--seed", str(seed), "--out", folder, *limit)
        outputs = result["test_outputs"]
        yield {
            "seed": seed,
            "solved, two attempts": f"{result['solved_pass2']} of {outputs}",
            "in one": f"{result['solved_pass1']} of {outputs}",
            "one pass, no votes": f"{round(result['exact_accuracy'] * outputs)} of {outputs}",
            "copy of the input": f"{round(result['baselines']['copy_input']['exact_accuracy'] * outputs)} of {outputs}",
            "training, s": f"{result['training_seconds']:.0f}",
            "in all, s": f"{result['seconds']:.0f}",
        }
