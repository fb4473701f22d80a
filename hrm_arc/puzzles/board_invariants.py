"""Boards compared up to the symmetries of their game, by a number that symmetries do not change."""

from __future__ import annotations

import numpy as np

from hrm_arc.puzzles.board_symmetry import BOXES, board_group
from hrm_arc.puzzles.counter_rng import mix


def invariants(game: str, side: int, boards: np.ndarray) -> np.ndarray:
    """A number for each board that all its images under the game's symmetries share.

    Boards with different numbers are no images of each other. The reverse is not certain, but nearly always true: two
    boards without a common image rarely share a number. For a Sudoku this is a sum of cell colors after two rounds of
    refinement (Weisfeiler and Leman 1968) over rows, bands, columns, stacks, boxes and digits; for a maze, the least
    hash of its eight images.

    Args:
        game, side: of the boards.
        boards: ``[n, cells]``, uint8.

    Returns:
        ``[n]``, uint64.
    """
    return _of_mazes(side, boards) if game == "maze" else _of_sudokus(side, boards)


def _of_mazes(side: int, boards: np.ndarray) -> np.ndarray:
    group = board_group("maze", side)
    places, _ = group.elements(np.arange(group.order))
    cells = np.arange(side * side)
    hashes = [mix(cells, boards[:, image]).sum(axis=1, dtype=np.uint64) for image in places]
    return np.asarray(np.min(hashes, axis=0))


def _of_sudokus(side: int, boards: np.ndarray) -> np.ndarray:
    count, (height, width) = len(boards), BOXES[side]
    rows, columns = np.indices((side, side))
    box = (rows // height * (side // width) + columns // width).reshape(-1)
    in_boxes = (box[:, None] == np.arange(side)).astype(np.uint64)
    # One column for each digit, and a first one for blanks.
    has_digit = (boards[..., None] == np.arange(side + 1)).astype(np.uint64)
    cell = (boards > 0).astype(np.uint64).reshape(count, side, side)
    for _ in range(2):
        row, column, flat = cell.sum(axis=2), cell.sum(axis=1), cell.reshape(count, -1)
        band = np.repeat(row.reshape(count, -1, height).sum(axis=2), height, axis=1)
        stack = np.repeat(column.reshape(count, -1, width).sum(axis=2), width, axis=1)
        of_box = (flat @ in_boxes)[:, box].reshape(cell.shape)
        of_digit = (flat[:, None] @ has_digit)[:, 0]
        # Each cell gets the sum over all cells with its digit (column 0: over the blanks).
        of_digit = np.take_along_axis(of_digit, boards.astype(np.int64), axis=1).reshape(cell.shape)
        down, across = mix(row, band)[:, :, None], mix(column, stack)[:, None]
        # A transposition exchanges rows and columns, where there is one.
        lines = down + across if height == width else mix(down, across)
        cell = mix(cell, lines, of_box, of_digit)
    return np.asarray(cell.reshape(count, -1).sum(axis=1, dtype=np.uint64))
