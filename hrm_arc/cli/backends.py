"""Opening a model, whatever it is: a run or checkpoint in torch, or an exported file in ONNX Runtime."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hrm_arc.cli.show import note
from hrm_arc.errors import UserError

if TYPE_CHECKING:
    from hrm_arc.evaluation.predict import Backend
    from hrm_arc.runs.checkpoint import Card
    from hrm_arc.runs.folder import RunFolder


class Opened(NamedTuple):
    """A model that can be asked.

    Attributes:
        backend: what runs it.
        card: what it says of itself.
        checksum: stands for it and all its weights.
        checkpoint: the checksum of the checkpoint that it is or was made from.
        recipe: that it was trained with, as far as known.
        run: the run that it lies in, if it does.
    """

    backend: Backend
    card: Card
    checksum: str
    checkpoint: str
    recipe: dict[str, Any] | None
    run: RunFolder | None


def add_runtime(parser: argparse.ArgumentParser) -> None:
    """Flags that say what a model runs on."""
    parser.add_argument("--device", default="auto", help="a torch device, or auto; of a run or checkpoint")
    group = parser.add_argument_group("of an exported file")
    group.add_argument("--provider", choices=["cpu", "cuda", "tensorrt"], default="cpu", help="default: cpu")
    group.add_argument("--threads", type=int, default=0, metavar="N", help="of the processor (default: all)")
    group.add_argument(
        "--memory", type=int, default=96, metavar="MB", help="for attention; sets how many go at once (default 96)"
    )


def is_exported(path: Path) -> bool:
    return path.suffix == ".onnx"


def open_model(path: Path, options: argparse.Namespace, halting: bool = True) -> Opened:
    """A model and what is known of it.

    Raises:
        UserError: there is none, it is damaged, or what it runs on is not to be had here.
    """
    if not is_exported(path):
        return open_run(path, options.device, halting)
    from hrm_arc.deploy.runtime import OnnxBackend

    if options.threads < 0 or options.memory < 1:
        raise UserError("--threads, --memory", "expected a number of threads, and of MB above 0")
    backend = OnnxBackend(path, options.provider, options.threads, options.memory, halting)
    exported = backend.exported
    return Opened(backend, exported.card, backend.checksum, exported.checkpoint, exported.recipe, None)


def open_run(path: Path, device: str = "auto", halting: bool = True) -> Opened:
    """A run's newest checkpoint, or a checkpoint folder, in torch.

    Raises:
        UserError: there is none, or it is damaged.
    """
    from hrm_arc.evaluation.torch_backend import load_model
    from hrm_arc.runs.checkpoint import checksum, newest_checkpoint
    from hrm_arc.runs.folder import RunFolder

    checkpoint = newest_checkpoint(path, note)
    backend, card = load_model(checkpoint, device)
    backend.halting = halting
    run = RunFolder(checkpoint.parent.parent)
    mark = checksum(checkpoint)
    if not run.config_file.is_file():
        return Opened(backend, card, mark, mark, None, None)
    return Opened(backend, card, mark, mark, run.config(), run)
