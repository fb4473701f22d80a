"""The .npy folders that the published HRM and TRM train from, read as tasks.

Such a folder holds each puzzle with its variants, written out. The first of a group is the
puzzle as it is; its train rows are demonstrations and its test rows are tests, which is all
that is needed to draw the variants anew.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hrm_arc.errors import UserError
from hrm_arc.puzzles.canvas import EOS, FIRST_COLOUR, FULL, VOCABULARY, Canvas
from hrm_arc.puzzles.task import COLOURS, MAX_SIDE, Grid, Pair, Task, make_grid

FIELDS = ("inputs", "labels", "puzzle_identifiers", "puzzle_indices", "group_indices")
SEPARATOR = "|||"
# Published Sudoku and Maze sets have vocabularies of their own, from token 1 on.
BOARD_TOKENS = {11: tuple(range(10)), 6: (5, 0, 3, 2, 4)}


def is_array_folder(path: Path) -> bool:
    """Whether a folder is laid out as the published loaders expect."""
    return (path / "train" / "dataset.json").is_file()


def read_array_folder(path: Path, split: str = "", most: int | None = None) -> tuple[Task, ...]:
    """The tasks whose variants a folder holds.

    Args:
        path: holds ``train`` and, if there is something to solve, ``test``.
        split: ``evaluation``: the tasks that the test part has rows of; ``training``: the
            others, with their last pair as a test; empty: both. A game is to be solved.
        most: of a game's boards, at most so many.

    Raises:
        UserError: naming the file that is missing or does not fit the others.
    """
    train = _Part(path / "train")
    test = _Part(path / "test") if (path / "test" / "dataset.json").is_file() else None
    names = read_identifiers(path / "identifiers.json") if (path / "identifiers.json").is_file() else []
    if train.vocabulary in BOARD_TOKENS or len(names) <= 1:
        # One task that is to be solved: its boards to learn from are its demonstrations.
        return () if split == "training" else (_game(path.name, train, test, most),)
    known = {train.name(g, names): g for g in reversed(range(train.groups))}
    asked = {} if test is None else {test.name(g, names): g for g in range(test.groups)}
    tasks = []
    for name, group in reversed(known.items()):
        pairs = train.pairs(group)
        if name in asked and split != "training":
            assert test is not None
            tasks.append(Task(name, pairs, test.pairs(asked[name])))
        elif name not in asked and split != "evaluation":
            tasks.append(Task(name, pairs[:-1] or pairs, pairs[-1:]))
    return tuple(tasks)


@dataclass(frozen=True)
class _Layout:
    """How tokens become grids: a grid somewhere on a canvas, or a whole board."""

    canvas: Canvas
    colours: tuple[int, ...] | None


class _Part:
    """One split of a folder, its arrays mapped from the disk."""

    def __init__(self, path: Path):
        self.path = path
        card = _read(path / "dataset.json")
        if not isinstance(card, dict) or type(card.get("seq_len")) is not int or card["seq_len"] < 1:
            raise UserError(path / "dataset.json", "no 'seq_len' above 0, expected the card of a published set")
        self.vocabulary = card.get("vocab_size", VOCABULARY)
        if type(self.vocabulary) is not int:
            raise UserError(path / "dataset.json", "'vocab_size' is no number")
        side = math.isqrt(card["seq_len"])
        if side * side != card["seq_len"] or not 1 <= side <= MAX_SIDE:
            raise UserError(path / "dataset.json", f"seq_len {card['seq_len']}, expected a square up to {FULL.cells}")
        if self.vocabulary != VOCABULARY and self.vocabulary not in BOARD_TOKENS:
            known = ", ".join(map(str, (VOCABULARY, *BOARD_TOKENS)))
            raise UserError(path / "dataset.json", f"a vocabulary of {self.vocabulary} tokens, expected one of {known}")
        self._layout = _Layout(Canvas(side, side), BOARD_TOKENS.get(self.vocabulary))
        self._arrays = {name: self._map(name) for name in FIELDS}
        rows = len(self._arrays["inputs"])
        for name in ("inputs", "labels"):
            if self._arrays[name].shape != (rows, side * side):
                raise UserError(self._file(name), f"shape {self._arrays[name].shape}, expected {(rows, side * side)}")
        self._puzzles = self._bounds("puzzle_indices", rows)
        self._groups = self._bounds("group_indices", len(self._puzzles) - 1)
        if len(self._arrays["puzzle_identifiers"]) < len(self._puzzles) - 1:
            raise UserError(self._file("puzzle_identifiers"), f"fewer than {len(self._puzzles) - 1} identifiers")
        self.groups = len(self._groups) - 1

    def name(self, group: int, names: list[str]) -> str:
        """The name of the task that a group is of, from the folder's names by identifier."""
        identifier = int(self._arrays["puzzle_identifiers"][self._groups[group]])
        if not 0 <= identifier < len(names):
            raise UserError(self._file("puzzle_identifiers"), f"identifier {identifier}, of {len(names)} names")
        return names[identifier].split(SEPARATOR)[0]

    def pairs(self, group: int) -> tuple[Pair, ...]:
        """The pairs of a group's first puzzle."""
        first = self._groups[group]
        rows = range(int(self._puzzles[first]), int(self._puzzles[first + 1]))
        return tuple(Pair(self._grid("inputs", row), self._grid("labels", row)) for row in rows)

    def _grid(self, name: str, row: int) -> Grid:
        tokens = np.asarray(self._arrays[name][row])
        canvas, colours = self._layout.canvas, self._layout.colours
        grid: Grid | None = None
        if colours is not None:
            if tokens.min() >= 1 and tokens.max() <= len(colours):
                grid = np.array(colours, dtype=np.uint8)[tokens - 1].reshape(canvas.height, canvas.width)
        elif tokens.min() >= 0 and tokens.max() < FIRST_COLOUR + COLOURS:
            cells = tokens.reshape(canvas.height, canvas.width)
            filled = np.argwhere(cells > EOS)
            grid = canvas.decode(tokens, *map(int, filled.min(axis=0))) if len(filled) else None
        if grid is None:
            raise UserError(self._file(name), f"row {row} holds no grid")
        return make_grid(grid)

    def _map(self, name: str) -> np.ndarray:
        file = self._file(name)
        try:
            array = np.load(file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise UserError(file, f"cannot be read as an array: {' '.join(str(error).split())}") from None
        if array.dtype.kind not in "iu" or array.ndim == 0:
            raise UserError(file, f"{array.ndim}-D, of {array.dtype}, expected an array of integers")
        return array

    def _bounds(self, name: str, end: int) -> np.ndarray:
        """Boundaries from 0 to ``end``."""
        bounds = np.asarray(self._arrays[name], dtype=np.int64)
        if bounds.ndim != 1 or len(bounds) < 2 or bounds[0] != 0 or bounds[-1] != end or (np.diff(bounds) < 1).any():
            raise UserError(self._file(name), f"expected boundaries that rise from 0 to {end}")
        return bounds

    def _file(self, name: str) -> Path:
        return self.path / f"all__{name}.npy"


def _game(name: str, train: _Part, test: _Part | None, most: int | None) -> Task:
    """Boards without names: one game."""
    learned = [train.pairs(group)[0] for group in range(min(train.groups, most or train.groups))]
    if test is None:
        learned, asked = learned[:-1] or learned, learned[-1:]
    else:
        asked = [test.pairs(group)[0] for group in range(min(test.groups, most or test.groups))]
    shapes = {grid.shape for pair in (*learned, *asked) for grid in (pair.input, pair.output) if grid is not None}
    if len(shapes) > 1:
        sizes = " and ".join(f"{height} x {width}" for height, width in sorted(shapes)[:2])
        what = f"boards of {sizes}, expected one size; a set of tasks has their names in identifiers.json"
        raise UserError(train.path.parent, what)
    return Task(name, tuple(learned), tuple(asked), boards=True)


def read_identifiers(file: Path) -> list[str]:
    """What a published set's identifiers.json says: a name for each row of a puzzle table.

    Raises:
        UserError: it cannot be read, or is no list of names.
    """
    names = _read(file)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(file, "expected a list of names")
    return names


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(path, f"cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UserError(path, f"not JSON: {error}") from None
    except RecursionError:
        raise UserError(path, "nested too deeply") from None
