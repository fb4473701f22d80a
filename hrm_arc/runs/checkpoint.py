"""Checkpoints: folders of tensors (safetensors) with a card (JSON) that describes them.

    checkpoints/step-00001000/
      checkpoint.json        the card, with a checksum of every file and of itself
      model.safetensors      the weights to use
      training.safetensors   the rest of the state that training needs to go on

The card names the model, its options and its tasks in the order of its task table, so a checkpoint can be scored
without its run. A folder is written under a temporary name, synced to the disk and renamed, so it is complete or
absent. Nothing is ever unpickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hrm_arc.errors import ReportedError, UserError, unwritable
from hrm_arc.files import finite, sync
from hrm_arc.reading import LARGEST_YAML, MIB, kind_of, open_regular, parse_yaml, read_json_object, read_text
from hrm_arc.runs.card import Card
from hrm_arc.runs.folder import RunFolder
from hrm_arc.runs.named import RECIPE, folder_of
from hrm_arc.runs.status import read_status

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

WEIGHTS = "model.safetensors"
TRAINING = "training.safetensors"
CARD = "checkpoint.json"
LATEST, BEST = "step", "best"
LARGEST_CARD = 64 * MIB
FINISHED = re.compile(r"(step|best)-\d{8,}")
UNFINISHED = re.compile(r"\.(step|best)-\d{8,}\.[0-9a-f]+")


def save_checkpoint(
    root: Path, kind: str, card: Card, weights: Mapping[str, Tensor], training: Mapping[str, Tensor]
) -> Path:
    """Write a checkpoint under ``root`` atomically and return its folder.

    Args:
        root: the run's folder of checkpoints.
        kind: ``step`` or ``best``; together with the card's step this is the folder's name.
        card: its description.
        weights: the weights to use.
        training: the rest of the state that training needs to go on.

    Raises:
        ReportedError: it cannot be written; what was there is untouched.
    """
    refuse_link(root)
    folder = root / f"{kind}-{card.step:08d}"
    write_checkpoint(folder, card, {WEIGHTS: weights, TRAINING: training})
    return folder


def write_checkpoint(
    folder: Path, card: Card, tensors: Mapping[str, Mapping[str, Tensor]], texts: Mapping[str, str] | None = None
) -> None:
    """Write a checkpoint folder atomically; what was in its place is removed.

    Args:
        folder: where.
        card: its description.
        tensors: by the names of the files.
        texts: more files beside them, by name.

    Raises:
        ReportedError: it cannot be written; what was there is untouched.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file  # Imports torch, which is not installed everywhere.

    root, beside = folder.parent, _hidden(folder)
    try:
        root.mkdir(parents=True, exist_ok=True)
        beside.mkdir()
        for name, named in tensors.items():
            save_file(_apart(named), beside / name)
        _write_card(beside, card)
        for name, content in (texts or {}).items():
            (beside / name).write_text(content, encoding="utf-8")
        for path in (*beside.iterdir(), beside):
            sync(path)
        refuse_link(folder)
        _discard(folder)  # A resumed run has reached the same step again.
        os.replace(beside, folder)
        sync(root)
    except OSError as error:
        raise unwritable(folder, error) from None
    except SafetensorError as error:  # A full disk raises it, too.
        raise ReportedError(folder, f"cannot be written: {error}") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def prune_checkpoints(written: Path, keep: int) -> None:
    """Remove old checkpoints of the same kind as one that was just written; ``keep`` of them stay, itself included.

    Later ones belong to a past that a resumed run has left (damaged, or the best of steps that it has not done
    again), and are removed.
    """
    of_its_kind = list_checkpoints(written.parent, written.name.partition("-")[0])
    place = of_its_kind.index(written)
    for folder in (*of_its_kind[: max(0, place + 1 - keep)], *of_its_kind[place + 1 :]):
        with contextlib.suppress(OSError):
            _discard(folder)


def _discard(path: Path) -> None:
    """Remove a checkpoint, or what is in its place: a link without what it leads to, a file, a FIFO."""
    if path.is_dir() and not path.is_symlink():
        # A process that is killed meanwhile must not leave half of a checkpoint under its name.
        hidden = _hidden(path)
        os.replace(path, hidden)
        shutil.rmtree(hidden)
    else:
        path.unlink(missing_ok=True)


def _hidden(folder: Path) -> Path:
    """The name of a checkpoint that is being written or removed, which nobody can guess and prepare."""
    return folder.with_name(f".{folder.name}.{secrets.token_hex(8)}")


def remove_unfinished(root: Path) -> None:
    """Remove what killed processes had begun to write or to remove."""
    refuse_link(root)
    for folder in root.glob(".*-*"):
        if UNFINISHED.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder, ignore_errors=True)


def refuse_link(path: Path) -> None:
    """Refuse to write through a link: a run that came from elsewhere must not reach outside itself.

    Raises:
        UserError: the path is a link.
    """
    if path.is_symlink():
        raise UserError(path, "is a link; the checkpoints of a run have to be in its own folder")


def list_checkpoints(root: Path, kind: str) -> list[Path]:
    """Checkpoints of a kind, oldest first. Whatever has the name of one is listed; without a card it is damaged."""
    try:
        named = [path for path in root.iterdir() if FINISHED.fullmatch(path.name)]
    except OSError:
        return []
    return sorted(path for path in named if path.name.startswith(f"{kind}-"))


def find_checkpoint(path: Path) -> tuple[Path, list[UserError]]:
    """The checkpoint at ``path``: itself, the newest whole one of a run, or weights that ship under this name.

    Returns:
        its folder, and the errors of newer ones: damaged ones, and the last one of a run if it is gone.

    Raises:
        UserError: there is none, or the named one is damaged.
    """
    path = folder_of(path)
    if (path / CARD).is_file() or FINISHED.fullmatch(path.name):
        check(path)
        return path, []
    damaged = []
    root = path / "checkpoints"
    refuse_link(root)
    for folder in reversed(list_checkpoints(root, LATEST) or list_checkpoints(root, BEST)):
        try:
            if folder.is_symlink() or not folder.is_dir():
                raise UserError(folder, "damaged: is not a folder")
            check(folder)
        except UserError as error:
            damaged.append(error)
        else:
            return folder, [*_gone(path, folder), *damaged]
    if damaged:
        raise damaged[0]
    what = "no checkpoint here: expected a run folder, a checkpoint folder or a name that hrm weights lists"
    raise UserError(path, what)


def _gone(run: Path, newest: Path) -> list[UserError]:
    """The error of the checkpoint that a run wrote last, if it is gone and ``newest`` is an earlier one."""
    last = Path(read_status(run / "status.json").get("last_checkpoint") or "").name
    if not FINISHED.fullmatch(last) or _step(last) <= _step(newest.name) or os.path.lexists(newest.with_name(last)):
        return []
    return [UserError(newest.with_name(last), "missing: status.json says that it was written")]


def _step(name: str) -> int:
    """The step in the name of a checkpoint."""
    return int(name.partition("-")[2])


def newest_checkpoint(path: Path) -> Path:
    """As :func:`find_checkpoint`; a newer checkpoint that is damaged or gone is logged as a warning."""
    folder, damaged = find_checkpoint(path)
    for error in damaged:
        log.warning("%s; using %s", error, folder.name)
    return folder


def run_of(checkpoint: Path) -> RunFolder | None:
    """The run that a checkpoint lies in, if it lies in one."""
    run = RunFolder(checkpoint.parent.parent)
    return run if run.config_file.is_file() else None


def recipe_of(checkpoint: Path) -> dict[str, Any] | None:
    """The recipe of a checkpoint: that of its run, or the one beside saved weights.

    Raises:
        UserError: it is damaged.
    """
    if (run := run_of(checkpoint)) is not None:
        return run.config()
    try:
        text = read_text(checkpoint / RECIPE, LARGEST_YAML, within=checkpoint)
    except FileNotFoundError:
        return None
    recipe = parse_yaml(text, checkpoint / RECIPE)
    if not isinstance(recipe, dict):
        raise UserError(checkpoint / RECIPE, f"damaged: holds {kind_of(recipe)}, expected a recipe")
    return recipe


def check(folder: Path) -> None:
    """Verify the checksums of a checkpoint's files.

    Raises:
        UserError: naming the file that is missing, truncated or altered.
    """
    _, sums = _read_card(folder)
    for name, expected in sums.items():
        try:
            digest = _digest(folder / name)
        except OSError:
            raise UserError(folder / name, "missing") from None
        if digest != expected:
            raise UserError(folder / name, "damaged: its checksum is not the one on the card")


def checksum(folder: Path) -> str:
    """The checksum of a checkpoint's card, which covers every file of its folder.

    Raises:
        UserError: the card is missing or damaged.
    """
    _read_card(folder)
    return str(read_json_object(folder / CARD, LARGEST_CARD)["card_sha256"])


def read_card(folder: Path) -> Card:
    """The card of a checkpoint folder.

    Raises:
        UserError: it is missing or damaged.
    """
    return _read_card(folder)[0]


def read_tensors(folder: Path, name: str) -> dict[str, Tensor]:
    """The tensors of one of a checkpoint's files, on the CPU.

    Raises:
        UserError: the file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        os.close(open_regular(folder / name, within=folder))
        return load_file(folder / name)
    except (OSError, SafetensorError, ValueError):
        raise UserError(folder / name, "missing or damaged") from None


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, none of which shares memory with another: of tied weights each name gets a copy."""
    apart: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name, tensor in tensors.items():
        where = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.clone().contiguous() if where in taken else tensor.contiguous()
        taken.add(where)
    return apart


def _write_card(folder: Path, card: Card) -> None:
    sums = {path.name: _digest(path) for path in sorted(folder.iterdir())}
    body = {**finite(card.as_json()), "sha256": sums}
    text = json.dumps({**body, "card_sha256": _text_digest(body)}, indent=1)
    (folder / CARD).write_text(text + "\n", encoding="utf-8")


def _read_card(folder: Path) -> tuple[Card, dict[str, str]]:
    path = folder / CARD
    try:
        body = read_json_object(path, LARGEST_CARD, within=folder)
    except FileNotFoundError:
        raise UserError(path, "missing: without its card a checkpoint cannot be read") from None
    try:
        if body.pop("card_sha256", None) != _text_digest(body):
            raise ValueError("its checksum is not that of its content")
        sums = body.pop("sha256", None)
        # A card names its own folder's files and no others.
        if not isinstance(sums, dict) or not sums.keys() <= {WEIGHTS, TRAINING} or WEIGHTS not in sums:
            raise ValueError(f"names other files than {WEIGHTS} and {TRAINING}")
        return Card.from_json(body), sums
    except ValueError as error:
        raise UserError(path, f"damaged: {error}") from None


def _digest(path: Path) -> str:
    with os.fdopen(open_regular(path, within=path.parent), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _text_digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
