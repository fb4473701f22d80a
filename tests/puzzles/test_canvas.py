from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrm_arc.puzzles.canvas import (
    EOS,
    FULL,
    PAD,
    Canvas,
    clip,
    most_likely_grids,
    recolor,
    tokens_on_full,
    translate,
    visible_canvas,
)
from hrm_arc.puzzles.symmetry import Symmetry
from hrm_arc.puzzles.task import Grid, Pair, Task, make_grid
from tests.strategies import grids, symmetries, tasks


def test_a_grid_by_hand() -> None:
    tokens = Canvas(3, 4).encode(make_grid([[0, 9], [1, 2]]))
    assert tokens.reshape(3, 4).tolist() == [[2, 11, 1, 0], [3, 4, 1, 0], [1, 1, 0, 0]]


def test_eos_is_left_out_where_it_does_not_fit() -> None:
    assert Canvas(2, 2).encode(make_grid([[5, 5], [5, 5]])).tolist() == [7, 7, 7, 7]


@given(grids(), st.data())
def test_tokens_round_trip_from_any_corner(grid: Grid, data: st.DataObject) -> None:
    row = data.draw(st.integers(0, 30 - grid.shape[0]))
    column = data.draw(st.integers(0, 30 - grid.shape[1]))
    back = FULL.decode(FULL.encode(grid, row, column), row, column)
    assert back is not None
    assert np.array_equal(back, grid)


@given(grids(most=12), symmetries, st.integers(0, 8), st.integers(0, 8))
def test_recolored_and_translated_tokens_are_the_tokens_of_the_changed_grid(
    grid: Grid, symmetry: Symmetry, row: int, column: int
) -> None:
    tokens = translate(FULL.encode(grid)[None], FULL, np.array([[row, column]]))
    tokens = recolor(tokens, np.array([symmetry.colors], dtype=np.uint8))
    recolored = Symmetry(colors=symmetry.colors).apply(grid)
    assert np.array_equal(tokens[0], FULL.encode(recolored, row, column))


def test_too_large_a_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Canvas(2, 2).encode(make_grid([[1, 1, 1]]))
    with pytest.raises(ValueError, match="does not fit"):
        Canvas(3, 3).encode(make_grid([[1, 1]]), 0, 2)


@pytest.mark.parametrize(
    "tokens",
    [
        [[0, 0], [0, 0]],
        [[1, 5], [5, 5]],
        [[5, 5], [5, 0]],
    ],
    ids=["all padding", "EOS in the corner", "a hole"],
)
def test_tokens_without_a_grid_decode_to_none(tokens: list[list[int]]) -> None:
    assert Canvas(2, 2).decode(np.array(tokens)) is None


def test_decoding_reads_to_the_first_mark() -> None:
    grid = Canvas(3, 3).decode(np.array([[3, 4, 1], [5, 6, 0], [1, 9, 9]]))
    assert grid is not None
    assert grid.tolist() == [[1, 2], [3, 4]]


@given(tasks(most=30), grids())
def test_the_canvas_does_not_depend_on_test_outputs(task: Task, other: Grid) -> None:
    changed = replace(task, tests=tuple(Pair(test.input, other) for test in task.tests))
    assert visible_canvas(task) == visible_canvas(changed) == visible_canvas(task.blind())


@given(tasks(most=30))
def test_the_canvas_holds_everything_visible_with_its_marks(task: Task) -> None:
    canvas = visible_canvas(task)
    for grid in task.visible_grids():
        assert canvas.holds(grid)
        assert grid.shape[0] < canvas.height or canvas.height == 30
        assert grid.shape[1] < canvas.width or canvas.width == 30


@given(grids(most=8))
def test_an_answer_on_a_small_canvas_is_moved_to_the_full_canvas(grid: Grid) -> None:
    small = Canvas(9, 9)
    assert np.array_equal(tokens_on_full(small, small.encode(grid), complete=False), FULL.encode(grid))
    noisy = small.encode(grid)
    noisy[-1] = 7
    assert not np.array_equal(tokens_on_full(small, noisy, complete=False), FULL.encode(grid))
    assert np.array_equal(tokens_on_full(small, noisy, complete=True), FULL.encode(grid))


def test_an_unreadable_answer_is_never_completed() -> None:
    nothing = np.zeros(4, dtype=np.uint8)
    assert not tokens_on_full(Canvas(2, 2), nothing, complete=True).any()


def test_clipping_keeps_the_corner() -> None:
    full = np.arange(900).reshape(1, 900)
    assert clip(full, Canvas(2, 3))[0].tolist() == [0, 1, 2, 30, 31, 32]
    tall = make_grid([[1]] * 5)
    assert Canvas(3, 2).encode_clipped(tall).tolist() == [3, 1, 3, 1, 3, 1]


@given(grids(8), st.integers(0, 3), st.integers(0, 3))
def test_the_most_likely_grid_of_a_confident_answer_is_that_answer(grid: Grid, down: int, right: int) -> None:
    canvas = Canvas(grid.shape[0] + down, grid.shape[1] + right)
    tokens = canvas.encode(grid)
    logits = 9.0 * (np.arange(12) == tokens[:, None])
    # The model was not trained on padding, so its logits there are noise.
    noise = np.random.default_rng(0).normal(0, 3, logits.shape)
    logits = np.where((tokens == PAD)[:, None], noise, logits)
    (read,) = most_likely_grids(logits[None], canvas)
    assert np.array_equal(read, tokens)


def test_one_cell_of_noise_leaves_a_grid_readable() -> None:
    canvas, grid = Canvas(6, 6), make_grid([[1, 2, 3, 4]] * 4)
    tokens = canvas.encode(grid)
    tokens[7] = EOS  # Row 1, column 1: inside the grid.
    logits = 5.0 * (np.arange(12) == tokens[:, None])
    logits[7, 8] = 4.0
    assert canvas.decode(tokens) is None
    read = canvas.decode(most_likely_grids(logits[None], canvas)[0])
    assert read is not None
    assert read.tolist() == [[1, 2, 3, 4], [1, 6, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4]]
