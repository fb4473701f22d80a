"""Which tasks are to be solved, which are given away, and what may be learned from each.

This is the wall between answers and training: everything that learns is built from
``training_puzzles``, which never looks at a test output of a task to be solved.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

from hrm_arc.puzzles.canvas import Canvas, visible_canvas
from hrm_arc.puzzles.task import Grid, Pair, Task

# Row 0 of a model's task table stands for every task that it was not trained on.
UNSEEN = 0
# The number of a variant that training has no number for.
OTHER = -1


@dataclass(frozen=True)
class Puzzle:
    """What an augmented set draws from one task, or from one board of a game.

    Attributes:
        id: the puzzle's name; it keys which variants are drawn.
        row: the task's row in the model's task table.
        canvas: a canvas for what is visible.
        visible: items that tell variants apart: the pairs that may be learned from, and
            the inputs of tests that are held back.
        drawn: the pairs that samples are made of.
    """

    id: str
    row: int
    canvas: Canvas
    visible: tuple[tuple[Grid, ...], ...]
    drawn: tuple[Pair, ...]


@dataclass(frozen=True)
class Corpus:
    """Tasks to be solved and tasks that are given away.

    Attributes:
        solve: their demonstrations are trained on; their test outputs are held back.
        study: wholly known: demonstrations and test pairs are trained on.
    """

    solve: tuple[Task, ...] = ()
    study: tuple[Task, ...] = ()

    @property
    def tasks(self) -> tuple[Task, ...]:
        """All tasks in the order of their rows in a model's task table, which start at 1."""
        return self.solve + self.study

    def training_puzzles(self) -> list[Puzzle]:
        """Every pair that may be learned from. No test output of ``solve`` is looked at."""
        puzzles = []
        for row, task in enumerate(self.solve, start=1):
            blind = task.blind()
            puzzles += _puzzles(blind, row, blind.demonstrations, blind.demonstrations + blind.tests)
        for row, task in enumerate(self.study, start=len(self.solve) + 1):
            known = tuple(p for p in task.demonstrations + task.tests if p.output is not None)
            puzzles += _puzzles(replace(task, demonstrations=known, tests=()), row, known, known)
        return puzzles

    def held_back_puzzles(self) -> list[Puzzle]:
        """The test pairs of ``solve`` that have answers, under the training set's variants."""
        puzzles = []
        for row, task in enumerate(self.solve, start=1):
            answered = tuple(test for test in task.tests if test.output is not None)
            blind = task.blind()
            puzzles += _puzzles(blind, row, answered, blind.demonstrations + blind.tests)
        return puzzles


def _puzzles(task: Task, row: int, drawn: tuple[Pair, ...], visible: tuple[Pair, ...]) -> list[Puzzle]:
    """One puzzle of all the pairs; of a game, one for each board.

    Args:
        task: gives the canvas; holds nothing that may not be seen.
        row: its row in the model's task table.
        drawn: what samples are made of.
        visible: what tells variants apart, as far as it may be seen. Of a game's boards, only
            their inputs.
    """
    if not drawn:
        return []
    canvas = visible_canvas(task)
    if task.boards:
        # Named by what is on it, so that a board has the same variants in any selection.
        names = (f"{task.id}/{zlib.crc32(pair.input.tobytes()):08x}" for pair in drawn)
        return [Puzzle(name, row, canvas, ((pair.input,),), (pair,)) for name, pair in zip(names, drawn, strict=True)]
    return [Puzzle(task.id, row, canvas, tuple(map(_item, visible)), drawn)]


def _item(pair: Pair) -> tuple[Grid, ...]:
    return (pair.input,) if pair.output is None else (pair.input, pair.output)
