"""Checkpoints: a folder of weights (safetensors) and a card (JSON) that describes them.

The card names the model, its options and its tasks in the order of its table, so a
checkpoint can be scored without the run that made it. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hrm_arc.errors import UserError
from hrm_arc.puzzles.augmented import CanvasKind

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = "model.safetensors"
CARD = "checkpoint.json"


@dataclass(frozen=True)
class Card:
    """What a checkpoint says of itself.

    Attributes:
        model: the model's name in recipes.
        options: its configuration.
        tasks: task IDs in the order of the model's task table, from row 1 on.
        canvas: ``full`` or ``cropped``.
        ignores_padding: whether training left padding out, so that what the model says
            there means nothing.
        solve: the sources it was trained to solve.
        study: the sources whose answers it was trained on.
        held_back: how many of ``tasks``, from the first on, had their answers held back.
        step: training steps done.
        run_id: the run it comes from.
    """

    model: str
    options: dict[str, Any]
    tasks: list[str]
    canvas: CanvasKind
    ignores_padding: bool
    solve: list[str]
    study: list[str]
    held_back: int
    step: int
    run_id: str

    def rows(self) -> dict[str, int]:
        """The row of each task in the model's table."""
        return {name: row for row, name in enumerate(self.tasks, start=1)}


def save_checkpoint(folder: Path, weights: Mapping[str, Tensor], card: Card) -> Path:
    """Write a checkpoint as ``folder``, whole or not at all.

    Raises:
        UserError: it cannot be written.
    """
    from safetensors.torch import save_file  # Imports torch, which readers of runs may lack.

    beside = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        beside.mkdir(parents=True)
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, beside / WEIGHTS)
        (beside / CARD).write_text(json.dumps(asdict(card), indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(beside, folder)
    except OSError as error:
        raise UserError(folder, f"cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def find_checkpoint(path: Path) -> Path:
    """The checkpoint folder that ``path`` means: itself, or the newest of a run.

    Raises:
        UserError: neither a checkpoint nor a run with one.
    """
    if (path / CARD).is_file():
        return path
    found = sorted(card.parent for card in path.glob(f"checkpoints/*/{CARD}"))
    if not found:
        raise UserError(path, "no checkpoint here: expected a run folder or a checkpoint folder")
    return found[-1]


def read_card(folder: Path) -> Card:
    """The card of a checkpoint folder.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        return Card(**json.loads((folder / CARD).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        raise UserError(folder / CARD, "missing or damaged") from None


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The weights of a checkpoint folder, on the CPU.

    Raises:
        UserError: the file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(folder / WEIGHTS)
    except (OSError, SafetensorError):
        raise UserError(folder / WEIGHTS, "missing or damaged") from None
