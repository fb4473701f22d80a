"""Boards under the symmetries of their game, by index."""

from __future__ import annotations

import numpy as np
import pytest

from hrm_arc.errors import UserError
from hrm_arc.puzzles.boards import generate
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.rules import is_valid
from hrm_arc.puzzles.task import Task, make_grid
from hrm_arc.puzzles.varied import VariedBoards


def test_images_of_boards_by_index() -> None:
    sudoku, maze = generate("sudoku", 6, 4), generate("maze", 7, 2)
    data = VariedBoards(Corpus(solve=(sudoku, maze)).training_puzzles(), augment=3, seed=1)
    assert len(data) == (4 + 2) * 4
    assert data.starts.tolist() == [0, 4, 8, 12, 16, 20, 24]
    assert data.cells.tolist() == [36] * 4 + [49] * 2
    (rows, of_sudoku), (other_rows, of_maze) = data.samples_with_rows(np.arange(24))
    assert (rows.tolist(), other_rows.tolist()) == (list(range(16)), list(range(16, 24)))
    assert (set(of_sudoku.identity.task.tolist()), set(of_maze.identity.task.tolist())) == ({1}, {2})
    for batch, game, task, side in ((of_sudoku, "sudoku", sudoku, 6), (of_maze, "maze", maze, 7)):
        assert batch.labels is not None
        for number, (cells, label) in enumerate(zip(batch.inputs, batch.labels, strict=True)):
            board, solution = (make_grid((each - 2).reshape(side, side)) for each in (cells, label))
            assert is_valid("sudoku" if game == "sudoku" else "maze", board, solution)
            if number % 4 == 0:
                assert np.array_equal(board, task.demonstrations[number // 4].input)
        assert len(np.unique(batch.inputs, axis=0)) == len(batch)


def test_eight_images_of_a_maze_are_all_of_them() -> None:
    maze = generate("maze", 9, 1)
    (batch,) = VariedBoards(Corpus(solve=(maze,)).training_puzzles(), augment=7, seed=0).samples(np.arange(8))
    assert len(np.unique(batch.inputs, axis=0)) == 8


def test_a_sample_depends_on_seed_and_index_alone() -> None:
    puzzles = Corpus(solve=(generate("sudoku", 4, 5),)).training_puzzles()
    data = VariedBoards(puzzles, augment=9, seed=3)
    (together,) = data.samples(np.array([7, 41, 7]))
    (alone,) = VariedBoards(puzzles[:1], augment=9, seed=3).samples(np.array([7]))
    assert np.array_equal(together.inputs[0], together.inputs[2])
    assert np.array_equal(together.inputs[0], alone.inputs[0])
    (other,) = VariedBoards(puzzles, augment=9, seed=4).samples(np.array([7, 41, 7]))
    assert not np.array_equal(together.inputs, other.inputs)


def test_what_is_neither_a_sudoku_nor_a_maze_is_refused() -> None:
    flip = Task.from_lists("flip", train=[([[1, 2]], [[2, 1]])], test=[([[1, 3]], None)])
    with pytest.raises(UserError, match="'symmetries' is for boards of Sudoku and Maze, and flip is neither"):
        VariedBoards(Corpus(solve=(flip,)).training_puzzles(), augment=3, seed=0)
