"""The rules of the games: whether an answer solves a board, how hard a board is, and solvers without search."""

from __future__ import annotations

from typing import Literal

import numpy as np

from hrm_arc.puzzles.board_symmetry import BOXES
from hrm_arc.puzzles.boards import FREE, GOAL, PATH, START, WALL, shortest_path, units
from hrm_arc.puzzles.task import Grid, make_grid

GameName = Literal["sudoku", "maze"]
# What the difficulty of a board is, in words.
DIFFICULTY: dict[GameName, str] = {"sudoku": "givens", "maze": "steps of the shortest path"}


def game_of(board: Grid) -> GameName | None:
    """The game of a board by its cells, or None if it is neither a Sudoku nor a maze.

    A Sudoku has no digit twice in a row, a column or a box; a maze has one start and one goal, and walls.
    """
    if board.shape[0] != board.shape[1]:
        return None
    if len(board) in BOXES and board.max() <= len(board) and not _repeats(board):
        return "sudoku"
    ends = [np.count_nonzero(board == end) for end in (START, GOAL)]
    return "maze" if ends == [1, 1] and bool(np.isin(board, (FREE, WALL, START, GOAL)).all()) else None


def is_valid(game: GameName, board: Grid, answer: Grid | None) -> bool:
    """Whether an answer solves a board by the rules of the game.

    A solution of a Sudoku keeps the givens and has every digit once in each row, column and box. A solution of a maze
    marks one of its shortest paths and changes nothing else; it need not be the path that a data set names.

    Args:
        game: see :func:`game_of`.
        board: ``[side, side]``.
        answer: a grid of any size, or None.
    """
    if answer is None or answer.shape != board.shape:
        return False
    if game == "sudoku":
        keeps_givens = ((board == 0) | (answer == board)).all()
        has_digits = (answer > 0).all() and (answer <= len(board)).all()
        return bool(keeps_givens and has_digits) and not _repeats(answer)
    shortest = shortest_path(board)
    marked = answer == PATH
    if shortest is None or (answer[~marked] != board[~marked]).any() or (board[marked] != FREE).any():
        return False
    # The number of marked cells is checked below; they are a shortest path if they also connect start and goal.
    only_marked = np.where(marked | (board == START) | (board == GOAL), np.where(marked, FREE, board), WALL)
    return bool(marked.sum() == (shortest == PATH).sum()) and shortest_path(make_grid(only_marked)) is not None


def difficulty(game: GameName, board: Grid) -> int | None:
    """The number of givens of a Sudoku: fewer are harder. The steps of a maze's shortest path: more are harder.

    None for a maze without a path.
    """
    if game == "sudoku":
        return int((board > 0).sum())
    solved = shortest_path(board)
    return None if solved is None else int((solved == PATH).sum()) + 1


def without_search(game: GameName, board: Grid) -> Grid:
    """What a solver without search makes of a board.

    Sudoku: as long as some cell has one possible digit, or some digit one possible cell in a row, column or box, it is
    filled in (naked and hidden singles). Maze: from the start, each step goes to the free neighbor nearest to the goal
    that was not visited (greedy, by rows plus columns), until there is none or the goal is reached.
    """
    return make_grid(_singles(board) if game == "sudoku" else _greedy(board))


def _repeats(board: Grid) -> bool:
    """Whether a digit is twice in a row, column or box."""
    seen: set[tuple[int, int]] = set()
    for places, digit in zip(units(len(board)), board.reshape(-1).tolist(), strict=True):
        for unit in places:
            if digit and (unit, digit) in seen:
                return True
            seen.add((unit, digit))
    return False


def _singles(board: Grid) -> np.ndarray:
    side, cells = len(board), board.reshape(-1).tolist()
    of_cell = units(side)
    members = [[place for place, own in enumerate(of_cell) if unit in own] for unit in range(3 * side)]
    changed = True
    while changed:
        changed = False
        taken = [{cells[place] for place in unit} for unit in members]
        free = [
            set() if cells[place] else set(range(1, side + 1)).difference(*(taken[unit] for unit in own))
            for place, own in enumerate(of_cell)
        ]
        for place, digits in enumerate(free):
            if len(digits) == 1:
                cells[place], changed = digits.pop(), True
                break
        for unit in () if changed else members:
            homes = {digit: [place for place in unit if digit in free[place]] for digit in range(1, side + 1)}
            if single := next((item for item in homes.items() if len(item[1]) == 1), None):
                cells[single[1][0]], changed = single[0], True
                break
    return np.array(cells).reshape(board.shape)


def _greedy(maze: Grid) -> np.ndarray:
    solved = maze.copy()
    here, goal = (tuple(int(v) for v in np.argwhere(maze == end)[0]) for end in (START, GOAL))
    visited = {here}
    while True:
        row, column = here
        beside = ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1))
        inside = [p for p in beside if 0 <= p[0] < len(maze) and 0 <= p[1] < maze.shape[1] and p not in visited]
        ways = [place for place in inside if maze[place] != WALL]
        if not ways or goal in ways:
            return solved
        here = min(ways, key=lambda place: (abs(place[0] - goal[0]) + abs(place[1] - goal[1]), place))
        visited.add(here)
        solved[here] = PATH
