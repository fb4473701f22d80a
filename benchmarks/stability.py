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

# Small, since a CPU without hardware for bfloat16 takes long over it.
SMALL = ["--data.smallest", "4", "--model.width", "32", "--validation.every", "0", "--training.batch", "4"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--steps", type=int, default=2000, help="updates of the weights (default 2000)")


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for model in MODELS:
        for precision in ("32-true", "bf16-mixed"):
            flags = ["--training.minutes", "0", "--training.steps", str(options.steps)]
            with tempfile.TemporaryDirectory() as folder:
                try:
                    flags += ["--training.precision", precision, "--out", folder]
                    trained = hrm("train", f"race/{model}", *SMALL, *flags)
                    steps, end = trained["steps"], trained["state"]
                except UserError:
                    steps, end = "-", "stopped: see above"
            yield {"model": model, "precision": precision, "steps": steps, "end": end}
