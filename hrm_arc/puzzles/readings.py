"""How a model's tokens are read as a grid: by likelihood, or by the rule of the published evaluations."""

from __future__ import annotations

from typing import Literal

import numpy as np

from hrm_arc.puzzles.canvas import EOS, FIRST_COLOR, PAD, VOCABULARY, Canvas, most_likely_grids

# ``likely``: the most likely grid of a model that was trained without padding; the tokens of another one as they are.
# ``published``: the largest rectangle of colors, see :func:`largest_rectangles`.
Reading = Literal["likely", "published"]


def read_tokens(logits: np.ndarray, canvas: Canvas, ignores_padding: bool, reading: Reading) -> np.ndarray:
    """The tokens that a model's logits say, ``[n, cells]``, uint8.

    Args:
        logits: ``[n, cells, 12]``.
        canvas: of the samples.
        ignores_padding: the model was not trained on padding, so that its tokens there say nothing.
        reading: ``likely``: of such a model the most likely grid, else the most likely token of each cell;
            ``published``: the largest rectangle of colors at the corner.
    """
    if ignores_padding and reading == "likely":
        return most_likely_grids(logits, canvas)
    tokens = logits.argmax(axis=-1).astype(np.uint8)
    return largest_rectangles(tokens, canvas) if reading == "published" else tokens


def largest_rectangles(tokens: np.ndarray, canvas: Canvas) -> np.ndarray:
    """The largest rectangle of colors at the top left corner of each answer, with its EOS marks.

    This is how the evaluations of HRM and TRM read an answer: of all rectangles at the corner that hold colors only,
    the one with the most cells; of two with as many cells, the one with fewer rows. A single wrong token inside a grid
    makes it smaller, and a wrong EOS mark can make it larger.

    Args:
        tokens: the most likely token of each cell, ``[n, cells]``.
        canvas: the canvas of the tokens.

    Returns:
        Tokens ``[n, cells]``, uint8; padding everywhere for an answer whose first cell is no color. There the
        published evaluations count an empty, wrong grid; here it counts as no answer.
    """
    cells = np.asarray(tokens).reshape(-1, canvas.height, canvas.width)
    colors = (cells >= FIRST_COLOR) & (cells < VOCABULARY)
    # [n, height]: colors at the start of each row, and of the shortest row so far.
    runs = np.where(colors.all(axis=2), canvas.width, (~colors).argmax(axis=2))
    widths = np.minimum.accumulate(runs, axis=1)
    last = (widths * np.arange(1, canvas.height + 1)).argmax(axis=1)
    width = np.take_along_axis(widths, last[:, None], axis=1)[..., None]
    height = np.where(width > 0, last[:, None, None] + 1, 0)
    row, column = np.arange(canvas.height)[:, None], np.arange(canvas.width)
    marks = ((row == height) & (column < width)) | ((column == width) & (row < height))
    read = np.where((row < height) & (column < width), cells, np.where(marks, EOS, PAD))
    return read.astype(np.uint8).reshape(len(cells), canvas.cells)
