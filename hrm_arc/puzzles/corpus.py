"""Which tasks are to be solved, which are studied, and which pairs of each may be trained on.

This module keeps held-out answers out of training: all training data is built from
``training_puzzles``, which never reads a test output of a task to be solved.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from hrm_arc.errors import UserError, and_more
from hrm_arc.puzzles.canvas import Canvas, visible_canvas
from hrm_arc.puzzles.task import Grid, Pair, Task

# Row 0 of a model's task table stands for every task that it was not trained on.
UNSEEN = 0
# The variant number of a variant that is not in the training set.
OTHER = -1


@dataclass(frozen=True)
class Puzzle:
    """What an augmented set uses of one task, or of one board of a game.

    Attributes:
        id: the puzzle's name; the choice of variants depends on it.
        row: the task's row in the model's task table.
        canvas: the smallest canvas for the visible grids.
        visible: tuples of grids by which variants are compared: the pairs that may be trained
            on, and the inputs of held-out tests.
        drawn: the pairs that samples are made from.
    """

    id: str
    row: int
    canvas: Canvas
    visible: tuple[tuple[Grid, ...], ...]
    drawn: tuple[Pair, ...]


@dataclass(frozen=True, init=False)
class Corpus:
    """The tasks of a run: tasks to be solved and tasks to study.

    This is not a division into train and test: training is transductive, and a model is trained on
    the demonstrations of the tasks that it has to solve.

    Args:
        solve: tasks to be solved, as any sequence.
        study: tasks to study, as any sequence.

    Attributes:
        solve: tasks to be solved. Their demonstrations are trained on; their test outputs are held out.
        study: tasks to study. Their demonstrations and their test pairs are trained on.

    Raises:
        TypeError: a value is not a task.
        UserError: two tasks of one side have the same id.
    """

    solve: tuple[Task, ...] = ()
    study: tuple[Task, ...] = ()

    def __init__(self, solve: Sequence[Task] = (), study: Sequence[Task] = ()):
        # Written out, so that a type checker accepts lists and gives back tuples.
        object.__setattr__(self, "solve", tuple(solve))
        object.__setattr__(self, "study", tuple(study))
        untyped: tuple[Any, ...] = self.tasks
        for task in untyped:
            if not isinstance(task, Task):
                kind = type(task).__name__
                raise TypeError(f"a Corpus is made of Task objects, got {kind}; load_tasks gives the tasks of a source")
        # One task may be on both sides: a leak, which training refuses or reports. A game is known by its name alone.
        studied = {task.id for task in self.study}
        if both := [task.id for task in self.solve if task.boards and task.id in studied]:
            what = f"{both[0]} is to be solved and to be studied; name one source with boards for both, such as"
            raise UserError("data.study", f"{what} {both[0]}:1000")
        for side, tasks in (("solve", self.solve), ("study", self.study)):
            if twice := [name for name, count in Counter(task.id for task in tasks).items() if count > 1]:
                what = f"has task {twice[0]}{and_more(twice)} more than once; ids have to differ"
                raise UserError(f"Corpus.{side}", what)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """All tasks, in the order of their rows in a model's task table; the first has row 1."""
        return self.solve + self.study

    def training_puzzles(self) -> list[Puzzle]:
        """The pairs that may be trained on, one puzzle for each task or board; no test output of ``solve`` is read."""
        puzzles = []
        for row, task in enumerate(self.solve, start=1):
            blind = task.blind()
            puzzles += _puzzles(blind, row, blind.demonstrations, blind.demonstrations + blind.tests)
        for row, task in enumerate(self.study, start=len(self.solve) + 1):
            known = tuple(p for p in task.demonstrations + task.tests if p.output is not None)
            puzzles += _puzzles(replace(task, demonstrations=known, tests=()), row, known, known)
        return puzzles

    def held_out_puzzles(self) -> list[Puzzle]:
        """The test pairs of ``solve`` that have outputs, with the same variants as in training."""
        puzzles = []
        for row, task in enumerate(self.solve, start=1):
            answered = tuple(test for test in task.tests if test.output is not None)
            blind = task.blind()
            puzzles += _puzzles(blind, row, answered, blind.demonstrations + blind.tests)
        return puzzles


def _puzzles(task: Task, row: int, drawn: tuple[Pair, ...], visible: tuple[Pair, ...]) -> list[Puzzle]:
    """One puzzle with all the pairs; for a game, one puzzle for each board.

    Args:
        task: gives the canvas; must not hold a held-out output.
        row: the task's row in the model's task table.
        drawn: the pairs that samples are made from.
        visible: the pairs by which variants are compared. For a game, only the inputs of ``drawn`` are compared.
    """
    if not drawn:
        return []
    canvas = visible_canvas(task)
    if task.boards:
        # The name depends on the board's cells, so a board has the same variants in every selection.
        names = (f"{task.id}/{zlib.crc32(pair.input.tobytes()):08x}" for pair in drawn)
        return [Puzzle(name, row, canvas, ((pair.input,),), (pair,)) for name, pair in zip(names, drawn, strict=True)]
    return [Puzzle(task.id, row, canvas, tuple(map(_item, visible)), drawn)]


def _item(pair: Pair) -> tuple[Grid, ...]:
    return (pair.input,) if pair.output is None else (pair.input, pair.output)
