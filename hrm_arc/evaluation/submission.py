"""Kaggle's submission.json: written, checked against the tasks it answers, and read back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hrm_arc.errors import UserError, and_more
from hrm_arc.evaluation.predict import Candidate, Prediction
from hrm_arc.files import read_lines
from hrm_arc.puzzles.canvas import FULL
from hrm_arc.puzzles.formats import read_json
from hrm_arc.puzzles.task import Problem, PuzzleError, Task, grid_problems, make_grid

ATTEMPTS = ("attempt_1", "attempt_2")


def submission(tasks: Sequence[Task], predictions: Sequence[Prediction]) -> dict[str, list[dict[str, Any]]]:
    """For each task two attempts at each test output, in order.

    Where a model has one candidate it is both attempts; where it has none, both are a
    single black cell.
    """
    given: Mapping[tuple[str, int], Prediction] = {(p.task, p.test): p for p in predictions}

    def attempts(task: str, test: int) -> dict[str, Any]:
        prediction = given.get((task, test))
        grids = [grid.tolist() for grid in prediction.attempts()] if prediction else []
        grids = grids or [[[0]]]
        return dict(zip(ATTEMPTS, (grids[0], grids[-1]), strict=True))

    return {task.id: [attempts(task.id, index) for index in range(len(task.tests))] for task in tasks}


def submission_problems(data: Any, tasks: Sequence[Task]) -> Iterator[Problem]:
    """Everything that is wrong with a submission for ``tasks``."""
    if not isinstance(data, dict):
        yield Problem("", "expected an object of lists of attempts, by task")
        return
    known = {task.id for task in tasks}
    for name in data.keys() - known:
        yield Problem(str(name)[:40], "no such task among those to be answered")
    for task in tasks:
        if task.id not in data:
            yield Problem(task.id, "missing: every task needs attempts")
            continue
        outputs = data[task.id]
        if not isinstance(outputs, list) or len(outputs) != len(task.tests):
            has = f"{len(outputs)} answers" if isinstance(outputs, list) else "no list"
            yield Problem(task.id, f"{has}, expected a list of {len(task.tests)}, one for each test input")
            continue
        for number, attempts in enumerate(outputs):
            for key in ATTEMPTS:
                place = f"{task.id}[{number}].{key}"
                if not isinstance(attempts, dict) or key not in attempts:
                    yield Problem(place, "missing: every test input needs two attempts")
                else:
                    yield from grid_problems(attempts[key], place)


def read_answers(path: Path, tasks: Sequence[Task]) -> list[Prediction]:
    """Predictions from a file: Kaggle's submission.json, or the predictions.jsonl of an evaluation.

    Raises:
        UserError: the file cannot be read, or does not answer the tasks; naming the first problem.
    """
    if path.suffix != ".jsonl":
        return read_submission(path, tasks)
    try:
        predictions = [Prediction.from_row(row) for row in read_lines(path)]
    except (KeyError, TypeError, ValueError, PuzzleError):
        raise UserError(path, "not the predictions of an evaluation") from None
    asked = {(task.id, number) for task in tasks for number in range(len(task.tests))}
    answered = {(prediction.task, prediction.test) for prediction in predictions}
    for task, test in sorted(answered - asked):
        raise UserError(path, f"{task}, test {test + 1}: no such test input to be answered")
    missing = sorted(asked - answered)
    for task, test in missing:
        raise UserError(path, f"{task}, test {test + 1}: not answered{and_more(missing)}")
    return predictions


def read_submission(path: Path, tasks: Sequence[Task]) -> list[Prediction]:
    """Anybody's submission as predictions, to be scored like our own.

    Attempts are the candidates; the first also stands for the answer in one pass, and its tokens
    are those of that grid written on the full canvas.

    Raises:
        UserError: the file cannot be read, or does not answer the tasks; naming the first problem.
    """
    data = read_json(path)
    problems = list(submission_problems(data, tasks))
    if problems:
        raise UserError(path, f"{problems[0]}{and_more(problems)}")
    predictions = []
    for task in tasks:
        for number, attempts in enumerate(data[task.id]):
            first, second = (make_grid(attempts[key]) for key in ATTEMPTS)
            candidates = [Candidate(first, 2, 0.0)]
            if not np.array_equal(first, second):
                candidates.append(Candidate(second, 1, 0.0))
            predictions.append(Prediction(task.id, number, tuple(candidates), first, FULL.encode(first), 0.0))
    return predictions
