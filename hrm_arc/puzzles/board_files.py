"""Reads the boards of a Sudoku or a Maze from CSV files, as the public data sets have them."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from hrm_arc.errors import UserError
from hrm_arc.puzzles.boards import HELD_OUT_EVERY, MAZE, SUDOKU
from hrm_arc.puzzles.listing import name_of, second_file
from hrm_arc.puzzles.task import MAX_SIDE, Grid, Pair, Problem, PuzzleError, Task, make_grid, name_problem
from hrm_arc.reading import open_regular

# Reading a file stops after this number of problems; a line has at most two boards of 900 cells.
MOST_PROBLEMS, LONGEST_LINE = 1000, 2**20
# The largest file, in bytes, that is read whole; its boards take about four times as much memory.
LARGEST_WHOLE = 2**31


class Counts(NamedTuple):
    """How many boards of a game are read; None for all.

    Attributes:
        training: of the file that a source names, or of the boards to train on in a folder.
        held_out: of the held-out boards in a file or folder of their own.
    """

    training: int | None = None
    held_out: int | None = None


ALL = Counts()


def read_boards(path: Path, counts: Counts = ALL) -> tuple[list[Task], list[tuple[Path, Problem]]]:
    """The game in a CSV file with the columns ``question`` and ``answer``.

    If the file is ``train.csv`` and ``test.csv`` is in the same folder, the boards of ``test.csv``
    are held out. Otherwise every tenth board of the file is held out.

    Args:
        path: the file.
        counts: the largest numbers of boards to read. The first is that of ``path`` alone.

    Returns:
        The task, or no task if there is a problem, and the problems with their files.

    Raises:
        PuzzleError: the file cannot be read, or does not have these columns.
    """
    boards, problems = _read_csv(path, counts.training)
    tests_file = second_file(path)
    if tests_file is None and counts.held_out is not None:
        raise PuzzleError(path, "has no test.csv beside it, so there is no second number of boards")
    if tests_file is not None:
        tests, more = _read_csv(tests_file, counts.held_out)
        problems += more
    else:
        boards, tests = _hold_out(boards)
    if problems or not boards or not tests:
        return [], problems or [
            (path, Problem("", "fewer than two boards, expected at least one to train on and one to solve"))
        ]
    shapes = {pair.input.shape for pair in (*boards, *tests)}
    if len(shapes) > 1:
        return [], [(path, Problem("", f"boards of {len(shapes)} sizes, expected one"))]
    name = name_of(path.parent) if path.stem == "train" else path.stem
    if what := name_problem(name):
        return [], [(path, Problem("", what))]
    return [Task(name, tuple(boards), tuple(tests), boards=True)], []


def _read_csv(path: Path, most: int | None) -> tuple[list[Pair], list[tuple[Path, Problem]]]:
    pairs: list[Pair] = []
    problems: list[tuple[Path, Problem]] = []
    try:
        # A byte-order mark is dropped.
        with os.fdopen(open_regular(path), encoding="utf-8-sig", newline="") as file:
            if most is None and os.fstat(file.fileno()).st_size > LARGEST_WHOLE:
                numbers = ":1000:500, where the second one is of test.csv" if path.name == "test.csv" else ":1000"
                what = f"is larger than {LARGEST_WHOLE / 2**30:.0f} GiB; put a number of boards behind the source"
                raise PuzzleError(path, f"{what}, such as {numbers}")
            reader, columns = _reader(path, file)
            question, answer = columns.index("question"), columns.index("answer")
            for row in reader:
                if len(pairs) == most or len(problems) > MOST_PROBLEMS:
                    break
                if not row:
                    continue
                wrong = _width_problem(row, columns) or _row_problem(row[question], row[answer])
                if wrong:
                    problems.append((path, Problem(f"line {reader.line_num + 1}", wrong)))
                else:
                    pairs.append(Pair(_board(row[question]), _board(row[answer])))
    except FileNotFoundError:
        what = "is a link that leads nowhere" if path.is_symlink() else "there is no such file"
        raise PuzzleError(path, what) from None
    except OSError as error:
        raise PuzzleError(path, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise PuzzleError(path, "not UTF-8 text") from None
    except csv.Error as error:
        raise PuzzleError(path, f"not CSV: {error}") from None
    except PuzzleError:
        raise
    except UserError as error:
        raise PuzzleError(path, error.what) from None
    return pairs, problems


def _reader(path: Path, file: TextIO) -> tuple[Any, list[str]]:
    """A reader of the rows after the first, and the first row as names of columns, in lower case.

    Columns are separated by commas, or by semicolons or tabs, as spreadsheets in many countries write them.

    Raises:
        PuzzleError: there is not one column ``question`` and one column ``answer``.
    """
    # A file without a line break, such as a dump of a disk, is read in parts.
    lines = iter(lambda: file.readline(LONGEST_LINE), "")
    first = next(lines, "")
    splits = {each: [name.strip().lower() for name in next(csv.reader([first], delimiter=each), [])] for each in ",;\t"}
    delimiter = max(splits, key=lambda each: (len({"question", "answer"} & set(splits[each])), len(splits[each])))
    columns = splits[delimiter]
    if columns.count("question") != 1 or columns.count("answer") != 1:
        found = ", ".join(repr(name[:40]) for name in columns[:6]) + (" ..." if len(columns) > 6 else "")
        what = f"found {found}" if any(columns) else "the first line is empty"
        raise PuzzleError(path, f"not a file of boards: expected columns 'question' and 'answer', {what}")
    return csv.reader(lines, delimiter=delimiter), columns


def _width_problem(row: Sequence[str], columns: Sequence[str]) -> str | None:
    """The mistake in the number of columns of a row, or None; columns after question and answer may be absent."""
    if len(row) > len(columns):
        return f"{len(row)} columns, the first line has {len(columns)}"
    if len(row) <= max(columns.index("question"), columns.index("answer")):
        return "a question or an answer is missing"
    return None


def _row_problem(question: str | None, answer: str | None) -> str | None:
    """The mistake in a row of the file, or None."""
    if not question or not answer:
        return "a question or an answer is missing"
    side = math.isqrt(len(question))
    if side * side != len(question) or not 1 <= side <= MAX_SIDE:
        return f"a question of {len(question)} characters, expected a square board of a side up to {MAX_SIDE}"
    if len(answer) != len(question):
        return f"an answer of {len(answer)} characters, expected {len(question)} as in the question"
    cells = set(question) | set(answer)
    if not (cells <= SUDOKU.keys() or cells <= MAZE.keys()):
        unknown = sorted(cells - SUDOKU.keys()) if question[0] in SUDOKU else sorted(cells - MAZE.keys())
        return f"character {unknown[0]!r}, expected digits and '.' (Sudoku) or '# SGo' (Maze)"
    return None


def _board(cells: str) -> Grid:
    colors = SUDOKU if cells[0] in SUDOKU else MAZE
    side = math.isqrt(len(cells))
    flat = [colors[cell] for cell in cells]
    return make_grid([flat[start : start + side] for start in range(0, len(flat), side)])


def _hold_out(boards: Sequence[Pair]) -> tuple[list[Pair], list[Pair]]:
    """The boards to train on, and the held-out boards: every tenth, or the last if there are fewer than ten."""
    if len(boards) < HELD_OUT_EVERY:
        return list(boards[:-1]), list(boards[-1:])
    training = [board for number, board in enumerate(boards, start=1) if number % HELD_OUT_EVERY]
    return training, list(boards[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY])
