"""Export a run's model as one ONNX file that answers without torch, checked against torch first.

  hrm export runs/RUN --out model.onnx              single precision
  hrm export runs/RUN --out model.onnx --int8       matrix products in eight bits: a quarter of the size
  hrm export runs/RUN --check model.onnx            hold an exported file against the run again

The file is put in place only once it has answered real samples beside torch: in single precision all
but one token in a thousand have to be the same. The table says how far they are apart.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hrm_arc.cli.show import add_json, counting, emit, note, table
from hrm_arc.errors import UserError

if TYPE_CHECKING:
    from hrm_arc.deploy.exported import Exported
    from hrm_arc.deploy.parity import Parity


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="RUN", type=Path, help="a run folder or a checkpoint folder")
    parser.add_argument("--to", choices=["onnx"], default="onnx", help="the format (default: onnx)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the file to write")
    parser.add_argument("--check", type=Path, metavar="FILE", help="compare this exported file instead of writing one")
    smaller = parser.add_mutually_exclusive_group()
    smaller.add_argument("--int8", action="store_true", help="matrix products with weights in eight bits")
    smaller.add_argument("--fp16", action="store_true", help="half precision, for GPUs")
    parser.add_argument("--data", metavar="SOURCE", help="tasks to compare on (default: what the run was to solve)")
    parser.add_argument("--samples", type=int, default=2000, metavar="N", help="to compare on (default 2000)")
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    if (options.out is None) == (options.check is None):
        raise UserError("hrm export", "expected --out FILE to write, or --check FILE to compare")
    if options.samples < 1:
        raise UserError("--samples", f"{options.samples}, expected at least 1")
    emit(_check(options) if options.check else _export(options), options.json, _human)


def _export(options: argparse.Namespace) -> dict[str, Any]:
    from hrm_arc.deploy.export import export
    from hrm_arc.deploy.exported import Precision

    precision: Precision = "int8" if options.int8 else "fp16" if options.fp16 else "fp32"
    with counting("answering test inputs, in torch and here") as progress:
        exported, compared = export(options.path, options.out, precision, options.data, options.samples, note, progress)
    return _result(options.out, exported, compared)


def _check(options: argparse.Namespace) -> dict[str, Any]:
    from hrm_arc.deploy.parity import parity
    from hrm_arc.deploy.runtime import OnnxBackend
    from hrm_arc.evaluation.evaluate import tasks_to_score
    from hrm_arc.evaluation.torch_backend import load_model
    from hrm_arc.runs.checkpoint import checksum, newest_checkpoint

    other = OnnxBackend(options.check)
    checkpoint = newest_checkpoint(options.path, note)
    if checksum(checkpoint) != other.exported.checkpoint:
        theirs = f"{other.card.run_id} at step {other.card.step}"
        raise UserError(options.check, f"was exported from another checkpoint than {checkpoint}: {theirs}")
    backend, card = load_model(checkpoint, "cpu")
    with counting("answering test inputs, in torch and here") as progress:
        compared = parity(backend, other, card, tasks_to_score(card, options.data), options.samples, progress)
    return _result(options.check, other.exported, compared)


def _result(path: Path, exported: Exported, compared: Parity) -> dict[str, Any]:
    return {
        "file": str(path),
        "bytes": path.stat().st_size,
        "model": exported.card.model,
        "precision": exported.precision,
        "floats": exported.floats,
        "float_layers": exported.float_layers,
        "parity": compared.as_dict(),
    }


def _human(result: dict[str, Any]) -> None:
    parity = result["parity"]
    outputs, samples, positions = parity["test_outputs"], parity["samples"], parity["positions"]
    rows = [
        ["tokens that differ", f"{parity['tokens_different']:,} of {positions:,}"],
        ["grids that differ", f"{parity['grids_different']:,} of {samples:,}"],
        ["largest difference of logits, first segment", f"{parity['largest_logit_difference']:.2g}"],
        ["exact, one pass: torch, this file", f"{parity['exact']:.2%}, {parity['other_exact']:.2%}"],
        ["exact, all samples: torch, this file", f"{parity['right']:.2%}, {parity['other_right']:.2%}"],
        ["solved, two attempts: torch, this file", f"{parity['solved']}, {parity['other_solved']} of {outputs}"],
    ]
    table("beside torch, on real test inputs under their symmetries", ["", "value"], rows)
    if result["floats"]:
        kept = ", ".join(f"{count} {kind}" for kind, count in sorted(result["floats"].items()))
        print(f"\nin eight bits but for: {kept}")
    if result["float_layers"]:
        print(f"with weights in eight bits and inputs in single precision: {', '.join(result['float_layers'])}")
    print(f"\n{result['file']}: {result['model']}, {result['precision']}, {result['bytes'] / 1e6:.1f} MB")
