"""The rules of the games, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from hrm_arc.puzzles.boards import generate, shortest_paths
from hrm_arc.puzzles.rules import difficulty, game_of, is_valid, without_search
from hrm_arc.puzzles.task import Grid, make_grid

BOARD = make_grid([[1, 0, 3, 4], [3, 4, 1, 2], [2, 1, 4, 3], [4, 3, 2, 0]])
SOLVED = make_grid([[1, 2, 3, 4], [3, 4, 1, 2], [2, 1, 4, 3], [4, 3, 2, 1]])
COLORS = {".": 0, "#": 5, "S": 3, "G": 2, "o": 4}


def maze(*rows: str) -> Grid:
    return make_grid([[COLORS[cell] for cell in row] for row in rows])


# Two shortest paths of four steps, around the wall in the middle.
RING = maze("S..", ".#.", "..G")


def changed(grid: Grid, row: int, column: int, color: int) -> Grid:
    cells = grid.copy()
    cells[row, column] = color
    return make_grid(cells)


def test_the_game_of_a_board() -> None:
    assert game_of(BOARD) == game_of(SOLVED) == game_of(make_grid([[0] * 9] * 9)) == "sudoku"
    assert game_of(RING) == "maze"
    assert game_of(changed(BOARD, 0, 1, 1)) is None
    assert game_of(changed(RING, 0, 0, 0)) is None
    assert game_of(changed(RING, 0, 1, 7)) is None
    assert game_of(make_grid([[0] * 5] * 5)) is None
    assert game_of(make_grid([[3, 0, 2]])) is None
    assert {game_of(pair.input) for pair in generate("maze", 9, 20).demonstrations} == {"maze"}


@pytest.mark.parametrize(
    ("answer", "valid"),
    [
        (SOLVED, True),
        (BOARD, False),
        (changed(SOLVED, 0, 1, 1), False),
        (make_grid([[2, 1, 3, 4], [3, 4, 2, 1], [1, 2, 4, 3], [4, 3, 1, 2]]), False),
        (make_grid(SOLVED[:, :3]), False),
        (changed(SOLVED, 0, 1, 7), False),
        (None, False),
    ],
    ids=["solution", "blanks", "twice", "another board's", "smaller", "no digit", "none"],
)
def test_a_sudoku_by_rule(answer: Grid | None, valid: bool) -> None:
    assert is_valid("sudoku", BOARD, answer) is valid


@pytest.mark.parametrize(
    ("rows", "valid"),
    [
        (("Soo", ".#o", "..G"), True),
        (("S..", "o#.", "ooG"), True),
        (("S..", ".#.", "..G"), False),
        (("So.", ".#o", ".oG"), False),
        (("Soo", "o#o", "..G"), False),
        (("Soo", ".#.", "..G"), False),
        (("Soo", "..o", "..G"), False),
        (("Soo", ".#o", "..."), False),
    ],
    ids=["right", "the other way", "none", "broken", "too long", "too short", "wall removed", "goal removed"],
)
def test_a_maze_by_rule(rows: tuple[str, ...], valid: bool) -> None:
    assert is_valid("maze", RING, maze(*rows)) is valid


def test_a_path_that_is_not_a_shortest_one_is_not_valid() -> None:
    board = maze("S.G", "...", "###")
    assert is_valid("maze", board, maze("SoG", "...", "###"))
    assert not is_valid("maze", board, maze("S.G", "ooo", "###"))


def test_difficulty_by_hand() -> None:
    assert difficulty("sudoku", BOARD) == 14
    assert difficulty("maze", RING) == 4
    assert difficulty("maze", maze("S#G", "##.", "...")) is None
    assert difficulty("maze", maze("SG.", "...", "...")) == 1


def test_the_number_of_shortest_paths_by_hand() -> None:
    assert shortest_paths(RING) == 2
    assert shortest_paths(maze("S..", "...", "..G")) == 6
    assert shortest_paths(maze("SG.", "...", "...")) == 1
    assert shortest_paths(maze("S#G", "##.", "...")) == 0


def test_a_solver_without_search_by_hand() -> None:
    assert np.array_equal(without_search("sudoku", BOARD), SOLVED)
    # Every cell and every digit has several possibilities: nothing is filled in.
    blank = make_grid([[0] * 4] * 4)
    assert np.array_equal(without_search("sudoku", blank), blank)
    assert is_valid("maze", RING, without_search("maze", RING))
    # The nearest neighbor of the goal is a dead end.
    trap = maze("S..#", "#..#", "##.#", "#..G")
    assert is_valid("maze", trap, without_search("maze", trap))
    dead_end = maze("S.#G", ".###", "....", "###.")
    assert not is_valid("maze", dead_end, without_search("maze", dead_end))
