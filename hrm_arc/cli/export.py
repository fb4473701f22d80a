"""Export a run's model as one ONNX file that runs without torch, and compare it with torch.

  hrm export runs/RUN --out model.onnx              single precision
  hrm export runs/RUN --out model.onnx --int8       eight bits: a quarter of the size
  hrm export runs/RUN --check model.onnx            compare an exported file with the run again

The file is put in place after its answers to real samples were compared with those of torch: in single precision
at most one token in a thousand may differ. The table shows the differences.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hrm_arc.cli.show import add_json, counting, emit, table
from hrm_arc.deploy.opening import is_exported
from hrm_arc.errors import UserError

if TYPE_CHECKING:
    from hrm_arc.deploy.exported import Exported
    from hrm_arc.deploy.parity import Parity

MOST_SAMPLES = 1_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="RUN", type=Path, help="run, checkpoint, or a name that hrm weights lists")
    parser.add_argument("--to", choices=["onnx"], default="onnx", help="the format (default: onnx)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the file to write")
    parser.add_argument("--check", type=Path, metavar="FILE", help="compare this exported file; nothing is written")
    smaller = parser.add_mutually_exclusive_group()
    smaller.add_argument("--int8", action="store_true", help="quantize weights and matrix products to eight bits")
    smaller.add_argument("--fp16", action="store_true", help="half precision, for GPUs")
    parser.add_argument(
        "--data",
        metavar="SOURCE",
        help="the tasks to compare on (default: the solve tasks of the run; of an import ten tasks, which are named)",
    )
    parser.add_argument(
        "--samples", type=int, default=2000, metavar="N", help="the number of samples to compare on (default 2000)"
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    if (options.out is None) == (options.check is None):
        raise UserError("hrm export", "expected --out FILE to write, or --check FILE to compare")
    if options.out is not None and not is_exported(options.out):
        raise UserError("--out", f"{options.out} does not end in .onnx, and no command would take it for a model")
    if options.check is not None and (options.int8 or options.fp16):
        raise UserError("--int8, --fp16", "are for a file to write; --check compares a file as it is")
    if not 1 <= options.samples <= MOST_SAMPLES:
        raise UserError("--samples", f"{options.samples}, expected 1 to {MOST_SAMPLES:,}")
    emit(_check(options) if options.check else _export(options), options.json, _human)


def _export(options: argparse.Namespace) -> dict[str, Any]:
    from hrm_arc.deploy.export import export
    from hrm_arc.deploy.exported import Precision
    from hrm_arc.evaluation.provenance import tasks_to_compare
    from hrm_arc.runs.checkpoint import newest_checkpoint, run_of

    precision: Precision = "int8" if options.int8 else "fp16" if options.fp16 else "fp32"
    with counting("comparing answers with torch") as progress:
        exported, compared = export(options.path, options.out, precision, options.data, options.samples, progress)
    checkpoint = newest_checkpoint(options.path)
    chosen = tasks_to_compare(exported.card, options.data, run_of(checkpoint))[1]
    return _result(options.out, exported, compared, chosen)


def _check(options: argparse.Namespace) -> dict[str, Any]:
    from hrm_arc.deploy.parity import parity
    from hrm_arc.deploy.runtime import OnnxBackend
    from hrm_arc.evaluation.provenance import tasks_to_compare
    from hrm_arc.evaluation.torch_backend import load_model
    from hrm_arc.runs.checkpoint import checksum, newest_checkpoint, run_of

    other = OnnxBackend(options.check)
    checkpoint = newest_checkpoint(options.path)
    if checksum(checkpoint) != other.exported.checkpoint:
        theirs = f"{other.card.run_id}, step {other.card.step}"
        raise UserError(options.check, f"was exported from another checkpoint ({theirs}) than {checkpoint}")
    backend, card = load_model(checkpoint, "cpu", "32-true")
    tasks, chosen = tasks_to_compare(card, options.data, run_of(checkpoint))
    with counting("comparing answers with torch") as progress:
        compared = parity(backend, other, card, tasks, options.samples, progress)
    return _result(options.check, other.exported, compared, chosen)


def _result(path: Path, exported: Exported, compared: Parity, data: str) -> dict[str, Any]:
    return {
        "file": str(path),
        "bytes": path.stat().st_size,
        "model": exported.card.model,
        "precision": exported.precision,
        "float_ops": exported.float_ops,
        "float_layers": exported.float_layers,
        "data": data,
        "parity": compared.as_dict(),
    }


def _human(result: dict[str, Any]) -> None:
    parity = result["parity"]
    outputs, samples, positions = parity["test_outputs"], parity["samples"], parity["positions"]

    def both(name: str, form: str) -> str:
        """The values of torch and of the file."""
        return f"{parity[name]:{form}}, {parity[f'other_{name}']:{form}}" if outputs else "not known"

    rows = [
        ["tokens that differ", f"{parity['tokens_different']:,} of {positions:,}"],
        ["grids that differ", f"{parity['grids_different']:,} of {samples:,}"],
        ["largest difference of logits, first segment", f"{parity['largest_logit_difference']:.2g}"],
        ["exact match, one pass: torch, this file", both("exact_accuracy", ".2%")],
        ["exact match, all samples: torch, this file", both("sample_accuracy", ".2%")],
        [f"solved of {outputs}, two attempts: torch, this file", both("solved", "d")],
    ]
    table("compared with torch, on variants of real test inputs", ["", "value"], rows)
    print(f"\ncompared on {result['data']}")
    if result["float_ops"]:
        kept = ", ".join(f"{count} {kind}" for kind, count in sorted(result["float_ops"].items()))
        print(f"operations in floating point: {kept}")
    if result["float_layers"]:
        print(f"layers with weights in eight bits, computed in floating point: {', '.join(result['float_layers'])}")
    print(f"\n{result['file']}: {result['model']}, {result['precision']}, {result['bytes'] / 1e6:.1f} MB")
