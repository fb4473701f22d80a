"""The symmetries of a game's boards: those of a Sudoku, and the dihedral ones of a maze.

A symmetry moves cells and renames colors, and turns each board of the game into another one, together with its
solution. A Sudoku may have its digits permuted, its bands, its stacks, the rows within a band and the columns within
a stack; where boxes are square, it may be transposed. A maze may be rotated and reflected.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass

import numpy as np

from hrm_arc.puzzles.symmetry import DIHEDRALS, turn
from hrm_arc.puzzles.task import COLORS, Grid

# Height and width of a Sudoku's boxes, by the side of the board.
BOXES = {4: (2, 2), 6: (2, 3), 9: (3, 3)}


@dataclass(frozen=True)
class BoardSymmetry:
    """A symmetry of square boards. ``a @ b`` is the symmetry that applies ``b`` first, then ``a``.

    Attributes:
        places: for each cell of the image, in row order, the cell of the board that moves there.
        colors: the new color of each color 0-9.

    Raises:
        ValueError: these are not permutations.
    """

    places: tuple[int, ...]
    colors: tuple[int, ...] = tuple(range(COLORS))

    def __post_init__(self) -> None:
        if sorted(self.places) != list(range(len(self.places))) or sorted(self.colors) != list(range(COLORS)):
            raise ValueError("the places or the colors of a symmetry are not a permutation")

    def apply(self, board: Grid) -> Grid:
        """The image of a board ``[side, side]``; a new array."""
        moved = board.reshape(-1)[list(self.places)].reshape(board.shape)
        return np.array(self.colors, dtype=np.uint8)[moved]

    def inverse(self) -> BoardSymmetry:
        """The symmetry that undoes this one."""
        places, colors = (tuple(np.argsort(each).tolist()) for each in (self.places, self.colors))
        return BoardSymmetry(places, colors)

    def __matmul__(self, first: BoardSymmetry) -> BoardSymmetry:
        """The symmetry that applies ``first``, then this one."""
        places = tuple(first.places[place] for place in self.places)
        return BoardSymmetry(places, tuple(self.colors[color] for color in first.colors))


class BoardGroup:
    """All symmetries of the boards of a game, numbered; number 0 is the identity.

    Args:
        game: ``sudoku`` (sides 4, 6 and 9) or ``maze`` (any side).
        side: the side of a board.

    Attributes:
        order: the number of symmetries.
    """

    def __init__(self, game: str, side: int):
        self.game, self.side = game, side
        cells = np.arange(side * side).reshape(side, side)
        if game == "sudoku":
            height, width = BOXES[side]
            # Columns first, then rows, then the transposition.
            self._rows, self._columns = _lines(side // height, height), _lines(side // width, width)
            self._frames = np.stack([cells.reshape(-1), cells.T.reshape(-1)][: 1 + (height == width)])
            self._digits = side
        else:
            self._rows = self._columns = np.arange(side)[None]
            self._frames = np.stack([turn(cells, dihedral).reshape(-1) for dihedral in range(DIHEDRALS)])
            self._digits = 0
        self.order = len(self._frames) * len(self._rows) * len(self._columns) * math.factorial(self._digits)

    def elements(self, rank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The symmetries with the given numbers.

        Args:
            rank: numbers in ``range(self.order)``, ``[n]``.

        Returns:
            places ``[n, cells]`` (int64) and colors ``[n, 10]`` (uint8), as in :class:`BoardSymmetry`.
        """
        left, frame = np.divmod(np.asarray(rank, dtype=np.int64), len(self._frames))
        left, row = np.divmod(left, len(self._rows))
        left, column = np.divmod(left, len(self._columns))
        moved = self._rows[row][:, :, None] * self.side + self._columns[column][:, None]
        moved = np.take_along_axis(moved.reshape(len(moved), -1), self._frames[frame], axis=1)
        colors = np.tile(np.arange(COLORS, dtype=np.uint8), (len(left), 1))
        if self._digits:
            colors[:, 1 : 1 + self._digits] = 1 + _permutations(left, self._digits)
        return moved, colors

    def symmetry(self, rank: int) -> BoardSymmetry:
        """The symmetry with one number."""
        places, colors = self.elements(np.array([rank]))
        return BoardSymmetry(tuple(places[0].tolist()), tuple(colors[0].tolist()))

    def rank(self, symmetry: BoardSymmetry) -> int | None:
        """The number of a symmetry, or None if it is not in this group."""
        places = np.array(symmetry.places)
        rank = _rank_of(np.array(symmetry.colors[1 : 1 + self._digits]) - 1) if self._digits else 0
        for frame in range(len(self._frames)):
            # Without the frame, what is left is a permutation of rows and one of columns, if it is in the group.
            plain = places[np.argsort(self._frames[frame])].reshape(self.side, self.side)
            rows, columns = plain[:, 0] // self.side, plain[0] % self.side
            row, column = _find(self._rows, rows), _find(self._columns, columns)
            if row is not None and column is not None:
                number = ((rank * len(self._columns) + column) * len(self._rows) + row) * len(self._frames) + frame
                if number < self.order and self.symmetry(number) == symmetry:
                    return number
        return None


@functools.cache
def board_group(game: str, side: int) -> BoardGroup:
    """The group of a game's boards; its tables are made once."""
    return BoardGroup(game, side)


def images(boards: np.ndarray, places: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Boards under symmetries, ``[n, cells]``.

    Args:
        boards: ``[n, cells]``.
        places, colors: of each symmetry, see :meth:`BoardGroup.elements`.
    """
    moved = np.take_along_axis(boards, places, axis=1)
    return np.take_along_axis(colors, moved.astype(np.int64), axis=1)


def _lines(blocks: int, size: int) -> np.ndarray:
    """Every order of lines that permutes blocks and the lines within each block, ``[orders, blocks * size]``."""
    inner = list(itertools.permutations(range(size)))
    return np.array(
        [
            [block * size + line for block, order in zip(blocks_order, orders, strict=True) for line in order]
            for blocks_order in itertools.permutations(range(blocks))
            for orders in itertools.product(inner, repeat=blocks)
        ]
    )


def _permutations(rank: np.ndarray, size: int) -> np.ndarray:
    """The permutations of ``range(size)`` with the given numbers, in lexicographic order, ``[n, size]``."""
    chosen = np.empty((len(rank), size), dtype=np.uint8)
    left = np.tile(np.arange(size, dtype=np.uint8), (len(rank), 1))
    for place in range(size):
        digit, rank = np.divmod(rank, math.factorial(size - 1 - place))
        chosen[:, place] = np.take_along_axis(left, digit[:, None], axis=1)[:, 0]
        left = left[np.arange(size - place) != digit[:, None]].reshape(len(rank), -1)
    return chosen


def _rank_of(permutation: np.ndarray) -> int:
    """The inverse of :func:`_permutations`, for one permutation."""
    later = [int((permutation[place + 1 :] < value).sum()) for place, value in enumerate(permutation)]
    return sum(count * math.factorial(len(permutation) - 1 - place) for place, count in enumerate(later))


def _find(table: np.ndarray, row: np.ndarray) -> int | None:
    found = np.flatnonzero((table == row).all(axis=1))
    return int(found[0]) if len(found) else None
