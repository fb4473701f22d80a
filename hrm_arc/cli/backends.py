"""Opening a model of any kind: a run or checkpoint in torch, or an exported file in ONNX Runtime."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hrm_arc.errors import UserError

if TYPE_CHECKING:
    from hrm_arc.evaluation.predict import Backend
    from hrm_arc.puzzles.readings import Reading
    from hrm_arc.runs.card import Card
    from hrm_arc.runs.folder import RunFolder


class Opened(NamedTuple):
    """A model that is ready for inference.

    Attributes:
        backend: runs the model.
        card: describes it.
        checksum: identifies the model with all its weights.
        checkpoint: the checksum of the checkpoint that it is, or was exported from.
        recipe: the recipe that it was trained with, as far as known.
        run: the run that it belongs to, if there is one.
        precision: in which it computes.
        early_exit: whether a sample stops when its halting logit says so.
        runs_on: the kind of device, or the provider and the memory of ONNX Runtime.
    """

    backend: Backend
    card: Card
    checksum: str
    checkpoint: str
    recipe: dict[str, Any] | None
    run: RunFolder | None
    precision: str
    early_exit: bool
    runs_on: str


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


def is_exported(path: Path) -> bool:
    """Whether the path names an exported file."""
    return path.suffix == ".onnx"


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
    if not is_exported(path):
        for flag, value, usual in (
            ("--provider", options.provider, "cpu"),
            ("--threads", options.threads, 0),
            ("--memory", options.memory, 96),
        ):
            if value != usual:
                raise UserError(flag, f"{value}, but it is for an exported file; a run or checkpoint has --device")
        return open_run(path, options.device, early_exit, options.precision, reading)
    if options.device not in ("auto", "cpu") or options.precision != "auto":
        flag = "--precision" if options.precision != "auto" else "--device"
        raise UserError(flag, "is for a run or checkpoint; an exported file has --provider, and its own precision")
    from hrm_arc.deploy.runtime import OnnxBackend

    if options.threads < 0 or options.memory < 1:
        raise UserError("--threads, --memory", "expected at least 0 threads and at least 1 MB")
    backend = OnnxBackend(path, options.provider, options.threads, options.memory, early_exit, reading)
    exported = backend.exported
    return Opened(
        backend,
        exported.card,
        backend.checksum,
        exported.checkpoint,
        exported.recipe,
        None,
        exported.precision,
        backend.early_exit,
        f"{options.provider}, {options.memory} MB",
    )


def open_run(
    path: Path,
    device: str = "auto",
    early_exit: bool | None = None,
    precision: str = "auto",
    reading: Reading = "likely",
) -> Opened:
    """Open a run's newest checkpoint, a checkpoint folder or weights that ship under this name, in torch.

    ``early_exit`` and ``reading`` are those of :func:`open_model`.

    Raises:
        UserError: there is none, or it is damaged.
    """
    from hrm_arc.evaluation.torch_backend import load_model
    from hrm_arc.runs.checkpoint import checksum, newest_checkpoint, recipe_of, run_of

    checkpoint = newest_checkpoint(path)
    backend, card = load_model(checkpoint, device, precision)
    if early_exit is not None:
        backend.early_exit = early_exit
    backend.reading = reading
    digest = checksum(checkpoint)
    recipe, run = recipe_of(checkpoint), run_of(checkpoint)
    precision, halts, kind = backend.precision, backend.early_exit, backend.device.type
    return Opened(backend, card, digest, digest, recipe, run, precision, halts, kind)


def results_beside(path: Path, data: str | None) -> Path:
    """The folder for scores: the run's folder; RUN/scores for one of its checkpoints; else beside the model, or here
    if the model ships with the program."""
    from hrm_arc.runs.checkpoint import CARD
    from hrm_arc.runs.folder import RunFolder
    from hrm_arc.runs.named import is_shipped

    if is_shipped(path):
        return RunFolder(Path(f"{path}.scores")).scored(data).path
    if is_exported(path):
        return RunFolder(path.with_suffix(".scores")).scored(data).path
    if not (path / CARD).is_file():
        return RunFolder(path).scored(data).path
    # Not into the checkpoint's folder, which is removed when newer checkpoints are written.
    checkpoint = path.resolve()
    if checkpoint.parent.name != "checkpoints":
        return RunFolder(checkpoint.with_name(f"{checkpoint.name}.scores")).scored(data).path
    run = RunFolder(checkpoint.parent.parent)
    name = checkpoint.name if data is None else f"{checkpoint.name}-{run.scored(data).path.name}"
    return run.path / "scores" / name


def within_run(model: Opened, out: Path) -> Path:
    """The place for results, which has to be in the run's folder: a link may lead out of it.

    Raises:
        UserError: it is elsewhere.
    """
    if model.run is not None and not out.resolve().is_relative_to(model.run.path.resolve()):
        raise UserError(out, "leads out of the run's folder through a link; name another folder with --out")
    return out
