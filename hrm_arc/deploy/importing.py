"""Import checkpoints of the published HRM and TRM.

They are pickled state dicts. Only tensors are loaded (``weights_only``), so a file cannot run code. What a state
dict does not tell, such as the number of attention heads, is taken from the published configuration unless it is given.
"""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hrm_arc.deploy.import_options import check_kind, shape_options
from hrm_arc.errors import UserError, and_more, unwritable
from hrm_arc.evaluation.torch_backend import check_weights
from hrm_arc.models import build_model
from hrm_arc.puzzles.arrays import read_identifiers
from hrm_arc.puzzles.canvas import CanvasKind
from hrm_arc.puzzles.symmetry import IDENTITY, Symmetry
from hrm_arc.puzzles.variant_names import SEPARATOR, split_variant, written
from hrm_arc.reading import open_regular
from hrm_arc.runs.card import Card
from hrm_arc.runs.checkpoint import LATEST, save_checkpoint

PREFIXES = ("_orig_mod.", "model.", "inner.", "module.")
TABLE = "puzzle_emb.weights"
RENAMED = {"embed_tokens.embedding_weight": "embed_tokens.weight", "embed_pos.embedding_weight": "embed_pos.weight"}
# Tables of angles and buffers of the puzzle embedding, which are computed here.
COMPUTED = re.compile(r"rotary_emb\.|(^|\.)local_(weights|ids)$")

# Tasks have the same number of rows here; where they have not in the file, the table may grow by this factor.
MOST_PADDING = 10


@dataclass(frozen=True)
class Imported:
    """The result of an import.

    Attributes:
        mapped: (published name, name here, shape) of every imported tensor.
        left_out: (published name, reason) of every tensor that was left out.
        parameters: the number of parameters, without the puzzle embedding.
        tasks: the number of tasks with a row in the puzzle embedding.
        variants: the most variants of a task, the original included, with a row of their own.
        options: the model's configuration, in part from the file and in part as given or published.
    """

    mapped: list[tuple[str, str, tuple[int, ...]]]
    left_out: list[tuple[str, str]]
    parameters: int
    tasks: int
    variants: int
    options: dict[str, Any]


def import_checkpoint(
    kind: str,
    file: Path,
    out: Path,
    identifiers: Path | None = None,
    options: Mapping[str, Any] | None = None,
    variants: bool = False,
) -> Imported:
    """Read a published checkpoint and write it as a checkpoint of this project.

    Args:
        kind: ``hrm`` or ``trm``.
        file: the published checkpoint.
        out: the run folder to create; the checkpoint is written to its ``checkpoints``.
        identifiers: the ``identifiers.json`` of the training set, which names the rows of the puzzle embedding.
            The rows of original tasks are imported. Without it the whole puzzle embedding is left out, unless it has
            one row only, which all boards of a game share.
        options: fields of the model's configuration that the file does not tell.
        variants: whether to import the rows of variants, too, so that they can vote.

    Raises:
        UserError: the file cannot be read, is of the other model, or a tensor is missing, unknown or of another shape.
    """
    theirs = _read(file)
    names: dict[str, str] = {}
    left_out = []
    for name in theirs:
        own = _own_name(name)
        if COMPUTED.search(own):
            left_out.append((name, "computed here"))
        else:
            names[own] = name
    table = theirs[names.pop(TABLE)] if TABLE in names else None
    found = {own: theirs[name] for own, name in names.items()}
    check_kind(kind, file, found)
    config = shape_options(kind, file, found, table, options or {})
    if table is not None:
        _check_table(file, table, config)
    rows = _rows(table, identifiers, variants)
    if table is not None and rows.why_left_out:
        left_out.append((_their_name(theirs, TABLE), rows.why_left_out))
    try:
        model = build_model(kind, config, len(rows.tasks), rows.variants)
    except (TypeError, ValueError) as error:
        raise UserError(file, f"does not fit {kind}: {error}") from None
    weights = dict(found)
    if config["puzzle_emb"] == "variants":
        weights[TABLE] = torch.zeros(1, config["hidden_size"]) if rows.weights is None else rows.weights
    _check(file, kind, model.state_dict(), weights, names)
    check_weights(file, weights)
    weights = {name: tensor.float().contiguous() for name, tensor in weights.items()}
    canvas: CanvasKind = "full" if config["vocabulary"] == "arc" else "cropped"
    training = {"imported": str(file)}
    card = Card(
        *(kind, config, rows.tasks, canvas, True, [], [], 0, rows.variants, 0, [], 0, file.stem, training),
        symmetries=rows.symmetries,
    )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(out, error) from None
    save_checkpoint(out / "checkpoints", LATEST, card, weights, {})
    mapped = [(names.get(own, TABLE), own, tuple(tensor.shape)) for own, tensor in weights.items() if own != TABLE]
    if rows.weights is not None:
        mapped.append((_their_name(theirs, TABLE), TABLE, tuple(weights[TABLE].shape)))
    parameters = sum(p.numel() for name, p in model.named_parameters() if name != TABLE)
    return Imported(mapped, left_out, parameters, len(rows.tasks), rows.variants, config)


def _read(file: Path) -> dict[str, Tensor]:
    try:
        with os.fdopen(open_regular(file), "rb") as opened:
            data = torch.load(opened, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(file, "cannot be read: there is no such file") from None
    except UserError:
        raise
    except Exception as error:  # What a damaged or made-up file raises is not limited to any kind.
        code = isinstance(error, pickle.UnpicklingError) and "weights_only" in str(error).lower() and _is_torch(file)
        what = "holds more than tensors, and its code is not run" if code else "not a checkpoint"
        raise UserError(file, f"{what}; expected a state dict that torch.save has written") from None
    for key in ("model", "model_state_dict", "state_dict", "ema"):
        if isinstance(data, dict) and isinstance(data.get(key), dict):
            data = data[key]
            break
    if not isinstance(data, dict) or not data or not all(isinstance(value, Tensor) for value in data.values()):
        raise UserError(file, "not a state dict, expected tensors by name")
    for name, tensor in data.items():
        dense = tensor.layout is torch.strided and not tensor.is_quantized and not tensor.is_complex()
        if not isinstance(name, str) or not dense:
            raise UserError(file, f"{name!r:.60} is not a dense tensor of numbers")
    return data


def _is_torch(file: Path) -> bool:
    """Whether a file looks like one of torch.save: a zip archive, or a pickle."""
    with os.fdopen(open_regular(file), "rb") as opened:
        return opened.read(2) in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04")


def _own_name(name: str) -> str:
    stripped = True
    while stripped:
        stripped = False
        for prefix in PREFIXES:
            if name.startswith(prefix):
                name, stripped = name.removeprefix(prefix), True
    return RENAMED.get(name, name)


def _their_name(theirs: Mapping[str, Tensor], own: str) -> str:
    return next((name for name in theirs if _own_name(name) == own), own)


@dataclass(frozen=True)
class _Rows:
    """The rows of a puzzle embedding that are imported.

    Attributes:
        tasks: the tasks that have rows.
        weights: row 0, which stands for unseen tasks and for the boards of a game, then ``variants`` rows of each
            task, the original first; None if there are none.
        variants: the number of rows of each task; of a task with fewer variants the last rows are zero.
        symmetries: of each task the symmetries of its variants, see :class:`hrm_arc.runs.card.Card`.
        why_left_out: why nothing or only a part was imported; "" for everything that was asked for.
    """

    tasks: list[str] = field(default_factory=list)
    weights: Tensor | None = None
    variants: int = 1
    symmetries: dict[str, str] = field(default_factory=dict)
    why_left_out: str = ""


def _rows(table: Tensor | None, identifiers: Path | None, variants: bool) -> _Rows:
    if table is None:
        return _Rows()
    if identifiers is None:
        return _Rows(weights=table) if len(table) == 1 else _Rows(why_left_out="no --identifiers to name its rows")
    names = read_identifiers(identifiers)
    if len(names) != len(table):
        raise UserError(identifiers, f"{len(names)} names, and the puzzle embedding has {len(table)} rows")
    originals: dict[str, int] = {}
    others: dict[str, dict[Symmetry, int]] = {}
    for row, name in enumerate(names[1:], start=1):
        task, symmetry = split_variant(name)
        if symmetry is None:
            # TRM's separator is in the name of no task: what follows it here is the variant of another program.
            if SEPARATOR not in name:
                originals.setdefault(task, row)
        elif symmetry != IDENTITY:
            others.setdefault(task, {}).setdefault(symmetry, row)
    if not originals:
        return _Rows(weights=table) if len(table) == 1 else _Rows(why_left_out="no rows of original tasks")
    tasks = list(originals)
    count = 1 + max((len(others.get(task, ())) for task in tasks), default=0) if variants else 1
    if count == 1:
        return _Rows(tasks, table[[0, *originals.values()]])
    if len(tasks) * count > MOST_PADDING * len(table):
        largest = max(tasks, key=lambda task: len(others.get(task, ())))
        what = f"{largest:.40} has {count:,} variants and other tasks few, expected about as many of each"
        raise UserError(identifiers, what)
    # Row 0 of the published table is a blank; where a task has fewer variants, no sample reads the rows behind them.
    weights = table.new_zeros(1 + len(tasks) * count, table.shape[1])
    weights[0] = table[0]
    symmetries = {}
    for number, task in enumerate(tasks):
        known = {IDENTITY: originals[task], **others.get(task, {})}
        first = 1 + number * count
        weights[first : first + len(known)] = table[list(known.values())]
        symmetries[task] = written(list(known))
    return _Rows(tasks, weights, count, symmetries)


def _check_table(file: Path, table: Tensor, config: Mapping[str, Any]) -> None:
    """Check a puzzle embedding before its rows are copied."""
    if table.ndim != 2 or table.shape[-1] != config["hidden_size"] or not len(table):
        raise UserError(file, f"its puzzle embedding has the shape {tuple(table.shape)}, not the model's width")


def _check(
    file: Path, kind: str, wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], names: Mapping[str, str]
) -> None:
    missing = [name for name in wanted if name not in given]
    if missing:
        raise UserError(file, f"lacks {missing[0]}{and_more(missing)} of {kind.upper()}'s tensors")
    extra = [name for name in given if name not in wanted]
    if extra:
        raise UserError(file, f"has {names[extra[0]]}{and_more(extra)}, unknown to {kind.upper()}")
    for name, tensor in given.items():
        if tensor.shape != wanted[name].shape:
            shapes = f"{tuple(tensor.shape)}, expected {tuple(wanted[name].shape)}"
            raise UserError(file, f"{names.get(name, name)} has shape {shapes}")
