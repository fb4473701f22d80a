"""The same answers in ONNX Runtime as in torch? Every model, in single precision and in eight bits.

Each learns the race's tasks for a few minutes, or the smallest of them, so that there is something to
lose; is exported, and answers real test inputs under their symmetries beside torch. With the race's
minutes and --keep, the race's runs serve.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks._processes import hrm
from benchmarks._runs import add_keep, runs_folder
from benchmarks.race import MODELS, race_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=2.0, help="of training for each model (default 2)")
    parser.add_argument("--tasks", type=int, default=40, help="of the race, smallest first (default 40: all)")
    parser.add_argument("--samples", type=int, default=2000, help="to compare on (default 2000)")
    parser.add_argument("--only", nargs="+", choices=MODELS, default=list(MODELS), help="some of the models")
    add_keep(parser)


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    with runs_folder(options.keep) as root, tempfile.TemporaryDirectory() as folder:
        for model in options.only:
            run = race_run(root, model, options.minutes, seed=0, tasks=options.tasks).folder
            whole = 0
            for flags in ([], ["--int8"]):
                out = Path(folder) / "model.onnx"
                done = hrm("export", str(run), "--out", str(out), "--samples", str(options.samples), *flags)
                whole = whole or done["bytes"]
                yield _row(done, whole)


def _row(done: Mapping[str, Any], whole: int) -> dict[str, Any]:
    parity = done["parity"]
    return {
        "model": done["model"],
        "precision": done["precision"],
        "file": f"{done['bytes'] / 1e6:.1f} MB, {done['bytes'] / whole:.0%}",
        "samples": f"{parity['samples']:,}",
        "tokens the same": f"{1 - parity['tokens_different'] / parity['positions']:.4%}",
        "grids the same": f"{1 - parity['grids_different'] / parity['samples']:.2%}",
        "largest logit difference": f"{parity['largest_logit_difference']:.1g}",
        "samples exactly right, torch and here": f"{parity['right']:.2%}, {parity['other_right']:.2%}",
        "solved, two attempts": f"{parity['solved']}, {parity['other_solved']} of {parity['test_outputs']}",
    }
