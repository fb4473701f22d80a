"""Which tasks are to be solved, which are given away, and what may be learned from each.

This is the wall between answers and training: everything that learns is built from
``training_puzzles``, which never looks at a test output of a task to be solved.
"""

from __future__ import annotations

from dataclasses import dataclass

from hrm_arc.puzzles.task import Grid, Pair, Task

# Row 0 of a model's task table stands for every task that it was not trained on.
UNSEEN = 0


@dataclass(frozen=True)
class Puzzle:
    """What an augmented set draws from one task.

    Attributes:
        id: the task's name; it keys which variants are drawn.
        row: the task's row in the model's task table.
        visible: items that tell variants apart and set the canvas: the pairs that may be
            learned from, and the inputs of tests that are held back.
        drawn: the pairs that samples are made of.
    """

    id: str
    row: int
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
        puzzles = [_blind_puzzle(row, task) for row, task in enumerate(self.solve, start=1)]
        for row, task in enumerate(self.study, start=len(self.solve) + 1):
            known = tuple(p for p in task.demonstrations + task.tests if p.output is not None)
            puzzles.append(Puzzle(task.id, row, tuple(map(_item, known)), known))
        return puzzles

    def held_back_puzzles(self) -> list[Puzzle]:
        """The test pairs of ``solve`` that have answers, under the training set's variants."""
        puzzles = []
        for row, task in enumerate(self.solve, start=1):
            answered = tuple(test for test in task.tests if test.output is not None)
            if answered:
                blind = _blind_puzzle(row, task)
                puzzles.append(Puzzle(blind.id, row, blind.visible, answered))
        return puzzles


def _blind_puzzle(row: int, task: Task) -> Puzzle:
    task = task.blind()
    visible = tuple(map(_item, task.demonstrations + task.tests))
    return Puzzle(task.id, row, visible, task.demonstrations)


def _item(pair: Pair) -> tuple[Grid, ...]:
    return (pair.input,) if pair.output is None else (pair.input, pair.output)
