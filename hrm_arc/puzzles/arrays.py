"""Reads the .npy folders that the published HRM and TRM train from, as tasks.

Such a folder holds every variant of each puzzle. The first puzzle of a group is the original.
Its rows in ``train`` are the demonstrations and its rows in ``test`` are the tests. The other
variants are left out, with a warning: the program makes variants itself. Those of a game's boards
are read on request, as boards of their own.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hrm_arc.errors import UserError, and_more
from hrm_arc.puzzles.board_files import ALL, Counts
from hrm_arc.puzzles.canvas import EOS, FIRST_COLOR, FULL, VOCABULARY, Canvas
from hrm_arc.puzzles.listing import is_there, name_of, warn_once
from hrm_arc.puzzles.published_tokens import BOARD_TOKENS
from hrm_arc.puzzles.task import COLORS, MAX_SIDE, Grid, Pair, Task, make_grid, name_problem
from hrm_arc.puzzles.variant_names import split_variant
from hrm_arc.reading import open_regular, read_json

# The part of a game's folder that has all variants of the boards to train on.
VARIANTS = "variants"
FIELDS = ("inputs", "labels", "puzzle_identifiers", "puzzle_indices", "group_indices")


def is_array_folder(path: Path) -> bool:
    """Whether a folder has the layout that the published loaders expect."""
    return is_there(path / "train" / "dataset.json")


def read_array_folder(path: Path, split: str = "", counts: Counts = ALL) -> tuple[Task, ...]:
    """The tasks of a folder.

    Args:
        path: a folder with ``train`` and, if it has tasks to solve, ``test``.
        split: ``evaluation``: the tasks that have rows in ``test``; ``training``: the other
            tasks, with their last pair as the test; "": both. A game belongs to ``evaluation``.
            ``variants``: a game with all variants of the boards in ``train``.
        counts: the largest numbers of boards to read of a game; a board counts once, however many variants it has.

    Raises:
        UserError: a file is missing, damaged, or does not fit the other files; or variants of tasks are asked for.
    """
    train = _Part(path / "train")
    test = _Part(path / "test") if is_there(path / "test" / "dataset.json") else None
    names = read_identifiers(path / "identifiers.json") if is_there(path / "identifiers.json") else []
    if train.vocabulary in BOARD_TOKENS or len(names) <= 1:
        # A game is one task to solve; the boards in ``train`` are its demonstrations.
        if split == "training":
            return ()
        if split != VARIANTS and train.variants:
            what = f"{train.variants:,} variants of its boards in train are left out; {path}/{VARIANTS} has them, too"
            warn_once(f"{path}: {what}")
        return (_game(name_of(path), train, test, counts, split == VARIANTS),)
    if split == VARIANTS:
        what = "variants of tasks are not read as tasks; the program makes variants itself (data.augment), and takes"
        raise UserError(f"{path}/{VARIANTS}", f"{what} the rows of published ones with hrm import --variants")
    if train.variants:
        what = f"{train.variants:,} variants of its tasks in train are left out, the first of them"
        warn_once(f"{path}: {what} {train.first_variant(names)}; the program makes variants itself (data.augment)")
    known = {train.name(g, names): g for g in reversed(range(train.groups))}
    solve = {} if test is None else {test.name(g, names): g for g in range(test.groups)}
    tasks = []
    for name, group in reversed(known.items()):
        pairs = train.pairs(group)
        if name in solve and split != "training":
            assert test is not None
            tasks.append(Task(name, pairs, test.pairs(solve[name])))
        elif name not in solve and split != "evaluation":
            tasks.append(Task(name, *_last_as_test(pairs)))
    if split != "training" and (lost := [name for name in solve if name not in known]):
        raise UserError(path / "test", f"has rows of {lost[0]}{and_more(lost)}, which has none in train")
    return tuple(tasks)


def _last_as_test(pairs: Sequence[Pair], last: int = 1) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
    """Demonstrations, and the last pair as the test; of the last pairs, which are variants of one, the first.

    A pair that is alone is the demonstration, and the test is its input without an answer: what is trained on is never
    scored.
    """
    if len(pairs) == last:
        return tuple(pairs), (Pair(pairs[0].input, None),)
    return tuple(pairs[:-last]), (pairs[-last],)


@dataclass(frozen=True)
class _Layout:
    """How tokens become grids.

    Attributes:
        canvas: the canvas of the tokens.
        colors: the color of each token from 1 on, if every row is a board that fills the canvas; None if
            every row is a grid somewhere on the canvas, in this program's vocabulary.
    """

    canvas: Canvas
    colors: tuple[int, ...] | None


class _Part:
    """One split of a folder; its arrays are memory-mapped.

    Args:
        path: the folder of the split.

    Raises:
        UserError: a file is missing, damaged, or does not fit the other files.
    """

    def __init__(self, path: Path):
        self.path = path
        card = _read(path / "dataset.json")
        if not isinstance(card, dict) or type(card.get("seq_len")) is not int or card["seq_len"] < 1:
            raise UserError(path / "dataset.json", "no 'seq_len' above 0, expected the dataset.json of a published set")
        self.vocabulary = card.get("vocab_size", VOCABULARY)
        if type(self.vocabulary) is not int:
            raise UserError(path / "dataset.json", "'vocab_size' is not an integer")
        side = math.isqrt(card["seq_len"])
        if side * side != card["seq_len"] or not 1 <= side <= MAX_SIDE:
            raise UserError(
                path / "dataset.json", f"seq_len {card['seq_len']}, expected a square number up to {FULL.cells}"
            )
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
        if self._arrays["puzzle_identifiers"].ndim != 1:
            raise UserError(self._file("puzzle_identifiers"), "expected a 1-D array")
        if len(self._arrays["puzzle_identifiers"]) < len(self._puzzles) - 1:
            raise UserError(self._file("puzzle_identifiers"), f"fewer than {len(self._puzzles) - 1} identifiers")
        self.groups = len(self._groups) - 1
        self.variants = len(self._puzzles) - 1 - self.groups

    def first_variant(self, names: list[str]) -> str:
        """The name of the first puzzle that is not the original of its group."""
        group = int(np.flatnonzero(np.diff(self._groups) > 1)[0])
        return self._name(int(self._groups[group]) + 1, names)

    def name(self, group: int, names: list[str]) -> str:
        """The name of a group's task, from the folder's list of names."""
        return split_variant(self._name(int(self._groups[group]), names))[0]

    def _name(self, puzzle: int, names: list[str]) -> str:
        identifier = int(self._arrays["puzzle_identifiers"][puzzle])
        if not 0 <= identifier < len(names):
            raise UserError(
                self._file("puzzle_identifiers"), f"identifier {identifier}, expected one of {len(names)} names"
            )
        return names[identifier]

    def pairs(self, group: int) -> tuple[Pair, ...]:
        """The pairs of the first puzzle of a group."""
        first = self._groups[group]
        rows = range(int(self._puzzles[first]), int(self._puzzles[first + 1]))
        return tuple(Pair(self._grid("inputs", row), self._grid("labels", row)) for row in rows)

    def boards(self, groups: int | None, variants: bool) -> list[Pair]:
        """The boards of the first groups, or of all for None; with ``variants`` those of all puzzles of a group."""
        starts = self._groups[: self.groups if groups is None else min(groups, self.groups)]
        if variants:
            end = self._puzzles[self._groups[len(starts)]]
            return [Pair(self._grid("inputs", row), self._grid("labels", row)) for row in range(int(end))]
        rows = (row for first in starts for row in range(int(self._puzzles[first]), int(self._puzzles[first + 1])))
        return [Pair(self._grid("inputs", row), self._grid("labels", row)) for row in rows]

    def variants_of_last(self, groups: int | None) -> int:
        """The number of boards in the last of the groups that :meth:`boards` gives with ``variants``."""
        end = self.groups if groups is None else min(groups, self.groups)
        return int(self._puzzles[self._groups[end]] - self._puzzles[self._groups[end - 1]])

    def _grid(self, name: str, row: int) -> Grid:
        tokens = np.asarray(self._arrays[name][row])
        canvas, colors = self._layout.canvas, self._layout.colors
        grid: Grid | None = None
        if colors is not None:
            if tokens.min() >= 1 and tokens.max() <= len(colors):
                grid = np.array(colors, dtype=np.uint8)[tokens - 1].reshape(canvas.height, canvas.width)
        elif tokens.min() >= 0 and tokens.max() < FIRST_COLOR + COLORS:
            cells = tokens.reshape(canvas.height, canvas.width)
            filled = np.argwhere(cells > EOS)
            grid = canvas.decode(tokens, *map(int, filled.min(axis=0))) if len(filled) else None
        if grid is None:
            raise UserError(self._file(name), f"row {row} is not a grid")
        return make_grid(grid)

    def _map(self, name: str) -> np.ndarray:
        file = self._file(name)
        try:
            os.close(open_regular(file))  # NumPy would wait for the writer of a FIFO.
            # Unlike np.load it reads .npy files only: a .npz archive with this name is refused.
            array = np.lib.format.open_memmap(file, mode="r")
        except UserError:
            raise
        except Exception as error:  # The header of a damaged file is Python text, which can make anything fail.
            what = " ".join(str(error).split())[:200] or type(error).__name__
            what = "it is a zip archive such as .npz, expected .npy" if zipfile.is_zipfile(file) else what
            raise UserError(file, f"cannot be read as an array: {what}") from None
        if array.dtype.kind not in "iu" or array.ndim == 0:
            raise UserError(file, f"a {array.ndim}-D array of {array.dtype}, expected an array of integers")
        return array

    def _bounds(self, name: str, end: int) -> np.ndarray:
        """An array of strictly increasing boundaries from 0 to ``end``."""
        bounds = np.asarray(self._arrays[name], dtype=np.int64)
        if bounds.ndim != 1 or len(bounds) < 2 or bounds[0] != 0 or bounds[-1] != end or (np.diff(bounds) < 1).any():
            raise UserError(self._file(name), f"expected strictly increasing boundaries from 0 to {end}")
        return bounds

    def _file(self, name: str) -> Path:
        return self.path / f"all__{name}.npy"


def _game(name: str, train: _Part, test: _Part | None, counts: Counts, variants: bool) -> Task:
    """A folder of boards without names, as one task."""
    boards = train.boards(counts.training, variants)
    if test is None:
        if counts.held_out is not None:
            raise UserError(train.path.parent, "has no boards in test, so there is no second number of boards")
        # Variants of the test board have its solution.
        demonstrations, tests = _last_as_test(boards, train.variants_of_last(counts.training) if variants else 1)
    else:
        demonstrations, tests = tuple(boards), tuple(test.boards(counts.held_out, variants=False))
    shapes = {
        grid.shape for pair in (*demonstrations, *tests) for grid in (pair.input, pair.output) if grid is not None
    }
    if len(shapes) > 1:
        sizes = " and ".join(f"{height} x {width}" for height, width in sorted(shapes)[:2])
        what = f"boards of {sizes}, expected one size; for a set of tasks, identifiers.json has to list their names"
        raise UserError(train.path.parent, what)
    return Task(name, demonstrations, tests, boards=True)


def read_identifiers(file: Path) -> list[str]:
    """The identifiers.json of a published set: a name for each row of its puzzle embedding.

    Raises:
        UserError: the file cannot be read, or is not a list of names.
    """
    names = _read(file)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(file, "expected a list of names")
    for number, name in enumerate(names):
        if what := name_problem(split_variant(name)[0]):
            raise UserError(file, f"[{number}]: {what}")
    return names


def _read(path: Path) -> Any:
    try:
        return read_json(path)
    except FileNotFoundError:
        raise UserError(path, "cannot be read: there is no such file") from None
