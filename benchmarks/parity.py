"""The same answers in ONNX Runtime as in torch? Every model, in single precision and in eight bits.

Each learns the race's tasks for a few minutes, is exported, and answers real test inputs under
their symmetries beside torch.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from typing import Any

from benchmarks._processes import hrm
from benchmarks.race import MODELS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=2.0, help="of training for each model (default 2)")
    parser.add_argument("--samples", type=int, default=2000, help="to compare on (default 2000)")
    parser.add_argument("--only", nargs="+", choices=MODELS, default=list(MODELS), help="some of the models")


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for model in options.only:
        with tempfile.TemporaryDirectory() as folder:
            length = ["--training.minutes", str(options.minutes), "--validation.every", "0", "--out", folder]
            trained = hrm("train", f"race/{model}", *length)
            whole = 0
            for flags in ([], ["--int8"]):
                out = f"{folder}/model.onnx"
                done = hrm("export", trained["folder"], "--out", out, "--samples", str(options.samples), *flags)
                whole = whole or done["bytes"]
                yield _row(done, whole)


def _row(done: dict[str, Any], whole: int) -> dict[str, Any]:
    parity = done["parity"]
    return {
        "model": done["model"],
        "precision": done["precision"],
        "file": f"{done['bytes'] / 1e6:.1f} MB, {done['bytes'] / whole:.0%}",
        "samples": f"{parity['samples']:,}",
        "tokens the same": f"{1 - parity['tokens_different'] / parity['positions']:.4%}",
        "grids the same": f"{1 - parity['grids_different'] / parity['samples']:.2%}",
        "largest logit difference": f"{parity['largest_logit_difference']:.1g}",
        "exact in one pass, torch and here": f"{parity['exact']:.1%}, {parity['other_exact']:.1%}",
    }
