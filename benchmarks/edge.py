"""grid-hrm in ONNX Runtime, compared with torch: milliseconds for each grid, and peak memory.

The model is about as large as the log's. Inputs are the test inputs of ARC-AGI-1's evaluation set, one pass each, on
cropped canvases and on the full one. Each measurement runs in its own process; runtimes alternate, and the table has
medians. The last rows are the log's model at full size in ``hrm validate``: the memory that a small machine needs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks._processes import hrm, run

# Two steps are enough, because the speed does not depend on the weights.
MODEL = ["--training.max_steps", "2", "--training.accelerator", "cpu", "--training.precision", "32-true"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--recipe",
        default="race/grid-hrm",
        help="the recipe of the model (default race/grid-hrm; its hidden size is replaced)",
    )
    parser.add_argument("--hidden-size", type=int, default=352, help="of the model (default 352: 5.9M parameters)")
    parser.add_argument("--grids", type=int, default=64, help="test inputs in each measurement (default 64)")
    parser.add_argument("--repeats", type=int, default=3, help="measurements of each runtime (default 3)")
    parser.add_argument("--tasks", type=int, default=8, help="tasks to validate the log's model on (default 8)")
    parser.add_argument("--only", choices=["grids", "validation"], help="make only one part of the table")


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        if options.only != "validation":
            yield from _grids(root, options)
        if options.only != "grids":
            yield from _validations(root / "log", options)


def _grids(root: Path, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """grid-hrm in each runtime, on both kinds of canvas, on one and two cores."""
    shape = ["--model.hidden_size", str(options.hidden_size), "--model.num_heads", "8", "--validation.every", "0"]
    trained = hrm("train", options.recipe, *MODEL, *shape, "--out", str(root / "run"))
    models = {"torch": Path(trained["folder"])}
    for name, flags in (("ONNX fp32", []), ("ONNX int8", ["--int8"])):
        models[name] = root / f"{name[5:]}.onnx"
        hrm("export", trained["folder"], "--out", str(models[name]), "--samples", "50", *flags)
    for canvas in ("cropped", "full"):
        for threads in (1, 2):
            yield from _compare(models, canvas, threads, options)


def _validations(root: Path, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The log's model at full size on a few tasks; one training step, because memory does not depend on the weights."""
    few = ["--data.solve", "[arc-agi-1/training]", "--data.study", "[]", "--data.smallest", str(options.tasks)]
    short = [
        "--training.batch_size",
        "1",
        "--training.grad_accum_steps",
        "1",
        "--training.max_steps",
        "1",
        "--data.augment",
        "0",
    ]
    cpu = ["--training.accelerator", "cpu", "--training.precision", "32-true", "--validation.every", "0"]
    trained = hrm("train", "log/session-5", *few, *short, *cpu, "--out", str(root))
    for name, flags in (("ONNX fp32", []), ("ONNX int8", ["--int8"])):
        file = root / f"{name[5:]}.onnx"
        hrm("export", trained["folder"], "--out", str(file), "--samples", "1", *flags)
        done = hrm("validate", str(file), "--out", str(file.with_suffix(".json")))
        yield {
            "model": "dual-loop",
            "canvas": "full",
            "cores": "all",
            "runtime": f"{name}, hrm validate",
            "ms a grid": f"{1000 / done['samples_per_second']:.0f}",
            "times torch's speed": "-",
            "peak memory": f"{done['peak_memory_bytes'] / 1e6:.0f} MB",
            "file": f"{file.stat().st_size / 1e6:.1f} MB",
        }


def _compare(
    models: dict[str, Path], canvas: str, threads: int, options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    seen: dict[str, list[dict[str, float]]] = {name: [] for name in models}
    for _ in range(options.repeats):
        for name, path in models.items():
            flags = ["--threads", str(threads), "--canvas", canvas, "--grids", str(options.grids)]
            seen[name].append(json.loads(run([sys.executable, "-m", "benchmarks._edge", str(path), *flags]).output))
    seconds = {name: statistics.median(each["seconds"] for each in rows) for name, rows in seen.items()}
    for name, rows in seen.items():
        file = models[name]
        yield {
            "model": "grid-hrm",
            "canvas": canvas,
            "cores": threads,
            "runtime": name,
            "ms a grid": f"{1000 * seconds[name]:.1f}",
            "times torch's speed": f"{seconds['torch'] / seconds[name]:.2f}",
            "peak memory": f"{max(each['bytes'] for each in rows) / 1e6:.0f} MB",
            "file": f"{file.stat().st_size / 1e6:.1f} MB" if file.is_file() else "-",
        }
