"""The answers to a competition's tasks so far: a complete submission on disk, filled within a time limit."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from hrm_arc.evaluation.evaluate import predict_tasks
from hrm_arc.evaluation.guesses import guesses
from hrm_arc.evaluation.prediction import Candidate, Key, Prediction, keys
from hrm_arc.evaluation.submission import submission
from hrm_arc.evaluation.torch_backend import TorchBackend
from hrm_arc.files import write_json
from hrm_arc.hardware import chosen_precision
from hrm_arc.models.reasoner import Reasoner
from hrm_arc.puzzles.canvas import FULL, PAD, visible_canvas
from hrm_arc.puzzles.task import ATTEMPTS, Task
from hrm_arc.runs.card import Card

# The cost of a sample in cells is t + t * t / QUADRATIC_DIVISOR, where t is its cells and OVERHEAD more tokens.
OVERHEAD, QUADRATIC_DIVISOR = 16, 600
# What answering a test input costs beside its cells.
CALL = 3000


class SubmissionFile:
    """The answers so far, and the submission on disk, which is complete at every moment.

    Args:
        tasks: the tasks to answer.
        path: the submission.
    """

    def __init__(self, tasks: Sequence[Task], path: Path):
        self.tasks = tuple(tasks)
        self.path = path
        self.cells = {task.id: visible_canvas(task).cells for task in tasks}
        self._answers: dict[Key, Prediction] = {}
        self._guesses = {(task, n): guesses(found, n) for found in tasks for task, n in keys([found])}

    @property
    def answered(self) -> int:
        """The number of test inputs that a model has answered."""
        return len(self._answers)

    def add(self, predictions: Sequence[Prediction]) -> None:
        """Put new answers to some test inputs before the earlier ones, which fill attempts that would be guesses."""
        for new in predictions:
            if new.candidates:
                earlier = self._answers.get((new.task, new.test))
                joined = _first(new.candidates, earlier.candidates if earlier else ())
                self._answers[new.task, new.test] = replace(new, candidates=joined)

    def write(self) -> None:
        """Write the submission.

        Raises:
            ReportedError: it cannot be written.
        """
        write_json(self.path, submission(self.tasks, [self._complete(key) for key in keys(self.tasks)]))

    def _complete(self, key: Key) -> Prediction:
        """The answer to a test input, with guesses where a model gave fewer than two grids."""
        given = self._answers.get(key)
        guessed = [Candidate(grid, 1, 0.0) for grid in self._guesses[key]]
        return replace(given or _blank(key), candidates=_first(given.candidates if given else (), guessed))


def _first(candidates: Sequence[Candidate], more: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Candidates for both attempts: the first ones that differ, those of ``more`` after the others."""
    different: dict[tuple[tuple[int, ...], bytes], Candidate] = {}
    for each in (*candidates, *more):
        different.setdefault((each.grid.shape, each.grid.tobytes()), each)
    return tuple(different.values())[:ATTEMPTS]


def _blank(key: Key) -> Prediction:
    """The answer of no model."""
    return Prediction(*key, (), None, np.full(FULL.cells, PAD, dtype=np.uint8), 0.0)


class TimedAnswerer:
    """Answers tasks within a time limit, the smallest first, and keeps the submission up to date.

    Args:
        submission_file: the answers.
    """

    def __init__(self, submission_file: SubmissionFile):
        self._submission = submission_file
        self._cells_per_second: float | None = None

    def seconds(self, tasks: Sequence[Task], votes: int) -> float:
        """How long it takes to answer tasks, by what was measured; 0 before that."""
        if self._cells_per_second is None:
            return 0.0
        return sum(self._size(task, votes) for task in tasks) / self._cells_per_second

    def of_model(self, model: Reasoner, card: Card, votes: int, stop: float, tasks: Sequence[Task] = ()) -> None:
        """Answer with a model in memory; see :meth:`answer`."""
        device = next(model.parameters()).device
        precision = chosen_precision("auto", device.type)
        self.answer(TorchBackend.of_card(model, card, device, precision), card, votes, stop, tasks)

    def answer(self, backend: TorchBackend, card: Card, votes: int, stop: float, tasks: Sequence[Task] = ()) -> None:
        """Answer tasks with a number of votes until ``stop`` (of time.monotonic), and write the submission.

        Args:
            backend, card: the model.
            votes: for each test input.
            stop: no task is begun that would end later.
            tasks: those to answer; by default all that the model has a row for.
        """
        known = card.rows()
        wanted = tasks or [task for task in self._submission.tasks if task.id in known]
        for task in sorted(wanted, key=lambda task: (self._submission.cells[task.id], task.id)):
            began = time.monotonic()
            if began + 1.5 * self.seconds([task], votes) > stop:
                break
            self._submission.add(predict_tasks(backend, card, [task], votes=votes))
            rate = self._size(task, votes) / max(1e-6, time.monotonic() - began)
            # The slower of what is usual and what was just seen.
            usual = self._cells_per_second
            self._cells_per_second = rate if usual is None else min(rate, 0.8 * usual + 0.2 * rate)
        self._submission.write()

    def _size(self, task: Task, votes: int) -> int:
        """What answering a task costs, in cells; what does not depend on its canvas counted as cells, too."""
        return (CALL + votes * cost(self._submission.cells[task.id])) * len(task.tests)


def cost(cells: int) -> int:
    """What a sample costs, in cells of a small canvas: attention grows with the square of the tokens."""
    tokens = cells + OVERHEAD
    return tokens + tokens * tokens // QUADRATIC_DIVISOR
