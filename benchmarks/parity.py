"""The same answers in ONNX Runtime as in torch? Every model, in single precision and in eight bits.

Each learns two real tasks for a few minutes, so that there is something to lose; is exported, and
answers their test inputs under their symmetries beside torch. Both tasks turn a grid of 3 x 3 half
round, which is the same rule under every symmetry: one that even a model that is not told its
task can learn, and post-norm layers in minutes.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks._processes import hrm
from benchmarks._runs import add_keep, runs_folder, scored_run
from benchmarks.race import MODELS

TASKS = ["--data.solve", "[3c9b0459,6150a2bd]", "--data.smallest", "0", "--data.augment", "1000"]
# Half of the race's width, so that minutes are enough.
SMALL = [
    *("--model.hidden_size", "64", "--model.num_heads", "2", "--training.batch_size", "16"),
    *("--optimizer.lr", "2e-3", "--validation.every", "0"),
]

# Fewer cycles than usual, where those learn nothing in minutes; nor does a loss that counts padding teach tasks.
OWN = {
    "dual-loop": ["--model.h_cycles", "2", "--loss.ignore_padding", "true"],
    "trm": ["--model.h_cycles", "2", "--model.l_cycles", "2"],
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=5.0, help="of training for each model (default 5)")
    parser.add_argument("--samples", type=int, default=2000, help="to compare on (default 2000)")
    parser.add_argument("--only", nargs="+", choices=MODELS, default=list(MODELS), help="some of the models")
    add_keep(parser)


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    with runs_folder(options.keep) as root, tempfile.TemporaryDirectory() as folder:
        for model in options.only:
            flags = [*TASKS, *SMALL, *OWN.get(model, []), "--seed", "0", "--training.max_minutes", str(options.minutes)]
            run = scored_run(root, model, f"race/{model}", flags).folder
            whole = 0
            for precision in ([], ["--int8"]):
                out = Path(folder) / "model.onnx"
                done = hrm("export", str(run), "--out", str(out), "--samples", str(options.samples), *precision)
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
