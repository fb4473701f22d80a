"""Every model for 2,000 updates in single precision and bfloat16: is there a number that is none?

The trainer stops at the first loss or gradient that is not finite; a run that comes to its end
had none.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from typing import Any

from benchmarks._processes import hrm
from benchmarks.race import MODELS
from hrm_arc.errors import UserError
from hrm_arc.training.recipe_files import load_recipe

# Small, since a CPU without hardware for bfloat16 takes long over it; no sample leaves before the last segment.
SMALL = [
    *("--data.smallest", "4", "--model.width", "32", "--training.batch", "4"),
    *("--validation.every", "0", "--halting.leave", "false"),
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--steps", type=int, default=2000, help="updates of the weights (default 2000)")


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for model in MODELS:
        # Each segment of thought moves the weights.
        segments = load_recipe(f"race/{model}").model.get("segments", 1)
        steps = -(-options.steps // segments)
        for precision in ("32-true", "bf16-mixed"):
            flags = ["--training.minutes", "0", "--training.steps", str(steps), "--training.precision", precision]
            with tempfile.TemporaryDirectory() as folder:
                try:
                    trained = hrm("train", f"race/{model}", *SMALL, *flags, "--out", folder)
                    updates, end = f"{trained['steps'] * segments:,}", trained["state"]
                except UserError:
                    updates, end = "-", "stopped: see above"
            yield {"model": model, "precision": precision, "updates": updates, "end": end}
