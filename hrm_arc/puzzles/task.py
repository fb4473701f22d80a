"""Grid, Pair and Task: checked on the way in, immutable after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hrm_arc.errors import UserError, and_more

MAX_SIDE = 30
COLOURS = 10
# How many answers may be given to a test input, as ARC Prize counts them.
ATTEMPTS = 2

# A grid is a read-only uint8 array [height, width] of colours 0-9, each side 1-30.
Grid = np.ndarray


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a puzzle: ``place`` inside its JSON, and ``what``."""

    place: str
    what: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}" if self.place else self.what


class PuzzleError(UserError):
    """A puzzle that breaks the rules of the ARC format."""


@dataclass(frozen=True, eq=False)
class Pair:
    """An input grid and, where it is known, its output grid."""

    input: Grid
    output: Grid | None


@dataclass(frozen=True, eq=False)
class Task:
    """One puzzle: pairs that show the rule, and tests to solve with it.

    Attributes:
        id: the task's name, unique within its source.
        demonstrations: at least one pair, each with its output.
        tests: at least one pair; an output is None where the answer is not given.
        group: the concept or folder the task belongs to, or "".
        boards: the pairs are boards of one game, such as Sudoku, all of one size: each is a
            puzzle by itself.
    """

    id: str
    demonstrations: tuple[Pair, ...]
    tests: tuple[Pair, ...]
    group: str = ""
    boards: bool = False

    def blind(self) -> Task:
        """The task as a solver may see it: every test output is removed."""
        return replace(self, tests=tuple(Pair(test.input, None) for test in self.tests))

    def visible_grids(self) -> list[Grid]:
        """Every grid a solver may see: demonstration inputs and outputs, test inputs."""
        shown = [grid for pair in self.demonstrations for grid in (pair.input, pair.output)]
        return [grid for grid in shown if grid is not None] + [test.input for test in self.tests]


def make_grid(values: Any) -> Grid:
    """Check ``values`` (rows of integers 0-9, or an integer array) and freeze them.

    Raises:
        PuzzleError: not 1-30 rows of 1-30 equal columns of colours 0-9.
    """
    for problem in grid_problems(values, ""):
        raise PuzzleError("grid", str(problem))
    return _freeze(values)


def grid_problems(values: Any, place: str) -> Iterator[Problem]:
    """Everything that is wrong with ``values`` as a grid."""
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
            yield Problem(here, f"expected a row of colours, got {_kind(row)}")
            continue
        if width is None:
            width = len(row)
            if not 1 <= width <= MAX_SIDE:
                yield Problem(here, f"{width} columns, expected 1 to {MAX_SIDE}")
                return
        elif len(row) != width:
            yield Problem(here, f"ragged: {len(row)} columns, the first row has {width}")
            continue
        if set(map(type, row)) != {int} or min(row) < 0 or max(row) >= COLOURS:
            yield from _cell_problems(row, here)


def _cell_problems(row: Sequence[Any], place: str) -> Iterator[Problem]:
    for column, value in enumerate(row):
        if type(value) is not int:
            yield Problem(f"{place}[{column}]", f"expected a colour 0 to 9, got {_kind(value)}")
        elif not 0 <= value < COLOURS:
            yield Problem(f"{place}[{column}]", f"colour {_short(value)}, expected 0 to 9")


def _is_sound(values: np.ndarray) -> bool:
    """Whether a 2-D array of integers is a grid; quicker than a look at each cell."""
    sides = all(1 <= side <= MAX_SIDE for side in values.shape)
    return sides and int(values.min()) >= 0 and int(values.max()) < COLOURS


def task_problems(data: Any) -> Iterator[Problem]:
    """Everything that is wrong with ``data`` as a task's JSON object."""
    if not isinstance(data, dict):
        yield Problem("", f"expected an object with 'train' and 'test', got {_kind(data)}")
        return
    for part, called in (("train", "demonstrations"), ("test", "tests")):
        if part not in data:
            yield Problem(part, f"missing: a task needs a list of {called}")
            continue
        pairs = data[part]
        if not isinstance(pairs, list | tuple):
            yield Problem(part, f"expected a list of pairs, got {_kind(pairs)}")
            continue
        if not pairs:
            yield Problem(part, f"empty: a task needs at least one of its {called}")
        for index, pair in enumerate(pairs):
            yield from _pair_problems(pair, f"{part}[{index}]", output_needed=part == "train")


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
    """Build a task from its JSON object ``{"train": [...], "test": [...]}``.

    Args:
        data: the decoded object; grids as rows of integers or as integer arrays.
        id: the task's name.
        where: the file or source, for messages.
        group: the concept or folder the task belongs to.

    Raises:
        PuzzleError: naming the first problem and how many more there are.
    """
    problems = list(task_problems(data))
    if problems:
        raise PuzzleError(where, f"{problems[0]}{and_more(problems)}")
    return build_task(data, id, group)


def build_task(data: Any, id: str, group: str = "") -> Task:
    """The task in a JSON object in which :func:`task_problems` finds nothing wrong."""

    def pairs(items: Sequence[dict[str, Any]]) -> tuple[Pair, ...]:
        return tuple(
            Pair(_freeze(item["input"]), None if item.get("output") is None else _freeze(item["output"]))
            for item in items
        )

    return Task(id, pairs(data["train"]), pairs(data["test"]), group)


def _freeze(values: Any) -> Grid:
    if isinstance(values, list):
        # Twice as fast as np.array, and thousands of grids are made at the start of a run.
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
    # int -> str of a huge number is refused by Python; its size is all that matters here.
    return str(value) if value.bit_length() < 64 else "of more than 64 bits"
