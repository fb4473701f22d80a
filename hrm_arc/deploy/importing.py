"""Import checkpoints of the published HRM and TRM.

They are pickled state dicts. Only tensors are loaded (``weights_only``), so a file cannot run code. What a state
dict does not tell, such as the number of attention heads, is taken from the published configuration unless it is given.
"""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hrm_arc.errors import UserError, and_more, unwritable
from hrm_arc.evaluation.torch_backend import check_weights
from hrm_arc.models import build_model
from hrm_arc.puzzles.arrays import SEPARATOR, read_identifiers
from hrm_arc.reading import open_regular
from hrm_arc.runs.card import Card
from hrm_arc.runs.checkpoint import LATEST, save_checkpoint

PREFIXES = ("_orig_mod.", "model.", "inner.", "module.")
TABLE = "puzzle_emb.weights"
RENAMED = {"embed_tokens.embedding_weight": "embed_tokens.weight"}
# Tables of angles and buffers of the puzzle embedding, which are computed here.
COMPUTED = re.compile(r"rotary_emb\.|(^|\.)local_(weights|ids)$")
# How HRM's builder names a variant: TASK_t3_0481963275, with the dihedral transform (0 to 7) and the color that each
# of 0 to 9 becomes. TRM's builder separates the parts by SEPARATOR. The original is TASK in both.
HRM_VARIANT = re.compile(r"_t[0-7]_\d{10}$")


@dataclass(frozen=True)
class Imported:
    """The result of an import.

    Attributes:
        mapped: (published name, name here, shape) of every imported tensor.
        left_out: (published name, reason) of every tensor that was left out.
        parameters: the number of parameters, without the puzzle embedding.
        tasks: the number of tasks with a row in the puzzle embedding.
    """

    mapped: list[tuple[str, str, tuple[int, ...]]]
    left_out: list[tuple[str, str]]
    parameters: int
    tasks: int


def import_checkpoint(
    kind: str, file: Path, out: Path, identifiers: Path | None = None, options: Mapping[str, Any] | None = None
) -> Imported:
    """Read a published checkpoint and write it as a checkpoint of this project.

    Args:
        kind: ``hrm`` or ``trm``.
        file: the published checkpoint.
        out: the run folder to create; the checkpoint is written to its ``checkpoints``.
        identifiers: the ``identifiers.json`` of the training set, which names the rows of the puzzle embedding.
            The rows of original tasks are imported, those of variants are left out. Without it the whole
            puzzle embedding is left out.
        options: fields of the model's configuration that the file does not tell.

    Raises:
        UserError: the file cannot be read, or a tensor is missing, unknown or of another shape.
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
    if table is not None:
        _check_width(file, table, theirs[names["embed_tokens.weight"]] if "embed_tokens.weight" in names else table)
    tasks, rows = _rows(table, identifiers)
    if table is not None and not tasks:
        why = "no --identifiers to name its rows" if identifiers is None else "no rows of original tasks"
        left_out.append((_their_name(theirs, TABLE), why))
    found = {own: theirs[name] for own, name in names.items()}
    given = dict(options or {})
    config = _options(kind, file, found, given) | given
    try:
        model = build_model(kind, config, len(tasks))
    except (TypeError, ValueError) as error:
        raise UserError(file, f"does not fit {kind}: {error}") from None
    weights = {**found, TABLE: rows if rows is not None else torch.zeros(1, config["hidden_size"])}
    _check(file, kind, model.state_dict(), weights, names)
    check_weights(file, weights)
    weights = {name: tensor.float().contiguous() for name, tensor in weights.items()}
    card = Card(kind, config, tasks, "full", True, [], [], 0, 1, 0, [], 0, file.stem, {"imported": str(file)})
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(out, error) from None
    save_checkpoint(out / "checkpoints", LATEST, card, weights, {})
    mapped = [(names.get(own, TABLE), own, tuple(tensor.shape)) for own, tensor in weights.items() if own != TABLE]
    if tasks:
        mapped.append((_their_name(theirs, TABLE), TABLE, tuple(weights[TABLE].shape)))
    parameters = sum(p.numel() for name, p in model.named_parameters() if name != TABLE)
    return Imported(mapped, left_out, parameters, len(tasks))


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


def _rows(table: Tensor | None, identifiers: Path | None) -> tuple[list[str], Tensor | None]:
    """The original tasks that a puzzle embedding has rows for, and those rows ``[1 + tasks, hidden_size]``.

    The first row is the published row 0, a blank, which stands for unseen tasks here.
    """
    if table is None or identifiers is None:
        return [], None
    names = read_identifiers(identifiers)
    if len(names) != len(table):
        raise UserError(identifiers, f"{len(names)} names, and the puzzle embedding has {len(table)} rows")
    originals = [row for row, name in enumerate(names) if row and not _is_variant(name)]
    return [names[row] for row in originals], table[[0, *originals]]


def _check_width(file: Path, table: Tensor, tokens: Tensor) -> None:
    """Check a puzzle embedding before its rows are copied."""
    if table.ndim != 2 or table.shape[-1] != tokens.shape[-1]:
        raise UserError(file, f"its puzzle embedding has the shape {tuple(table.shape)}, not the model's width")


def _is_variant(name: str) -> bool:
    """Whether a row's name is that of a variant, not of an original task."""
    return SEPARATOR in name or HRM_VARIANT.search(name) is not None


def _options(kind: str, file: Path, found: Mapping[str, Tensor], given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a model's configuration that follow from the shapes of its tensors and from given fields."""
    if "embed_tokens.weight" not in found:
        raise UserError(file, f"has no token embedding, expected a checkpoint of {kind.upper()}")
    if found["embed_tokens.weight"].ndim != 2:
        raise UserError(file, f"its token embedding has the shape {tuple(found['embed_tokens.weight'].shape)}")
    hidden_size = found["embed_tokens.weight"].shape[1]

    def layers(level: str) -> int:
        numbers = {m[1] for name in found if (m := re.match(rf"{level}\.layers\.(\d+)\.", name))}
        # Every layer has tensors, so a number that is too large is that of no layer.
        if unknown := sorted(numbers - {str(n) for n in range(len(numbers))}):
            what = f"{level} has a layer {unknown[0]:.20}, expected {len(numbers)} layers numbered from 0 on"
            raise UserError(file, what)
        return len(numbers)

    config: dict[str, Any] = {"hidden_size": hidden_size, "num_heads": max(1, hidden_size // 64)}
    if kind == "hrm":
        return config | {"h_layers": layers("H_level"), "l_layers": layers("L_level")}
    config["layers"] = layers("L_level")
    mixed = found.get("L_level.layers.0.mlp_t.down_proj.weight")
    if mixed is not None and mixed.ndim == 2:
        config |= {"mixing": "mlp", "cells": mixed.shape[0] - given.get("puzzle_emb_len", 16)}
    return config


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
