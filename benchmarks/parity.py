"""Compare ONNX Runtime with torch for every model, in single precision and in eight bits.

Each model learns two real tasks for a few minutes, so that it has correct answers to lose, and is exported. Both
runtimes then answer variants of the test inputs. Both tasks rotate a 3 x 3 grid by 180 degrees, a rule that is the
same under every symmetry. So models without conditioning can learn it, and so can post-norm models within minutes.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks._processes import hrm
from benchmarks._runs import add_keep, positive, runs_folder, scored_run
from benchmarks.race import MODELS

TASKS = ["--data.solve", "[3c9b0459,6150a2bd]", "--data.smallest", "0", "--data.augment", "1000"]
# Half of the race's hidden size, so that minutes are enough.
SMALL = [
    *("--model.hidden_size", "64", "--model.num_heads", "2", "--training.batch_size", "16"),
    *("--optimizer.lr", "2e-3", "--validation.every", "0"),
]
# With the usual number of cycles these learn nothing within minutes; nor do they with a loss that counts padding.
OWN = {
    "dual-loop": ["--model.h_cycles", "2", "--loss.ignore_padding", "true"],
    "trm": ["--model.h_cycles", "2", "--model.l_cycles", "2"],
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=positive, default=5.0, help="training time of each model (default 5)")
    parser.add_argument("--samples", type=int, default=2000, help="the number of samples to compare on (default 2000)")
    parser.add_argument("--only", nargs="+", choices=MODELS, default=list(MODELS), help="the models (default: all)")
    add_keep(parser)


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    with runs_folder(options.keep) as root, tempfile.TemporaryDirectory() as folder:
        for model in options.only:
            flags = [*TASKS, *SMALL, *OWN.get(model, []), "--seed", "0", "--training.max_minutes", str(options.minutes)]
            run = scored_run(root, model, f"race/{model}", flags).folder
            fp32_bytes = 0
            for precision in ([], ["--int8"]):
                out = Path(folder) / "model.onnx"
                done = hrm("export", str(run), "--out", str(out), "--samples", str(options.samples), *precision)
                fp32_bytes = fp32_bytes or done["bytes"]
                yield _row(done, fp32_bytes)


def _row(done: Mapping[str, Any], fp32_bytes: int) -> dict[str, Any]:
    parity = done["parity"]
    accuracy = f"{parity['sample_accuracy']:.2%}, {parity['other_sample_accuracy']:.2%}"
    return {
        "model": done["model"],
        "precision": done["precision"],
        "file": f"{done['bytes'] / 1e6:.1f} MB, {done['bytes'] / fp32_bytes:.0%}",
        "samples": f"{parity['samples']:,}",
        "tokens the same": f"{1 - parity['tokens_different'] / parity['positions']:.4%}",
        "grids the same": f"{1 - parity['grids_different'] / parity['samples']:.2%}",
        "largest logit difference": f"{parity['largest_logit_difference']:.1g}",
        "samples exactly right, torch and ONNX": accuracy,
        "solved, two attempts": f"{parity['solved']}, {parity['other_solved']} of {parity['test_outputs']}",
    }
