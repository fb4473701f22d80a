"""The flags of a model's device or runtime, and opening it by them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from hrm_arc.deploy.opening import Opened, is_exported, open_exported, open_run
from hrm_arc.errors import UserError

if TYPE_CHECKING:
    from hrm_arc.puzzles.readings import Reading


def add_runtime(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the device and of ONNX Runtime."""
    parser.add_argument("--device", default="auto", help="torch device for a run or checkpoint (default: auto)")
    parser.add_argument(
        "--precision",
        choices=["auto", "32-true", "bf16-mixed"],
        default="auto",
        help="of a run or checkpoint; auto: bf16-mixed where the device multiplies bfloat16 in hardware",
    )
    group = parser.add_argument_group("for an exported file")
    group.add_argument("--provider", choices=["cpu", "cuda", "tensorrt"], default="cpu", help="default: cpu")
    group.add_argument("--threads", type=int, default=0, metavar="N", help="processor threads (default: all)")
    group.add_argument(
        "--memory", type=int, default=96, metavar="MB", help="memory for attention; limits the batch size (default 96)"
    )


def open_model(
    path: Path, options: argparse.Namespace, early_exit: bool | None = None, reading: Reading = "likely"
) -> Opened:
    """Open a model.

    Args:
        path: a run, a checkpoint, an exported file, or the name of weights that ship.
        options: those of :func:`add_runtime`.
        early_exit: whether a sample stops when its halting logit says so. None: it stops, unless the model was
            imported, because published systems run every segment in evaluation.
        reading: how tokens are read as a grid.

    Raises:
        UserError: there is none, it is damaged, or its device or provider is not available here.
    """
    check_runtime(path, options)
    if is_exported(path):
        return open_exported(path, options.provider, options.threads, options.memory, early_exit, reading)
    return open_run(path, options.device, early_exit, options.precision, reading)


def check_runtime(path: Path | None, options: argparse.Namespace) -> None:
    """Check that no flag is for another kind of model.

    Args:
        path: of the model; None for one that is still to be trained.
        options: those of :func:`add_runtime`.

    Raises:
        UserError: naming the first flag that is.
    """
    if path is None or not is_exported(path):
        for flag, value, usual in (
            ("--provider", options.provider, "cpu"),
            ("--threads", options.threads, 0),
            ("--memory", options.memory, 96),
        ):
            if value != usual:
                raise UserError(flag, f"{value}, but it is for an exported file; a run or checkpoint has --device")
        return
    if options.device not in ("auto", "cpu") or options.precision != "auto":
        flag = "--precision" if options.precision != "auto" else "--device"
        raise UserError(flag, "is for a run or checkpoint; an exported file has --provider, and its own precision")
    if options.threads < 0 or options.memory < 1:
        raise UserError("--threads, --memory", "expected at least 0 threads and at least 1 MB")
