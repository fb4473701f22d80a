"""The tokens of the published Sudoku and Maze sets, and which game a set of boards belongs to."""

from __future__ import annotations

import numpy as np

from hrm_arc.puzzles.board_symmetry import BOXES
from hrm_arc.puzzles.boards import FREE, GOAL, MAZE, PATH, START, WALL
from hrm_arc.puzzles.canvas import EOS, FIRST_COLOR, PAD, VOCABULARY
from hrm_arc.puzzles.task import Grid, Task

# The color of each token, from token 1 on, in published Sudoku (11 tokens) and Maze (6 tokens) sets.
SUDOKU_VOCABULARY, MAZE_VOCABULARY = 11, 6
BOARD_TOKENS = {SUDOKU_VOCABULARY: tuple(range(10)), MAZE_VOCABULARY: (WALL, FREE, START, GOAL, PATH)}


def board_vocabulary(task: Task) -> int:
    """The number of tokens in the published set of a game: 11 for Sudoku, 6 for Maze, 12 for anything else.

    A solved Sudoku has no blank and no digit above its side; a maze has one start and one goal.
    """
    boards = [pair.output if pair.output is not None else pair.input for pair in (*task.demonstrations, *task.tests)]
    if not task.boards or not boards:
        return VOCABULARY
    if all(map(_is_maze, boards)):
        return MAZE_VOCABULARY
    solved = [pair.output for pair in task.demonstrations if pair.output is not None]
    return SUDOKU_VOCABULARY if solved and all(map(_is_sudoku, solved)) else VOCABULARY


def _is_maze(board: Grid) -> bool:
    one_each = np.count_nonzero(board == START) == np.count_nonzero(board == GOAL) == 1
    return one_each and set(np.unique(board).tolist()) <= set(MAZE.values())


def _is_sudoku(board: Grid) -> bool:
    return board.shape[0] == board.shape[1] and len(board) in BOXES and board.min() >= 1 and board.max() <= len(board)


def to_board_tokens(tokens: np.ndarray, vocabulary: int) -> np.ndarray:
    """The tokens of a published game from this program's; the shape stays.

    Args:
        tokens: of boards that fill their canvas, uint8.
        vocabulary: 11 or 6.

    Raises:
        ValueError: a token is none of the game's.
    """
    table = np.zeros(VOCABULARY, dtype=np.uint8)
    for token, color in enumerate(BOARD_TOKENS[vocabulary], start=1):
        table[FIRST_COLOR + color] = token
    found = table[tokens]
    if (found == PAD).any():
        unknown = int(tokens[found == PAD].min())
        what = "padding" if unknown == PAD else "EOS" if unknown == EOS else f"color {unknown - FIRST_COLOR}"
        raise ValueError(f"{what} is no cell of the published set of {vocabulary} tokens")
    return found
