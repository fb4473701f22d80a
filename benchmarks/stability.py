"""Every model of the race for 2,000 optimizer updates in single precision and bfloat16: do NaN or infinity occur?

The trainer stops at the first loss or gradient that is not finite, so a run that finished had none.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from typing import Any

from benchmarks._processes import hrm
from benchmarks.race import MODELS
from hrm_arc.errors import UserError
from hrm_arc.training.recipes import load_recipe

# Small, because bfloat16 is slow on a CPU without hardware for it. Without early exit every step has all segments.
SMALL = [
    *("--data.smallest", "4", "--model.hidden_size", "32", "--training.batch_size", "4"),
    *("--validation.every", "0", "--halting.early_exit", "false"),
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--steps", type=int, default=2000, help="number of optimizer updates (default 2000)")


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for model in MODELS:
        # Each segment is one update.
        segments = load_recipe(f"race/{model}").model.get("segments", 1)
        steps = -(-options.steps // segments)
        for precision in ("32-true", "bf16-mixed"):
            flags = ["--training.max_minutes", "0", "--training.max_steps", str(steps)]
            flags += ["--training.precision", precision]
            with tempfile.TemporaryDirectory() as folder:
                try:
                    trained = hrm("train", f"race/{model}", *SMALL, *flags, "--out", folder)
                    updates, end = f"{trained['steps'] * segments:,}", trained["state"]
                except UserError:
                    updates, end = "-", "failed: see above"
            yield {"model": model, "precision": precision, "updates": updates, "end": end}
