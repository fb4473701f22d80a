"""The configuration of a published model, from the names and shapes of its tensors."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from hrm_arc.errors import UserError
from hrm_arc.models.vocabulary import VOCABULARY_SIZES
from hrm_arc.puzzles.canvas import FULL

# Tokens in front of the cells in published configurations: of HRM 1, of TRM 16.
PUBLISHED_PREFIX = {"hrm": 1, "trm": 16}


def check_kind(kind: str, file: Path, found: Mapping[str, Tensor]) -> None:
    """Check that tensors are those of the model that they are said to be of. HRM has two levels, TRM one network.

    Raises:
        UserError: they are of the other model.
    """
    levels = {name.partition(".")[0] for name in found if re.match(r"[HL]_level\.layers\.", name)}
    is_kind = {frozenset({"H_level", "L_level"}): "hrm", frozenset({"L_level"}): "trm"}.get(frozenset(levels))
    if is_kind is not None and is_kind != kind:
        why = "it has H_level and L_level" if is_kind == "hrm" else "it has L_level and no H_level"
        what = f"is a checkpoint of {is_kind.upper()} ({why}), not of {kind.upper()}"
        raise UserError(file, f"{what}; import it with hrm import {is_kind}")


def shape_options(
    kind: str, file: Path, found: Mapping[str, Tensor], table: Tensor | None, given: Mapping[str, Any]
) -> dict[str, Any]:
    """The model's configuration: what follows from the shapes of its tensors, and what is given.

    Args:
        kind: ``hrm`` or ``trm``.
        file: the checkpoint, for messages.
        found: its tensors by name, without the puzzle embedding.
        table: its puzzle embedding; None if it has none.
        given: fields of the configuration; they win.

    Raises:
        UserError: the tensors are not those of such a model.
    """
    if "embed_tokens.weight" not in found:
        raise UserError(file, f"has no token embedding, expected a checkpoint of {kind.upper()}")
    tokens = found["embed_tokens.weight"]
    if tokens.ndim != 2:
        raise UserError(file, f"its token embedding has the shape {tuple(tokens.shape)}")
    size, hidden_size = tokens.shape
    if size not in VOCABULARY_SIZES:
        known = ", ".join(f"{count} ({name})" for count, name in VOCABULARY_SIZES.items())
        raise UserError(file, f"a vocabulary of {size} tokens, expected one of {known}")
    config: dict[str, Any] = {
        "hidden_size": hidden_size,
        "num_heads": max(1, hidden_size // 64),
        "vocabulary": VOCABULARY_SIZES[size],
    }
    # A published model without a puzzle embedding has puzzle_emb_ndim 0. Where its length is given, the file lost it.
    config["puzzle_emb"] = "variants" if table is not None or "puzzle_emb_len" in given else "none"
    if kind == "hrm":
        config |= {
            level: _layers(file, found, name) for level, name in (("h_layers", "H_level"), ("l_layers", "L_level"))
        }
    else:
        config["layers"] = _layers(file, found, "L_level")
    length = PUBLISHED_PREFIX[kind]
    mixed, learned = found.get("L_level.layers.0.mlp_t.down_proj.weight"), found.get("embed_pos.weight")
    if mixed is not None and mixed.ndim == 2 and kind == "trm":
        config["mixing"] = "mlp"
    if learned is not None:
        config["positions"] = "learned"
    for counted in (mixed, learned):
        if counted is not None and counted.ndim == 2:
            length, cells = _length_and_cells(counted.shape[0], length, config["puzzle_emb"] == "none", given)
            config["cells"] = cells
            break
    if config["puzzle_emb"] == "variants":
        config["puzzle_emb_len"] = length
    return config | dict(given)


def _length_and_cells(positions: int, usual: int, none: bool, given: Mapping[str, Any]) -> tuple[int, int]:
    """Tokens in front of the cells, and cells, that a table with a row for each of both has.

    A published canvas is a square: of the usual length, 1 and all others, the first that leaves one is taken.
    """
    if "puzzle_emb_len" in given or none:
        length = 0 if none else int(given["puzzle_emb_len"])
        return max(1, length), max(1, positions - length)
    if "cells" in given:
        return max(1, positions - int(given["cells"])), int(given["cells"])
    for length in (usual, 1, *range(2, 65)):
        cells = positions - length
        if 1 <= cells <= FULL.cells and math.isqrt(cells) ** 2 == cells:
            return length, cells
    return usual, max(1, positions - usual)


def _layers(file: Path, found: Mapping[str, Tensor], level: str) -> int:
    numbers = {m[1] for name in found if (m := re.match(rf"{level}\.layers\.(\d+)\.", name))}
    # Every layer has tensors, so a number that is too large is that of no layer.
    if unknown := sorted(numbers - {str(n) for n in range(len(numbers))}):
        what = f"{level} has a layer {unknown[0]:.20}, expected {len(numbers)} layers numbered from 0 on"
        raise UserError(file, what)
    return len(numbers)
