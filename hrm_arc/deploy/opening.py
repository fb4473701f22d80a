"""Opening a model of any kind for inference: a run or checkpoint in torch, or an exported file in ONNX Runtime.

Also how it is usually scored, and where its scores go. Neither torch nor ONNX Runtime is imported before it is needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hrm_arc.errors import UserError

if TYPE_CHECKING:
    from hrm_arc.evaluation.backend import HaltingBackend
    from hrm_arc.evaluation.metrics import Metric
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

    backend: HaltingBackend
    card: Card
    checksum: str
    checkpoint: str
    recipe: dict[str, Any] | None
    run: RunFolder | None
    precision: str
    early_exit: bool
    runs_on: str


def is_exported(path: Path) -> bool:
    """Whether the path names an exported file."""
    return path.suffix == ".onnx"


def open_run(
    path: Path,
    device: str = "auto",
    early_exit: bool | None = None,
    precision: str = "auto",
    reading: Reading = "likely",
) -> Opened:
    """Open a run's newest checkpoint, a checkpoint folder or weights that ship under this name, in torch.

    Args:
        path: the run, checkpoint or name.
        device: a torch device, or ``auto``.
        early_exit: whether a sample stops when its halting logit says so; None: see
            :attr:`hrm_arc.runs.card.Card.early_exit`.
        precision: in which it computes, or ``auto``.
        reading: how tokens are read as a grid.

    Raises:
        UserError: there is none, or it is damaged.
    """
    from hrm_arc.evaluation.torch_backend import load_model
    from hrm_arc.runs.checkpoint import checksum, newest_checkpoint, recipe_of, run_of

    checkpoint = newest_checkpoint(path)
    backend, card = load_model(checkpoint, device, precision, early_exit, reading)
    digest = checksum(checkpoint)
    recipe, run = recipe_of(checkpoint), run_of(checkpoint)
    precision, halts, kind = backend.precision, backend.early_exit, backend.device.type
    return Opened(backend, card, digest, digest, recipe, run, precision, halts, kind)


def open_exported(
    path: Path,
    provider: str = "cpu",
    threads: int = 0,
    memory: int = 96,
    early_exit: bool | None = None,
    reading: Reading = "likely",
) -> Opened:
    """Open an exported file in ONNX Runtime, without torch.

    Args:
        path: the file.
        provider: of ONNX Runtime: ``cpu``, ``cuda`` or ``tensorrt``.
        threads: of the processor; 0: all.
        memory: for attention, in MB; it limits the batch size.
        early_exit, reading: see :func:`open_run`.

    Raises:
        UserError: there is none, it is damaged, or the provider is not available here.
    """
    from hrm_arc.deploy.runtime import OnnxBackend

    backend = OnnxBackend(path, provider, threads, memory, early_exit, reading)
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
        f"{provider}, {memory} MB",
    )


def set_halting(model: Opened, halt_at: float | None, segments: int | None) -> dict[str, Any]:
    """Set when samples stop; returns what differs from the usual, for the result.

    Args:
        model: the opened model.
        halt_at: the halting probability above which a sample stops; None: as the model's card says.
        segments: the most segments; None: as many as in training.

    Raises:
        UserError: the probability is out of its range, or the number of segments of an exported file is fixed.
    """
    if halt_at is not None and not 0 < halt_at < 1:
        raise UserError("--halt-at", f"{halt_at:g}, expected a probability between 0 and 1")
    halt_at = model.card.halt_at if halt_at is None else halt_at
    model.backend.set_halting(halt_at, segments)
    changed: dict[str, Any] = {} if halt_at == 0.5 else {"halt_at": halt_at}
    return changed if segments is None else {**changed, "segments": segments}


def usual_votes(model: Opened) -> int:
    """The number of votes of a model's recipe, as far as it has so many.

    Raises:
        UserError: the recipe is damaged.
    """
    from hrm_arc.evaluation.evaluate import limited_votes
    from hrm_arc.evaluation.prediction import DEFAULT_VOTES, MOST_VOTES

    if model.card.imported:
        # Only variants with a row of their own were trained with it: the original, and those of hrm import --variants.
        return model.card.variants
    votes = _evaluation(model).get("votes", DEFAULT_VOTES)
    if type(votes) is not int or not 1 <= votes <= MOST_VOTES:
        what = f"{votes!r:.40} in the model's recipe, expected 1 to {MOST_VOTES:,}; or give --votes"
        raise UserError("evaluation.votes", what)
    return limited_votes(model.card, votes)


def check_votes(card: Card, votes: int) -> None:
    """Check a number of votes that was asked for.

    Raises:
        UserError: the model has fewer variants of a test input.
    """
    from hrm_arc.evaluation.evaluate import limited_votes

    if (most := limited_votes(card, votes)) < votes:
        what = f"the tokens of a published Maze model have no other colors, so its boards have {most} orientations"
        raise UserError("--votes", f"{votes}, but {what} and no more")


def more_metrics(model: Opened) -> list[Metric]:
    """The metrics that the model's recipe lists, loaded before hours of work depend on them."""
    from hrm_arc.evaluation.metrics import find_metrics

    names = _evaluation(model).get("metrics") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError("evaluation.metrics", "of the model's recipe is damaged, expected a list of names")
    return find_metrics(names)


def _evaluation(model: Opened) -> dict[str, Any]:
    """The section ``evaluation`` of the model's recipe."""
    section = (model.recipe or {}).get("evaluation") or {}
    if not isinstance(section, dict):
        raise UserError("evaluation", "of the model's recipe is damaged, expected keys and values")
    return section


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
