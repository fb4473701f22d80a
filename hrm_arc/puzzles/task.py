"""Grid, Pair and Task. Values from outside are checked once, when they are made; they cannot change afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from hrm_arc.errors import UserError, and_more
from hrm_arc.puzzles.html import table_html

MAX_SIDE = 30
COLORS = 10
# The longest name of a task, in characters; file systems allow no longer file names.
LONGEST_NAME = 255
# Demonstrations, and tests, that a notebook shows of a task.
MOST_SHOWN = 12
# Answers that are scored for each test input, by the rules of ARC Prize.
ATTEMPTS = 2

# A read-only uint8 array [height, width] of colors 0-9; each side is 1-30.
Grid = np.ndarray
# What a grid can be made from: rows of colors 0-9, or a 2-D array of integers.
GridLike: TypeAlias = Sequence[Sequence[int]] | np.ndarray


@dataclass(frozen=True)
class Problem:
    """One mistake in a puzzle.

    Attributes:
        place: the path inside the JSON, such as ``train[0].input[2]``; "" for the whole.
        what: what is wrong and what was expected.
    """

    place: str
    what: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}" if self.place else self.what


class PuzzleError(UserError):
    """A puzzle is not in the ARC format."""


@dataclass(frozen=True, eq=False)
class Pair:
    """An input grid and its output grid.

    Attributes:
        input: the input grid ``[height, width]``, uint8, read-only.
        output: the output grid, or None if it is not known. Its size can differ from the input's.
    """

    input: Grid
    output: Grid | None

    def __repr__(self) -> str:
        return f"Pair({_sides(self.input)} to {'an unknown grid' if self.output is None else _sides(self.output)})"


@dataclass(frozen=True, eq=False)
class Task:
    """One puzzle: demonstration pairs that show a rule, and test pairs to solve with it.

    The constructor does not check its arguments; :meth:`from_lists` does.

    Attributes:
        id: the task's name, unique within a corpus.
        demonstrations: pairs with their outputs: at least one, or none for boards of a generated game.
        tests: at least one pair; the output is None if the answer is not known.
        group: the concept or folder that the task belongs to, or "".
        boards: whether the pairs are boards of one game, such as Sudoku. All boards have one size,
            and each is a puzzle of its own: it does not need the others.
    """

    id: str
    demonstrations: tuple[Pair, ...]
    tests: tuple[Pair, ...]
    group: str = ""
    boards: bool = False

    @classmethod
    def from_lists(
        cls,
        id: str,
        train: Sequence[tuple[GridLike, GridLike]],
        test: Sequence[tuple[GridLike, GridLike | None]],
        group: str = "",
    ) -> Task:
        """Make a task from Python lists or arrays, with the same checks as for a file.

        Example:
            ``Task.from_lists("flip", train=[([[1, 2]], [[2, 1]])], test=[([[3, 4]], None)])``

        Args:
            id: the task's name.
            train: ``(input, output)`` of each demonstration. A grid is 1-30 rows of 1-30 colors 0-9.
            test: ``(input, output)`` of each test; the output is None if the answer is not known.
            group: the concept that the task belongs to.

        Raises:
            PuzzleError: a pair or a grid is not valid; the message names the task and the place in it.
        """
        parts = {"train": train, "test": test}
        return parse_task({name: _pairs_as_json(id, name, pairs) for name, pairs in parts.items()}, id, id, group)

    def __repr__(self) -> str:
        counts = f"{len(self.demonstrations)} demonstrations, {len(self.tests)} tests"
        group = f", {self.group}" if self.group else ""
        return f"Task({self.id}{group}, {counts})"

    def _repr_html_(self) -> str:
        """The task in a notebook, without its test outputs."""
        shown = [(f"demonstration {n}", pair) for n, pair in enumerate(self.demonstrations[:MOST_SHOWN], start=1)]
        rows = [(name, [("input", pair.input), ("output", pair.output)]) for name, pair in shown]
        tests = enumerate(self.tests[:MOST_SHOWN], start=1)
        rows += [(f"test {n}", [("input", test.input), ("output", None)]) for n, test in tests]
        left = len(self.demonstrations) + len(self.tests) - len(rows)
        return table_html(f"{self.id}{f', {left} more pairs' if left else ''}", rows)

    def blind(self) -> Task:
        """The task without its test outputs: what a solver may see."""
        return replace(self, tests=tuple(Pair(test.input, None) for test in self.tests))

    def visible_grids(self) -> list[Grid]:
        """Every grid that a solver may see: demonstration inputs and outputs, and test inputs."""
        shown = [grid for pair in self.demonstrations for grid in (pair.input, pair.output)]
        return [grid for grid in shown if grid is not None] + [test.input for test in self.tests]


def _sides(grid: Grid) -> str:
    return "{} x {}".format(*grid.shape)


def make_grid(values: Any) -> Grid:
    """Check values and copy them into a read-only grid.

    Args:
        values: rows of integers 0-9, or a 2-D array of integers.

    Returns:
        The grid ``[height, width]``, uint8.

    Raises:
        PuzzleError: the values are not 1-30 rows of equal length, each of 1-30 colors 0-9.
    """
    for problem in grid_problems(values, ""):
        raise PuzzleError("grid", str(problem))
    return _freeze(values)


def grid_problems(values: Any, place: str) -> Iterator[Problem]:
    """Every mistake in ``values`` as a grid; ``place`` is where they are in their JSON."""
    if isinstance(values, np.ndarray):
        if values.ndim != 2 or values.dtype.kind not in "iu":
            yield Problem(place, f"a {values.ndim}-D array of {values.dtype}, expected 2-D integers")
            return
        if _is_sound(values):
            return
        values = values.tolist()
    if not isinstance(values, list | tuple):
        yield Problem(place, f"expected a list of rows, got {_kind(values)}")
        return
    if not 1 <= len(values) <= MAX_SIDE:
        yield Problem(place, f"{len(values)} rows, expected 1 to {MAX_SIDE}")
        return
    width: int | None = None
    for index, row in enumerate(values):
        here = f"{place}[{index}]"
        if not isinstance(row, list | tuple):
            yield Problem(here, f"expected a row of colors, got {_kind(row)}")
            continue
        if width is None:
            width = len(row)
            if not 1 <= width <= MAX_SIDE:
                yield Problem(here, f"{width} columns, expected 1 to {MAX_SIDE}")
                return
        elif len(row) != width:
            yield Problem(here, f"ragged: {len(row)} columns, the first row has {width}")
            continue
        if set(map(type, row)) != {int} or min(row) < 0 or max(row) >= COLORS:
            yield from _cell_problems(row, here)


def _cell_problems(row: Sequence[Any], place: str) -> Iterator[Problem]:
    for column, value in enumerate(row):
        if type(value) is not int:
            yield Problem(f"{place}[{column}]", f"expected a color 0 to 9, got {_kind(value)}")
        elif not 0 <= value < COLORS:
            yield Problem(f"{place}[{column}]", f"color {_short(value)}, expected 0 to 9")


def _is_sound(values: np.ndarray) -> bool:
    """Whether a 2-D array of integers is a valid grid; faster than a check of each cell."""
    sides = all(1 <= side <= MAX_SIDE for side in values.shape)
    return sides and int(values.min()) >= 0 and int(values.max()) < COLORS


def task_problems(data: Any) -> Iterator[Problem]:
    """Every mistake in ``data`` as the JSON object of a task."""
    if not isinstance(data, dict):
        yield Problem("", f"expected an object with 'train' and 'test', got {_kind(data)}")
        return
    for part, pair_name in (("train", "demonstration"), ("test", "test pair")):
        if part not in data:
            similar = next((key for key in data if str(key).lower() == part), None)
            what = (
                f"a task needs a list of {pair_name}s"
                if similar is None
                else f"found {similar!r}; keys are in lower case"
            )
            yield Problem(part, f"missing: {what}")
            continue
        pairs = data[part]
        if not isinstance(pairs, list | tuple):
            yield Problem(part, f"expected a list of pairs, got {_kind(pairs)}")
            continue
        if not pairs:
            yield Problem(part, f"empty: a task needs at least one {pair_name}")
        for index, pair in enumerate(pairs):
            yield from _pair_problems(pair, f"{part}[{index}]", output_needed=part == "train")


def name_problem(name: Any) -> str | None:
    """What is wrong with the name of a task, or None: names are written to files and printed."""
    if not isinstance(name, str):
        return f"a name that is {_kind(name)}, expected text"
    if not name.strip():
        return "an empty name, expected a name for each task"
    if len(name) > LONGEST_NAME:
        return f"a name of {len(name):,} characters, expected at most {LONGEST_NAME}"
    if any("\ud800" <= character <= "\udfff" for character in name):
        return "a name that is not valid Unicode text; rename it"
    return None


def _pair_problems(pair: Any, place: str, output_needed: bool) -> Iterator[Problem]:
    if not isinstance(pair, dict):
        yield Problem(place, f"expected an object with 'input' and 'output', got {_kind(pair)}")
        return
    for key in ("input", "output"):
        if key in pair and not (key == "output" and pair[key] is None and not output_needed):
            yield from grid_problems(pair[key], f"{place}.{key}")
        elif key == "input" or output_needed:
            yield Problem(f"{place}.{key}", "missing")


def parse_task(data: Any, id: str, where: object, group: str = "") -> Task:
    """Check the JSON object ``{"train": [...], "test": [...]}`` and make a task of it.

    Args:
        data: the decoded object; grids are rows of integers or integer arrays.
        id: the task's name.
        where: the file or source that an error message names.
        group: the concept or folder that the task belongs to.

    Raises:
        PuzzleError: the object is not valid; the message gives the first problem and the number of further ones.
    """
    problems = [*task_problems(data)]
    if what := name_problem(id):
        problems.insert(0, Problem("", what))
    if problems:
        raise PuzzleError(where, f"{problems[0]}{and_more(problems)}")
    return build_task(data, id, group)


def build_task(data: Any, id: str, group: str = "") -> Task:
    """Make a task of a JSON object in which :func:`task_problems` finds no problem."""

    def pairs(items: Sequence[dict[str, Any]]) -> tuple[Pair, ...]:
        return tuple(
            Pair(_freeze(item["input"]), None if item.get("output") is None else _freeze(item["output"]))
            for item in items
        )

    return Task(id, pairs(data["train"]), pairs(data["test"]), group)


def _pairs_as_json(id: str, part: str, pairs: Any) -> Any:
    """Tuples ``(input, output)`` as the objects of a task's JSON; other values stay, for the checks to find."""
    if not isinstance(pairs, list | tuple):
        return pairs
    for index, pair in enumerate(pairs):
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            got = f"{len(pair)} values" if isinstance(pair, list | tuple) else _kind(pair)
            raise PuzzleError(id, f"{part}[{index}]: expected a pair (input, output), got {got}")
    return [{"input": input, "output": output} for input, output in pairs]


def _freeze(values: Any) -> Grid:
    if isinstance(values, list):
        # Twice as fast as np.array; thousands of grids are made at the start of a run.
        return np.frombuffer(b"".join(map(bytes, values)), dtype=np.uint8).reshape(len(values), -1)
    grid = np.array(values, dtype=np.uint8)
    grid.setflags(write=False)
    return grid


def _kind(value: Any) -> str:
    names = {
        dict: "an object",
        list: "a list",
        str: "text",
        float: "a decimal number",
        bool: "true/false",
        int: "a number",
        type(None): "null",
    }
    return names.get(type(value), type(value).__name__)


def _short(value: int) -> str:
    # Python refuses to convert a huge integer to text; here only its size matters.
    return str(value) if value.bit_length() < 64 else "of more than 64 bits"
