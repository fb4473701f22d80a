"""Grid <-> tokens; what PAD, EOS and the colour offset are is said here.

A grid lies in the top left corner of a canvas (or at an offset inside it); EOS marks
the row under it and the column right of it where those are inside the canvas; the
rest is PAD.
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
FIRST_COLOUR = 2
VOCABULARY = 12

# What a puzzle is drawn on: 30 x 30, the smallest canvas for what is visible of it, or the
# smallest of a few squares that holds that one.
CanvasKind = Literal["full", "cropped", "squares"]
SIDES = (4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 27, MAX_SIDE)


@dataclass(frozen=True, order=True)
class Canvas:
    """A rectangle of ``height`` x ``width`` cells that grids are written on."""

    height: int
    width: int

    @property
    def cells(self) -> int:
        return self.height * self.width

    def holds(self, grid: Grid) -> bool:
        """Whether the grid fits (its EOS marks need not)."""
        return grid.shape[0] <= self.height and grid.shape[1] <= self.width

    def transposed(self) -> Canvas:
        return Canvas(self.width, self.height)

    def encode(self, grid: Grid, row: int = 0, column: int = 0) -> np.ndarray:
        """Tokens ``[height * width]`` (uint8) of a grid whose corner lies at (row, column).

        Raises:
            ValueError: the grid does not fit there.
        """
        bottom, right = row + grid.shape[0], column + grid.shape[1]
        if bottom > self.height or right > self.width:
            raise ValueError(f"a grid of {grid.shape} at ({row}, {column}) does not fit {self}")
        tokens = np.zeros((self.height, self.width), dtype=np.uint8)
        tokens[row:bottom, column:right] = grid + FIRST_COLOUR
        if bottom < self.height:
            tokens[bottom, column:right] = EOS
        if right < self.width:
            tokens[row:bottom, right] = EOS
        return tokens.reshape(-1)

    def encode_clipped(self, grid: Grid) -> np.ndarray:
        """Tokens ``[height * width]`` of a grid in the corner; what does not fit is cut off."""
        if self.holds(grid):
            return self.encode(grid)
        return clip(FULL.encode(grid)[None], self)[0]

    def decode(self, tokens: np.ndarray, row: int = 0, column: int = 0) -> Grid | None:
        """The grid whose corner lies at (row, column) of tokens ``[height * width]``.

        Going right and down from that corner, the first token that is no colour ends
        the grid; every cell in between has to be a colour, or there is no grid: None.
        """
        cells = np.asarray(tokens).reshape(self.height, self.width)[row:, column:]
        height, width = _run_of_colours(cells[:, 0]), _run_of_colours(cells[0])
        inside = cells[:height, :width]
        if inside.size == 0 or bool((inside < FIRST_COLOUR).any()):
            return None
        return (inside - FIRST_COLOUR).astype(np.uint8)


FULL = Canvas(MAX_SIDE, MAX_SIDE)


def smallest_canvas(grids: Iterable[Grid]) -> Canvas:
    """The smallest canvas that holds every grid, with room for EOS where there is any."""
    shapes = np.array([grid.shape for grid in grids])
    height, width = np.minimum(shapes.max(axis=0) + 1, MAX_SIDE)
    return Canvas(int(height), int(width))


def visible_canvas(task: Task) -> Canvas:
    """The smallest canvas for what a solver may see of a task; no test output counts.

    It holds 411 of the 419 test outputs of ARC-AGI-1's evaluation tasks. Boards are all of
    one size, so theirs needs no room for EOS.
    """
    grids = task.visible_grids()
    return Canvas(*grids[0].shape) if task.boards else smallest_canvas(grids)


def placed(own: Canvas, kind: CanvasKind) -> Canvas:
    """The canvas that a puzzle is drawn on, given the smallest one for what is visible of it.

    Squares are the same under every turn, and few: samples of many puzzles lie on one canvas
    and go through a model together.
    """
    if kind == "full":
        return FULL
    if kind == "cropped":
        return own
    side = next(side for side in SIDES if side >= max(own.height, own.width))
    return Canvas(side, side)


def clip(tokens: np.ndarray, canvas: Canvas) -> np.ndarray:
    """The part of tokens ``[n, 900]`` on the full canvas that a smaller canvas covers."""
    rows = tokens.reshape(-1, FULL.height, FULL.width)[:, : canvas.height, : canvas.width]
    return rows.reshape(len(tokens), canvas.cells)


def tokens_on_full(canvas: Canvas, tokens: np.ndarray, complete: bool) -> np.ndarray:
    """Tokens ``[height * width]`` as they stand on the full canvas, ``[900]``.

    The log's token accuracy is counted there. Outside a cropped canvas lies PAD.

    Args:
        canvas: where the tokens come from.
        tokens: one answer's tokens.
        complete: the model was never trained on padding, so what it says there means
            nothing: the readable grid is written out afresh, with its EOS marks.
    """
    grid = canvas.decode(tokens) if complete else None
    if grid is not None:
        return FULL.encode(grid)
    full = np.zeros((FULL.height, FULL.width), dtype=np.uint8)
    full[: canvas.height, : canvas.width] = np.asarray(tokens).reshape(canvas.height, canvas.width)
    return full.reshape(-1)


def most_likely_grids(logits: np.ndarray, canvas: Canvas) -> np.ndarray:
    """The tokens ``[n, cells]`` of each answer's most likely grid in the corner, with its EOS marks.

    A model that was not trained on padding says nothing meaningful beyond a grid's marks, and one
    cell of noise inside would leave no readable grid. So of all sizes the one is chosen at which
    cells inside look most like colours and the marks most like EOS, by the mean logarithm of
    those probabilities over the cells that it has a say about.

    Args:
        logits: ``[n, cells, 12]``.
        canvas: where they lie.
    """
    height, width = canvas.height, canvas.width
    cells = logits.reshape(-1, height, width, VOCABULARY).astype(np.float64)
    colour, end = np.logaddexp.reduce(cells[..., FIRST_COLOUR:], axis=-1), cells[..., EOS]
    either = np.logaddexp(colour, end)
    inside = (colour - either).cumsum(axis=1).cumsum(axis=2)
    ends = end - either
    # [n, h - 1, w - 1]: the marks under and right of a grid of h x w, where they are on the canvas.
    below = np.pad(ends.cumsum(axis=2)[:, 1:], ((0, 0), (0, 1), (0, 0)))
    right = np.pad(ends.cumsum(axis=1)[:, :, 1:], ((0, 0), (0, 0), (0, 1)))
    h, w = np.arange(1, height + 1)[:, None], np.arange(1, width + 1)
    said = h * w + w * (h < height) + h * (w < width)
    best = ((inside + below + right) / said).reshape(len(cells), -1).argmax(axis=1)
    bottom, side = (best // width + 1)[:, None, None], (best % width + 1)[:, None, None]
    row, column = np.arange(height)[:, None], np.arange(width)
    tokens = cells[..., FIRST_COLOUR:].argmax(axis=-1) + FIRST_COLOUR
    marks = ((row == bottom) & (column < side)) | ((column == side) & (row < bottom))
    tokens = np.where((row < bottom) & (column < side), tokens, np.where(marks, EOS, PAD))
    return tokens.astype(np.uint8).reshape(len(cells), canvas.cells)


def recolour(tokens: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Tokens ``[n, cells]`` with each sample's colour map ``[n, 10]`` applied."""
    table = np.tile(np.arange(VOCABULARY, dtype=np.uint8), (len(colours), 1))
    table[:, FIRST_COLOUR:] = colours + FIRST_COLOUR
    starts = np.arange(len(colours), dtype=np.int32)[:, None] * VOCABULARY
    return table.reshape(-1)[tokens + starts]


def shift(tokens: np.ndarray, canvas: Canvas, offsets: np.ndarray) -> np.ndarray:
    """Tokens ``[n, cells]`` moved down and right by each sample's ``offsets`` ``[n, 2]``."""
    # Down and right is along the row of cells; what comes in from the left is padding.
    count, cells = tokens.shape
    led = np.zeros((count, 2 * cells), dtype=np.uint8)
    led[:, cells:] = tokens
    starts = np.arange(count) * 2 * cells + cells - offsets[:, 0] * canvas.width - offsets[:, 1]
    moved = sliding_window_view(led.reshape(-1), cells)[starts].reshape(count, canvas.height, canvas.width)
    # What went over the right edge came back in on the left.
    moved *= (np.arange(canvas.width) >= offsets[:, 1:])[:, None]
    return moved.reshape(count, cells)


def _run_of_colours(line: np.ndarray) -> int:
    """How many colours ``line`` starts with."""
    ends = np.flatnonzero(line < FIRST_COLOUR)
    return int(ends[0]) if len(ends) else len(line)
