"""The published rule of reading a grid, by hand and against its definition in loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrm_arc.puzzles.canvas import EOS, PAD, Canvas
from hrm_arc.puzzles.readings import largest_rectangles


def read(rows: list[list[int]]) -> list[list[int]] | None:
    cells = np.array(rows, dtype=np.uint8)
    canvas = Canvas(*cells.shape)
    grid = canvas.decode(largest_rectangles(cells.reshape(1, -1), canvas)[0])
    return None if grid is None else grid.tolist()


@pytest.mark.parametrize(
    ("tokens", "grid"),
    [
        # A grid with its marks, and one that fills the canvas.
        ([[2, 3, 1], [4, 5, 1], [1, 1, 0]], [[0, 1], [2, 3]]),
        ([[2, 3], [4, 11]], [[0, 1], [2, 9]]),
        # One wrong cell inside: two rows of one column, or one row of two, are the same size; fewer rows win.
        ([[2, 3], [4, 1]], [[0, 1]]),
        # Three rows of two are more than one row of four.
        ([[2, 2, 2, 2], [2, 2, 1, 2], [2, 2, 2, 2]], [[0, 0], [0, 0], [0, 0]]),
        # A row of five is more than two rows of two.
        ([[2, 2, 2, 2, 2], [2, 2, 1, 2, 2]], [[0, 0, 0, 0, 0]]),
        # Padding ends a row as EOS does; what lies beyond does not count, however large it is.
        ([[2, 0, 2, 2], [2, 0, 2, 2], [2, 0, 2, 2]], [[0], [0], [0]]),
        # The first cell is no color.
        ([[1, 2], [2, 2]], None),
        ([[0, 2], [2, 2]], None),
    ],
)
def test_by_hand(tokens: list[list[int]], grid: list[list[int]] | None) -> None:
    assert read(tokens) == grid


@given(st.integers(1, 6), st.integers(1, 6), st.data())
def test_it_is_the_first_of_the_largest_rectangles_of_colors(height: int, width: int, data: st.DataObject) -> None:
    token = st.sampled_from([PAD, EOS, *range(2, 12), *range(2, 12)])
    rows = data.draw(st.lists(st.lists(token, min_size=width, max_size=width), min_size=height, max_size=height))
    best: list[list[int]] | None = None
    for h in range(1, height + 1):
        for w in range(1, width + 1):
            part = [row[:w] for row in rows[:h]]
            larger = best is None or h * w > len(best) * len(best[0])
            if larger and all(cell > EOS for row in part for cell in row):
                best = part
    assert read(rows) == (None if best is None else [[cell - 2 for cell in row] for row in best])


def test_many_answers_are_read_each_by_itself() -> None:
    tokens = np.array([[2, 3, 1, 0], [1, 2, 2, 2], [2, 2, 2, 2]], dtype=np.uint8)
    assert largest_rectangles(tokens, Canvas(2, 2)).tolist() == [[2, 3, 1, 1], [0, 0, 0, 0], [2, 2, 2, 2]]
