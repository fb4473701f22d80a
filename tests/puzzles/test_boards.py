from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrm_arc.errors import UserError
from hrm_arc.puzzles.augmented import AugmentedSet
from hrm_arc.puzzles.boards import BOXES, FREE, GOAL, PATH, START, WALL, generate, shortest_path, solutions
from hrm_arc.puzzles.canvas import FIRST_COLOR, Canvas, visible_canvas
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.leaks import leaks
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.puzzles.task import Grid, make_grid
from hrm_arc.puzzles.varied import VariedBoards

SOLVED = "1234341221434321"
OPEN = "1.3434122143432."


def is_solved(board: Grid) -> bool:
    side = len(board)
    height, width = BOXES[side]
    boxes = board.reshape(side // height, height, side // width, width).swapaxes(1, 2).reshape(side, side)
    return all(sorted(unit) == list(range(1, side + 1)) for part in (board, board.T, boxes) for unit in part.tolist())


@pytest.mark.parametrize("side", BOXES)
def test_generated_sudokus_have_one_solution(side: int) -> None:
    task = generate("sudoku", side, 6)
    for pair in (*task.demonstrations, *task.tests):
        assert pair.output is not None
        assert is_solved(pair.output)
        shown = pair.input > 0
        assert 0 < shown.sum() < side * side
        assert np.array_equal(pair.input[shown], pair.output[shown])
        found = list(solutions(pair.input))
        assert len(found) == 1
        assert np.array_equal(found[0], pair.output)


def test_a_sudoku_with_several_solutions_is_noticed() -> None:
    assert len(list(solutions(make_grid([[0] * 4] * 4), most=5))) == 5
    # By hand: of this board's two gaps each has one digit left.
    (only,) = solutions(make_grid([[1, 0, 3, 4], [3, 4, 1, 2], [2, 1, 4, 3], [4, 3, 2, 0]]))
    assert only.tolist() == [[1, 2, 3, 4], [3, 4, 1, 2], [2, 1, 4, 3], [4, 3, 2, 1]]


@settings(max_examples=10)
@given(st.integers(5, 30))
def test_generated_mazes_have_a_shortest_path(side: int) -> None:
    task = generate("maze", side, 2)
    for pair in (*task.demonstrations, *task.tests):
        maze, solved = pair.input, pair.output
        assert solved is not None
        assert maze.shape == (side, side)
        assert (np.count_nonzero(maze == START), np.count_nonzero(maze == GOAL)) == (1, 1)
        assert set(np.unique(solved[maze != solved]).tolist()) <= {PATH}
        assert (maze[maze != solved] == FREE).all()
        assert np.count_nonzero(solved == PATH) + 1 == distance(maze)


def distance(maze: Grid) -> int:
    """Steps from start to goal, by breadth-first search on the whole array."""
    reached = maze == START
    steps = 0
    while not reached[maze == GOAL].any():
        wider = reached.copy()
        wider[1:] |= reached[:-1]
        wider[:-1] |= reached[1:]
        wider[:, 1:] |= reached[:, :-1]
        wider[:, :-1] |= reached[:, 1:]
        wider &= maze != WALL
        assert not np.array_equal(wider, reached), "the goal cannot be reached"
        reached, steps = wider, steps + 1
    return steps


def test_a_maze_without_a_path_gives_none() -> None:
    assert shortest_path(make_grid([[START, WALL, GOAL]])) is None
    drawn = shortest_path(make_grid([[START, FREE, GOAL]]))
    assert drawn is not None
    assert drawn.tolist() == [[START, PATH, GOAL]]


def test_generated_boards_are_the_same_every_time_and_differ_from_each_other() -> None:
    one, two = generate("sudoku", 4, 20), generate("sudoku", 4, 20)
    boards = [pair.input.tobytes() for pair in (*one.demonstrations, *one.tests)]
    assert boards == [pair.input.tobytes() for pair in (*two.demonstrations, *two.tests)]
    assert len(set(boards)) == len(boards) == 22


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("sudoku-5x5", "no Sudoku of side 5, expected one of 4, 6, 9"),
        ("maze-31x31", "no maze of side 31, expected 5 to 30"),
        ("maze-5x5:100000", "different boards were found; request fewer"),
        ("maze-9x9:" + "9" * 20, "expected at most 1,000,000 boards"),
        ("maze-9x9:" + "9" * 5000, "expected at most 1,000,000 boards"),
    ],
)
def test_games_that_cannot_be_generated_are_refused(source: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_tasks(source)


def test_boards_have_a_canvas_of_their_own_size_and_variants_of_their_own() -> None:
    task = generate("sudoku", 4, 3)
    assert visible_canvas(task) == Canvas(4, 4)
    data = AugmentedSet(Corpus(solve=(task,)).training_puzzles(), augment=5, canvas="cropped")
    assert len(data) == 3 * 6
    (batch,) = data.samples(np.arange(len(data)))
    assert batch.labels is not None
    # A permutation of colors turns the digits 1-4 into other digits; by rank they are 1-4 again.
    assert all(is_solved(np.unique(row, return_inverse=True)[1].reshape(4, 4) + 1) for row in batch.labels)
    assert set(batch.identity.task.tolist()) == {1}


def csv(path: Path, rows: list[tuple[str, str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"made,{question},{answer},1" for question, answer in rows]
    path.write_text("\n".join(["source,question,answer,rating", *lines]) + "\n")
    return path


def test_sudoku_from_csv(tmp_path: Path) -> None:
    path = csv(tmp_path / "sudoku.csv", [(OPEN, SOLVED), (SOLVED, SOLVED)] * 10)
    (task,) = load_tasks(str(path))
    assert (task.id, len(task.demonstrations), len(task.tests), task.boards) == ("sudoku", 18, 2, True)
    assert task.demonstrations[0].input.tolist() == [[1, 0, 3, 4], [3, 4, 1, 2], [2, 1, 4, 3], [4, 3, 2, 0]]
    (few,) = load_tasks(f"{path}:5")
    assert len(few.demonstrations) + len(few.tests) == 5


def test_a_folder_with_a_train_and_a_test_file(tmp_path: Path) -> None:
    csv(tmp_path / "sudoku-extreme" / "train.csv", [(OPEN, SOLVED)] * 3)
    csv(tmp_path / "sudoku-extreme" / "test.csv", [(OPEN, SOLVED)] * 2)
    (task,) = load_tasks(str(tmp_path / "sudoku-extreme"))
    assert (task.id, len(task.demonstrations), len(task.tests)) == ("sudoku-extreme", 3, 2)
    assert [leak.answers for leak in leaks(Corpus(solve=(task,)))] == [2], "the same boards on both sides"


@pytest.mark.parametrize(
    "header",
    [
        "question,answer",
        "Question,Answer",
        "question;answer",
        "question\tanswer",
        "\ufeffquestion,answer",
        " ANSWER ; Question",
    ],
)
def test_spreadsheets_write_csv_in_several_ways(tmp_path: Path, header: str) -> None:
    delimiter = next(each for each in ";\t," if each in header)
    columns = (SOLVED, OPEN) if "ANSWER" in header else (OPEN, SOLVED)
    path = tmp_path / "boards.csv"
    path.write_bytes("\r\n".join([header, *[delimiter.join(columns)] * 3, ""]).encode())
    (task,) = load_tasks(str(path))
    assert task.demonstrations[0].input.tolist()[0] == [1, 0, 3, 4]


def test_the_file_of_a_wrong_board_is_named(tmp_path: Path) -> None:
    csv(tmp_path / "train.csv", [(OPEN, SOLVED)] * 3)
    csv(tmp_path / "test.csv", [(OPEN, SOLVED), ("1", "12")])
    with pytest.raises(UserError) as caught:
        load_tasks(str(tmp_path))
    assert (
        str(caught.value)
        == f"{tmp_path / 'test.csv'}: line 3: an answer of 2 characters, expected 1 as in the question"
    )


def test_maze_from_csv(tmp_path: Path) -> None:
    path = csv(tmp_path / "maze.csv", [("S  # G###", "So # G###")] * 2)
    (task,) = load_tasks(str(path))
    solved = task.tests[0].output
    assert solved is not None
    assert solved.tolist() == [[START, PATH, FREE], [WALL, FREE, GOAL], [WALL] * 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "expected columns 'question' and 'answer', found 'a', 'b'"),
        ("puzzle;solution\n1;2\n", "expected columns 'question' and 'answer', found 'puzzle', 'solution'"),
        ("question,question,answer\n", "found 'question', 'question', 'answer'"),
        ("", "the first line is empty"),
        ("question,answer\n1234,1234,1\n", "line 2: 3 columns, the first line has 2"),
        ("1" * 3_000_000, "not CSV: field larger"),
        ("question,answer\n12345,12345\n", "line 2: a question of 5 characters, expected a square board"),
        ("question,answer\n1234,12\n", "line 2: an answer of 2 characters, expected 4"),
        ("question,answer\n12x4,1234\n", "line 2: character 'x', expected digits"),
        ("question,answer\n1234\n", "line 2: a question or an answer is missing"),
        ("question,answer\n1234,1234\n1,1\n", "boards of 2 sizes, expected one"),
        ("question,answer\n1234,1234\n", "fewer than two boards"),
    ],
)
def test_wrong_boards_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "boards.csv"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load_tasks(str(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def cycles(one: Grid, other: Grid) -> tuple[int, ...]:
    """The cycles of the permutation that takes the digits of one line to those of another: no symmetry changes them."""
    becomes, lengths = dict(zip(one.tolist(), other.tolist(), strict=True)), []
    while becomes:
        digit, length = next(iter(becomes)), 0
        while digit in becomes:
            digit, length = becomes.pop(digit), length + 1
        lengths.append(length)
    return tuple(sorted(lengths))


@pytest.mark.parametrize(("side", "classes"), [(4, 2), (6, 10), (9, 30)])
def test_solutions_of_generated_sudokus_are_not_all_images_of_one(side: int, classes: int) -> None:
    found = set()
    for pair in generate("sudoku", side, 45).demonstrations:
        assert pair.output is not None
        both = (pair.output, pair.output.T)
        lines = [sorted(cycles(one, other) for n, one in enumerate(grid) for other in grid[:n]) for grid in both]
        found.add(str(sorted(lines)))
    assert len(found) >= classes


@pytest.mark.parametrize(("game", "side", "count"), [("maze", 5, 10), ("maze", 7, 40), ("sudoku", 4, 60)])
def test_no_generated_board_to_solve_is_an_image_of_one_to_train_on(game: str, side: int, count: int) -> None:
    task = generate(game, side, count)
    puzzles = Corpus(solve=(task,)).training_puzzles()
    to_solve = {test.input.tobytes() for test in task.tests}
    for data in (AugmentedSet(puzzles, augment=1000, seed=0, canvas="cropped"), VariedBoards(puzzles, 1000, 0)):
        (batch,) = data.samples(np.arange(len(data)))
        trained = {board.tobytes() for board in (batch.inputs - FIRST_COLOR).astype(np.uint8)}
        assert len(trained) > count
        assert not trained & to_solve
