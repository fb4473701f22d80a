"""Fresh boards are a function of seed and index, are boards of the game, and are none of those to be solved."""

from __future__ import annotations

import numpy as np
import pytest

from hrm_arc.errors import UserError
from hrm_arc.puzzles import fresh
from hrm_arc.puzzles.augmented import Samples
from hrm_arc.puzzles.board_invariants import invariants
from hrm_arc.puzzles.board_symmetry import board_group
from hrm_arc.puzzles.boards import shortest_paths, solutions
from hrm_arc.puzzles.fresh import FreshSet, held_out_boards, most_givens
from hrm_arc.puzzles.rules import is_valid
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.puzzles.task import Grid, Pair, Task, make_grid
from hrm_arc.training.recipes import load_recipe

BOARDS = [("sudoku", 4), ("sudoku", 6), ("sudoku", 9), ("maze", 9)]


@pytest.fixture(autouse=True)
def small_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds of few boards, because a board of 9 x 9 takes long to generate."""
    monkeypatch.setattr(fresh, "BASES", 8)
    monkeypatch.setattr(fresh, "USES", {"sudoku": 16, "maze": 8})


def grids(samples: Samples, tokens: np.ndarray) -> list[Grid]:
    shape = (samples.canvas.height, samples.canvas.width)
    return [make_grid((row - 2).reshape(shape)) for row in tokens]


@pytest.mark.parametrize("kind", BOARDS, ids=str)
def test_fresh_boards_are_boards_with_their_solutions(kind: tuple[str, int]) -> None:
    game, side = kind
    (batch,) = FreshSet([held_out_boards(game, side, "test", 3)], seed=5).samples(np.arange(12))
    assert batch.labels is not None
    for board, solution in zip(grids(batch, batch.inputs), grids(batch, batch.labels), strict=True):
        assert is_valid("sudoku" if game == "sudoku" else "maze", board, solution)
        if game == "sudoku":
            assert len(list(solutions(board))) == 1
            assert (board > 0).sum() <= most_givens(side)
        else:
            assert shortest_paths(board) == 1
    assert set(batch.identity.task.tolist()) == {1}
    assert not batch.identity.dihedral.any()


def test_a_sample_is_a_function_of_seed_and_index() -> None:
    task = held_out_boards("sudoku", 4, "test", 3)
    length = fresh.BASES * fresh.USES["sudoku"]
    indices = np.array([3, length + 1, 0, 2 * length, 3, length - 1])
    (one,) = FreshSet([task], seed=1).samples(indices)
    other = FreshSet([task], seed=1)
    for place, index in enumerate(indices):
        (alone,) = other.samples(np.array([index]))
        assert np.array_equal(alone.inputs[0], one.inputs[place])
    (of_other_seed,) = FreshSet([task], seed=2).samples(indices)
    assert not np.array_equal(one.inputs, of_other_seed.inputs)
    assert np.array_equal(one.inputs[0], one.inputs[4])
    assert len(np.unique(FreshSet([task], seed=1).samples(np.arange(length))[0].inputs, axis=0)) > length * 0.9


def images(board: np.ndarray, kind: tuple[str, int]) -> set[bytes]:
    group = board_group(*kind)
    places, colors = group.elements(np.arange(group.order))
    return {row.tobytes() for row in np.take_along_axis(colors, board[places].astype(np.int64), axis=1)}


@pytest.mark.parametrize("kind", [("maze", 5), ("sudoku", 4)], ids=str)
def test_no_image_of_a_board_to_be_solved_is_trained_on(kind: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    task = held_out_boards(*kind, "test", 40 if kind[0] == "sudoku" else 4)
    to_solve = set().union(*(images(test.input.reshape(-1), kind) for test in task.tests))

    data = FreshSet([task], seed=0)

    def drawn() -> list[bytes]:
        return [(row - 2).tobytes() for row in data.samples(np.arange(1500))[0].inputs]

    assert not to_solve & set(drawn())
    # Without the comparison some would be.
    monkeypatch.setattr(fresh.np, "isin", lambda found, _: np.zeros(len(found), dtype=bool))
    assert to_solve & set(drawn())


def test_a_game_whose_boards_are_all_to_be_solved_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = FreshSet([held_out_boards("maze", 5, "test", 2)], seed=0)
    monkeypatch.setattr(fresh.np, "isin", lambda found, _: np.ones(len(found), dtype=bool))
    with pytest.raises(UserError, match="maze-5x5: has no boards to train on"):
        data.samples(np.arange(4))


def test_several_games_take_turns() -> None:
    tasks = [held_out_boards("sudoku", 4, "test", 2), held_out_boards("maze", 5, "test", 2)]
    data = FreshSet(tasks, seed=0)
    batches = data.samples_with_rows(np.arange(7))
    assert [rows.tolist() for rows, _ in batches] == [[0, 2, 4, 6], [1, 3, 5]]
    assert [set(batch.identity.task.tolist()) for _, batch in batches] == [{1}, {2}]
    assert data.cells.tolist() == [16, 25]


def test_boards_to_solve_differ_up_to_symmetry_and_between_splits() -> None:
    kind = ("sudoku", 4)
    test, validation = (held_out_boards(*kind, split, 12) for split in ("test", "validation"))
    assert not test.demonstrations
    seen: set[bytes] = set()
    for pair in test.tests:
        assert pair.input.tobytes() not in seen
        seen |= images(pair.input.reshape(-1), kind)
    assert {p.input.tobytes() for p in test.tests} != {p.input.tobytes() for p in validation.tests}


def test_the_number_of_givens_can_be_chosen() -> None:
    (task,) = load_tasks("sudoku-6x6/test-19:5")
    assert {int((test.input > 0).sum()) for test in task.tests} == {19}
    assert len(task.tests) == 5
    assert len(load_tasks("maze-9x9/validation:7")[0].tests) == 7


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("maze-9x9/test-5", "expected a number of givens below 81, of a Sudoku"),
        ("sudoku-4x4/test-99", "expected a number of givens below 16"),
        ("sudoku-4x4/test-1", "only 0 different boards with 1 givens were found; request another number of givens or"),
        ("sudoku-5x5/test", "no Sudoku of side 5"),
        ("maze-5x5/test:10000", "different boards were found; request fewer"),
        ("sudoku-4x4/training", "no such source"),
    ],
)
def test_boards_to_solve_that_there_are_not(source: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_tasks(source)


def test_fresh_boards_are_for_generated_games() -> None:
    with pytest.raises(UserError, match="'fresh' is for generated games such as sudoku-9x9, and flip is none"):
        FreshSet([Task.from_lists("flip", train=[([[1]], [[2]])], test=[([[1]], None)])], seed=0)


@pytest.mark.parametrize(
    ("name", "board", "message"),
    [
        ("maze-3x3", [[5, 0, 2], [5, 5, 0], [5, 5, 3]], "no maze of side 3"),
        ("sudoku-5x5", [[0] * 5] * 5, "no Sudoku of side 5"),
        (
            "sudoku-9x9",
            [[1, 2, 3, 4], [3, 4, 1, 2], [2, 1, 4, 3], [4, 3, 2, 0]],
            "no sudoku of 9 x 9, as its name says",
        ),
        ("maze-5x5", [[0] * 5] * 5, "no maze of 5 x 5, as its name says"),
    ],
)
def test_the_name_of_a_file_is_checked_with_its_boards(name: str, board: list[list[int]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        FreshSet([Task(name, (), (Pair(make_grid(board), None),), boards=True)], seed=0)


def test_the_boards_of_the_smallest_game_leave_boards_to_train_on(monkeypatch: pytest.MonkeyPatch) -> None:
    # Up to symmetry there are only some hundred Sudokus of 4 x 4, and the recipe solves 200 of them.
    monkeypatch.setattr(fresh, "BASES", 128)
    (task,) = load_tasks(load_recipe("sudoku-4x4").data.solve[0])
    assert len(task.tests) == 200
    samples = FreshSet([task], seed=0).samples(np.arange(1000))[0]
    assert len(samples) == 1000
    assert len(np.unique(invariants("sudoku", 4, samples.inputs - 2))) > 50
