"""Conversion between grids and tokens, and the vocabulary: PAD 0, EOS 1, colors 0-9 as 2-11.

A grid is written in the top left corner of a canvas, or at an offset inside it. EOS marks the
row below the grid and the column to the right of it, where these are inside the canvas. The
other cells are PAD.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from hrm_arc.puzzles.task import MAX_SIDE, Grid, Task

PAD = 0
EOS = 1
FIRST_COLOR = 2
VOCABULARY = 12

# The canvas of a puzzle: 30 x 30; the smallest canvas for the visible grids; or the smallest
# square of SIDES that holds the latter.
CanvasKind = Literal["full", "cropped", "squares"]
SIDES = (4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 27, MAX_SIDE)


@dataclass(frozen=True, order=True)
class Canvas:
    """A rectangle of cells that grids are written on.

    Attributes:
        height: rows.
        width: columns.
    """

    height: int
    width: int

    @property
    def cells(self) -> int:
        """The number of cells, ``height * width``."""
        return self.height * self.width

    def holds(self, grid: Grid) -> bool:
        """Whether the grid fits on the canvas; its EOS marks may be outside."""
        return grid.shape[0] <= self.height and grid.shape[1] <= self.width

    def transposed(self) -> Canvas:
        """The canvas with height and width exchanged."""
        return Canvas(self.width, self.height)

    def encode(self, grid: Grid, row: int = 0, column: int = 0) -> np.ndarray:
        """The tokens of a grid.

        Args:
            grid: the grid.
            row: the canvas row of the grid's top left corner.
            column: the canvas column of that corner.

        Returns:
            Tokens ``[height * width]``, uint8.

        Raises:
            ValueError: the grid does not fit there.
        """
        bottom, right = row + grid.shape[0], column + grid.shape[1]
        if bottom > self.height or right > self.width:
            raise ValueError(f"a grid of {grid.shape} at ({row}, {column}) does not fit {self}")
        tokens = np.zeros((self.height, self.width), dtype=np.uint8)
        tokens[row:bottom, column:right] = grid + FIRST_COLOR
        if bottom < self.height:
            tokens[bottom, column:right] = EOS
        if right < self.width:
            tokens[row:bottom, right] = EOS
        return tokens.reshape(-1)

    def encode_clipped(self, grid: Grid) -> np.ndarray:
        """The tokens ``[height * width]`` of a grid in the top left corner; cells that do not fit are cut off."""
        if self.holds(grid):
            return self.encode(grid)
        return clip(FULL.encode(grid)[None], self)[0]

    def decode(self, tokens: np.ndarray, row: int = 0, column: int = 0) -> Grid | None:
        """The grid in some tokens.

        The width is the number of consecutive colors from the corner to the right, and the height is the
        number of consecutive colors from the corner down. Every cell inside has to be a color.

        Args:
            tokens: ``[height * width]``.
            row: the canvas row of the grid's top left corner.
            column: the canvas column of that corner.

        Returns:
            The grid, or None if there is no valid grid.
        """
        cells = np.asarray(tokens).reshape(self.height, self.width)[row:, column:]
        height, width = _run_of_colors(cells[:, 0]), _run_of_colors(cells[0])
        inside = cells[:height, :width]
        if inside.size == 0 or bool((inside < FIRST_COLOR).any()):
            return None
        return (inside - FIRST_COLOR).astype(np.uint8)


FULL = Canvas(MAX_SIDE, MAX_SIDE)


def smallest_canvas(grids: Iterable[Grid]) -> Canvas:
    """The smallest canvas that holds every grid with its EOS marks, at most 30 x 30."""
    shapes = np.array([grid.shape for grid in grids])
    height, width = np.minimum(shapes.max(axis=0) + 1, MAX_SIDE)
    return Canvas(int(height), int(width))


def visible_canvas(task: Task) -> Canvas:
    """The smallest canvas for the grids of a task that a solver may see; test outputs are not read.

    It holds 411 of the 419 test outputs of ARC-AGI-1's evaluation tasks. The boards of a game have
    one size, so their canvas has no room for EOS.
    """
    grids = task.visible_grids()
    return Canvas(*grids[0].shape) if task.boards else smallest_canvas(grids)


def placed(own: Canvas, kind: CanvasKind) -> Canvas:
    """The canvas of a puzzle.

    ``squares`` puts the samples of many puzzles on one canvas, and so into one batch: there are few
    squares, and a dihedral transform does not change them.

    Args:
        own: the smallest canvas for the visible grids of the puzzle.
        kind: which kind of canvas to use.
    """
    if kind == "full":
        return FULL
    if kind == "cropped":
        return own
    side = next(side for side in SIDES if side >= max(own.height, own.width))
    return Canvas(side, side)


def clip(tokens: np.ndarray, canvas: Canvas) -> np.ndarray:
    """The top left part of tokens ``[n, 900]`` on the full canvas, ``[n, canvas.cells]``."""
    rows = tokens.reshape(-1, FULL.height, FULL.width)[:, : canvas.height, : canvas.width]
    return rows.reshape(len(tokens), canvas.cells)


def tokens_on_full(canvas: Canvas, tokens: np.ndarray, complete: bool) -> np.ndarray:
    """Tokens moved from a smaller canvas to the full canvas; cells outside the smaller one are PAD.

    The token accuracy of the training log in docs/plateau.md is counted on the full canvas.

    Args:
        canvas: the canvas of the tokens.
        tokens: the tokens of one answer, ``[height * width]``.
        complete: whether to decode the grid and encode it again with its EOS marks. This is right for a
            model that was not trained on padding, whose tokens outside the grid have no meaning.

    Returns:
        Tokens ``[900]``, uint8.
    """
    grid = canvas.decode(tokens) if complete else None
    if grid is not None:
        return FULL.encode(grid)
    full = np.zeros((FULL.height, FULL.width), dtype=np.uint8)
    full[: canvas.height, : canvas.width] = np.asarray(tokens).reshape(canvas.height, canvas.width)
    return full.reshape(-1)


def most_likely_grids(logits: np.ndarray, canvas: Canvas) -> np.ndarray:
    """The most likely grid of each answer, in the top left corner, with its EOS marks.

    For a model that was not trained on padding, the tokens beyond the EOS marks have no meaning, and
    one wrong cell inside a grid would make it invalid. Therefore the size of the grid is chosen by
    likelihood: the mean log-probability that the cells inside are colors and the marks are EOS.

    Args:
        logits: ``[n, cells, 12]``.
        canvas: the canvas of the logits.

    Returns:
        Tokens ``[n, cells]``, uint8.
    """
    height, width = canvas.height, canvas.width
    cells = logits.reshape(-1, height, width, VOCABULARY).astype(np.float64)
    color, end = np.logaddexp.reduce(cells[..., FIRST_COLOR:], axis=-1), cells[..., EOS]
    either = np.logaddexp(color, end)
    inside = (color - either).cumsum(axis=1).cumsum(axis=2)
    ends = end - either
    # [n, h - 1, w - 1]: the marks below and to the right of a grid of h x w, where they are on the canvas.
    below = np.pad(ends.cumsum(axis=2)[:, 1:], ((0, 0), (0, 1), (0, 0)))
    right = np.pad(ends.cumsum(axis=1)[:, :, 1:], ((0, 0), (0, 0), (0, 1)))
    h, w = np.arange(1, height + 1)[:, None], np.arange(1, width + 1)
    counted = h * w + w * (h < height) + h * (w < width)
    best = ((inside + below + right) / counted).reshape(len(cells), -1).argmax(axis=1)
    bottom, side = (best // width + 1)[:, None, None], (best % width + 1)[:, None, None]
    row, column = np.arange(height)[:, None], np.arange(width)
    tokens = cells[..., FIRST_COLOR:].argmax(axis=-1) + FIRST_COLOR
    marks = ((row == bottom) & (column < side)) | ((column == side) & (row < bottom))
    tokens = np.where((row < bottom) & (column < side), tokens, np.where(marks, EOS, PAD))
    return tokens.astype(np.uint8).reshape(len(cells), canvas.cells)


def recolor(tokens: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Tokens ``[n, cells]`` after the color map ``[n, 10]`` of each sample."""
    table = np.tile(np.arange(VOCABULARY, dtype=np.uint8), (len(colors), 1))
    table[:, FIRST_COLOR:] = colors + FIRST_COLOR
    starts = np.arange(len(colors), dtype=np.int32)[:, None] * VOCABULARY
    return table.reshape(-1)[tokens + starts]


def translate(tokens: np.ndarray, canvas: Canvas, offsets: np.ndarray) -> np.ndarray:
    """Tokens ``[n, cells]`` moved down and to the right by the ``offsets`` ``[n, 2]`` of each sample."""
    # In the flat array a move down or right is one shift; PAD comes in at the front.
    count, cells = tokens.shape
    padded = np.zeros((count, 2 * cells), dtype=np.uint8)
    padded[:, cells:] = tokens
    starts = np.arange(count) * 2 * cells + cells - offsets[:, 0] * canvas.width - offsets[:, 1]
    moved = sliding_window_view(padded.reshape(-1), cells)[starts].reshape(count, canvas.height, canvas.width)
    # Cells beyond the right edge have moved to the left of the next row; remove them.
    moved *= (np.arange(canvas.width) >= offsets[:, 1:])[:, None]
    return moved.reshape(count, cells)


def _run_of_colors(line: np.ndarray) -> int:
    """The number of colors at the start of ``line``."""
    ends = np.flatnonzero(line < FIRST_COLOR)
    return int(ends[0]) if len(ends) else len(line)
