"""The symmetries of boards are groups of the right order that map boards to boards."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrm_arc.puzzles.board_invariants import invariants
from hrm_arc.puzzles.board_symmetry import BOXES, BoardSymmetry, board_group
from hrm_arc.puzzles.boards import generate, solutions
from hrm_arc.puzzles.rules import is_valid
from hrm_arc.puzzles.symmetry import DIHEDRALS, turn
from hrm_arc.puzzles.task import make_grid

BOARDS = [("sudoku", 4), ("sudoku", 6), ("sudoku", 9), ("maze", 5), ("maze", 9)]


def test_the_orders_by_hand() -> None:
    # Digits, then bands with the rows in them, then stacks with the columns in them, then the transposition.
    assert board_group("sudoku", 4).order == 24 * (2 * 2**2) * (2 * 2**2) * 2
    # Three bands of two rows, two stacks of three columns; boxes are not square.
    assert board_group("sudoku", 6).order == 720 * (6 * 2**3) * (2 * 6**2)
    assert board_group("sudoku", 9).order == math.factorial(9) * (6 * 6**3) ** 2 * 2 == 1_218_998_108_160
    assert board_group("maze", 11).order == 8


@pytest.mark.parametrize("kind", BOARDS, ids=str)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_group(kind: tuple[str, int], data: st.DataObject) -> None:
    group = board_group(*kind)
    ranks = [data.draw(st.integers(0, group.order - 1)) for _ in range(3)]
    a, b, c = map(group.symmetry, ranks)
    identity = group.symmetry(0)
    assert [group.rank(each) for each in (a, b, c)] == ranks
    assert identity.places == tuple(range(kind[1] ** 2))
    assert identity.colors == tuple(range(10))
    assert (a @ b) @ c == a @ (b @ c)
    assert a @ identity == identity @ a == a
    assert a @ a.inverse() == a.inverse() @ a == identity
    assert group.rank(a @ b) is not None
    assert group.rank(a.inverse()) is not None
    board = make_grid(np.arange(kind[1] ** 2).reshape(kind[1], -1) % 10)
    assert np.array_equal((a @ b).apply(board), a.apply(b.apply(board)))
    assert np.array_equal(a.inverse().apply(a.apply(board)), board)


def test_every_number_is_another_symmetry() -> None:
    for kind in (("sudoku", 4), ("maze", 5)):
        group = board_group(*kind)
        places, colors = group.elements(np.arange(group.order))
        assert len(np.unique(np.concatenate([places, colors], axis=1), axis=0)) == group.order


def test_the_symmetries_of_a_maze_are_the_dihedral_transforms() -> None:
    board = make_grid(np.arange(25).reshape(5, 5) % 7)
    found = [board_group("maze", 5).symmetry(number).apply(board) for number in range(DIHEDRALS)]
    assert all(np.array_equal(image, turn(board, number)) for number, image in enumerate(found))


def test_what_is_not_in_the_group_has_no_number() -> None:
    cells = np.arange(16).reshape(4, 4)
    # Rows 1 and 2 are in different bands.
    swapped = tuple(cells[[0, 2, 1, 3]].reshape(-1).tolist())
    assert board_group("sudoku", 4).rank(BoardSymmetry(swapped)) is None
    assert board_group("sudoku", 4).rank(BoardSymmetry(tuple(range(16)), (0, 5, 2, 3, 4, 1, 6, 7, 8, 9))) is None
    transposed = tuple(np.arange(36).reshape(6, 6).T.reshape(-1).tolist())
    assert board_group("sudoku", 6).rank(BoardSymmetry(transposed)) is None


def test_what_is_no_permutation_is_refused() -> None:
    with pytest.raises(ValueError, match="not a permutation"):
        BoardSymmetry((0, 0, 1, 2))
    with pytest.raises(ValueError, match="not a permutation"):
        BoardSymmetry((0, 1, 2, 3), (0,) * 10)


def test_the_288_sudokus_of_side_4_are_two_orbits() -> None:
    boards = {grid.tobytes() for grid in solutions(make_grid([[0] * 4] * 4), most=1000)}
    assert len(boards) == 288
    group = board_group("sudoku", 4)
    places, colors = group.elements(np.arange(group.order))
    orbits = []
    while boards:
        board = np.frombuffer(min(boards), dtype=np.uint8)
        images = np.take_along_axis(colors, board[places].astype(np.int64), axis=1)
        orbits.append({image.tobytes() for image in images})
        assert orbits[-1] <= boards
        boards -= orbits[-1]
    assert sorted(map(len, orbits)) == [96, 192]


@pytest.mark.parametrize("side", BOXES)
def test_an_image_of_a_board_has_the_image_of_its_solution(side: int) -> None:
    group, random = board_group("sudoku", side), np.random.default_rng(side)
    for pair in generate("sudoku", side, 3).demonstrations:
        assert pair.output is not None
        symmetry = group.symmetry(int(random.integers(group.order)))
        board, solution = make_grid(symmetry.apply(pair.input)), make_grid(symmetry.apply(pair.output))
        (only,) = solutions(board)
        assert np.array_equal(only, solution)
        assert is_valid("sudoku", board, solution)


@pytest.mark.parametrize("kind", BOARDS, ids=str)
def test_the_images_of_a_board_share_its_number_and_other_boards_have_others(kind: tuple[str, int]) -> None:
    group, random = board_group(*kind), np.random.default_rng(0)
    boards = [pair.input for pair in generate(*kind, 6).demonstrations]
    numbers = set()
    for board in boards:
        images = [board, *(group.symmetry(int(random.integers(group.order))).apply(board) for _ in range(5))]
        found = set(invariants(*kind, np.stack([image.reshape(-1) for image in images])).tolist())
        assert len(found) == 1
        numbers |= found
    if kind[1] > 5 or kind[0] == "sudoku":
        assert len(numbers) > 3
