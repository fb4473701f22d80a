"""Kaggle's submission.json: made from predictions, checked against the tasks, read as predictions, and scored."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hrm_arc.errors import UserError, and_more
from hrm_arc.evaluation.breakdown import breakdown
from hrm_arc.evaluation.games import game_scores
from hrm_arc.evaluation.metrics import ONE_PASS
from hrm_arc.evaluation.prediction import Candidate, Prediction, by_key, keys
from hrm_arc.evaluation.results import read_rows
from hrm_arc.evaluation.scores import score, unknown_answers
from hrm_arc.puzzles.canvas import FULL
from hrm_arc.puzzles.formats import read_strict_json
from hrm_arc.puzzles.task import Problem, Task, grid_problems, make_grid

ATTEMPT_KEYS = ("attempt_1", "attempt_2")
# Stands for a malformed attempt.
EMPTY = np.zeros((0, 0), dtype=np.uint8)
# Stands for each cell of a malformed attempt: the vocabulary ends below it.
NO_TOKEN = 255


def submission(tasks: Sequence[Task], predictions: Sequence[Prediction]) -> dict[str, list[dict[str, Any]]]:
    """Two attempts for each test output of each task, in order.

    If there is one candidate, both attempts are this candidate; if there is none, both are a single black cell.
    """
    given = by_key(predictions)

    def attempts(task: str, test: int) -> dict[str, Any]:
        prediction = given.get((task, test))
        grids = [grid.tolist() for grid in prediction.attempts()] if prediction else []
        grids = grids or [[[0]]]
        return dict(zip(ATTEMPT_KEYS, (grids[0], grids[-1]), strict=True))

    return {task.id: [attempts(task.id, index) for index in range(len(task.tests))] for task in tasks}


def submission_problems(data: Any, tasks: Sequence[Task]) -> Iterator[Problem]:
    """All problems of a submission for ``tasks``."""
    entries, problems = _entries(data, tasks)
    yield from problems
    for entry in entries:
        yield from entry.problems()


class _Entry(NamedTuple):
    """What a submission says of one test input.

    Attributes:
        task: the task.
        number: of the test input, from 0.
        attempts: an object with both attempts, or what stands in its place; None where nothing does.
        is_there: whether there is an entry.
    """

    task: Task
    number: int
    attempts: Any
    is_there: bool

    def problems(self, most: int | None = None) -> Iterator[Problem]:
        """The problems of its attempts, up to ``most`` of each grid, which can have one in each of its cells."""
        place = f"{self.task.id}[{self.number}]"
        if not self.is_there:
            return
        if not isinstance(self.attempts, dict):
            yield Problem(place, "expected an object with attempt_1 and attempt_2")
            return
        for key in ATTEMPT_KEYS:
            if key not in self.attempts:
                yield Problem(f"{place}.{key}", "missing: every test input needs two attempts")
            else:
                yield from itertools.islice(grid_problems(self.attempts[key], f"{place}.{key}"), most)


def _entries(data: Any, tasks: Sequence[Task]) -> tuple[list[_Entry], list[Problem]]:
    """What a submission says of each test input, and the problems of everything around it."""
    problems: list[Problem] = []
    if not isinstance(data, dict):
        problems.append(Problem("", "expected an object of lists of attempts, by task"))
        data = {}
    known = {task.id for task in tasks}
    problems += [Problem(str(name)[:40], "there is no such task in the data") for name in data if name not in known]
    entries = []
    for task in tasks:
        outputs = data.get(task.id)
        if task.id not in data:
            problems.append(Problem(task.id, "missing: every task needs attempts"))
        elif not isinstance(outputs, list) or len(outputs) != len(task.tests):
            has = f"{len(outputs)} answers" if isinstance(outputs, list) else "not a list"
            problems.append(Problem(task.id, f"{has}, expected a list of {len(task.tests)}, one for each test input"))
        given = outputs if isinstance(outputs, list) else []
        for number in range(len(task.tests)):
            is_there = number < len(given)
            entries.append(_Entry(task, number, given[number] if is_there else None, is_there))
    return entries, problems


def score_submission(path: Path, tasks: Sequence[Task], lenient: bool = False) -> dict[str, Any]:
    """The scores of a file of answers; nothing is written.

    Args:
        path: Kaggle's submission.json, or the predictions.jsonl of an evaluation.
        tasks: with their answers, as far as they are known.
        lenient: a malformed attempt counts as wrong, in place of an error.

    Returns:
        as :func:`~hrm_arc.evaluation.scores.score`, with ``groups`` and ``errors`` of
        :func:`~hrm_arc.evaluation.breakdown.breakdown`, ``games``, ``problems`` and ``warnings`` in words, and
        ``from_submission``: whether what otherwise counts one pass counts first attempts, because a submission has
        nothing else.

    Raises:
        UserError: the file cannot be read, or does not answer the tasks.
    """
    predictions, problems = read_lenient(path, tasks) if lenient else (read_answers(path, tasks), [])
    scores = {**score(tasks, predictions), **breakdown(tasks, predictions), "games": game_scores(tasks, predictions)}
    of_attempts = not _has_predictions(path)
    if of_attempts:
        for metric in scores["metrics"]:
            metric["title"] = metric["title"].replace(ONE_PASS, "by the first attempt")
    return {**scores, "from_submission": of_attempts, "problems": problems, "warnings": unknown_answers(tasks)}


def _has_predictions(path: Path) -> bool:
    """Whether a file of answers is the predictions.jsonl of an evaluation, and no submission."""
    return path.suffix == ".jsonl"


def read_answers(path: Path, tasks: Sequence[Task]) -> list[Prediction]:
    """Predictions from a file: Kaggle's submission.json, or the predictions.jsonl of an evaluation.

    Raises:
        UserError: the file cannot be read, or does not answer the tasks; it names the first problem.
    """
    if not _has_predictions(path):
        return read_submission(path, tasks)
    predictions, inputs = [], {(task.id, n): test.input for task in tasks for n, test in enumerate(task.tests)}
    for prediction, row in read_rows(path):
        predictions.append(prediction)
        key = (prediction.task, prediction.test)
        if key in inputs and inputs[key].tolist() != row["input"]:
            raise UserError(path, f"{key[0]}, test {key[1] + 1}: answers another test input than that of the data")
    wanted = set(keys(tasks))
    answered = {(prediction.task, prediction.test) for prediction in predictions}
    for task, test in sorted(answered - wanted):
        raise UserError(path, f"{task}, test {test + 1}: there is no such test input in the data")
    missing = sorted(wanted - answered)
    for task, test in missing:
        raise UserError(path, f"{task}, test {test + 1}: not answered{and_more(missing)}")
    return predictions


def read_submission(path: Path, tasks: Sequence[Task]) -> list[Prediction]:
    """A submission as predictions, so that it is scored as the predictions of an evaluation are.

    The attempts are the candidates. The first attempt is also the grid of the single pass, and its tokens are
    that grid on the full canvas. The number of segments is not known.

    Raises:
        UserError: the file cannot be read, or does not answer the tasks; it names the first problem.
    """
    entries, problems = _entries(read_strict_json(path), tasks)
    problems += [problem for entry in entries for problem in entry.problems()]
    if problems:
        raise UserError(path, f"{problems[0]}{and_more(problems)}")
    return [_prediction(entry.task, entry.number, entry.attempts) for entry in entries]


def read_lenient(path: Path, tasks: Sequence[Task]) -> tuple[list[Prediction], list[str]]:
    """As :func:`read_submission`, but what is malformed or missing is a wrong attempt, and changes no other one.

    Returns:
        the predictions, and the problems in words: one for each malformed or missing attempt, for each missing task,
        and for each entry that no test input asks for.

    Raises:
        UserError: the file cannot be read, or is not JSON.
    """
    if _has_predictions(path):
        raise UserError(
            "--lenient", f"is for a submission.json, and {path.name} holds the predictions of an evaluation"
        )
    entries, problems = _entries(read_strict_json(path), tasks)
    problems += [problem for entry in entries for problem in entry.problems(most=1)]
    predictions = [_prediction(entry.task, entry.number, entry.attempts) for entry in entries]
    return predictions, [str(problem) for problem in problems]


def _prediction(task: Task, number: int, attempts: Any) -> Prediction:
    """The prediction of two attempts; a malformed one becomes an empty grid, which equals no answer."""
    given = [attempts.get(key) if isinstance(attempts, dict) else None for key in ATTEMPT_KEYS]
    first, second = (EMPTY if any(grid_problems(grid, "")) else make_grid(grid) for grid in given)
    # An empty first attempt remains the first: the second one stays at rank 2.
    candidates = [Candidate(first, 2, 0.0)]
    if not np.array_equal(first, second):
        candidates.append(Candidate(second, 1, 0.0))
    single = first if first.size else None
    # Padding would be right wherever the truth has padding; no cell of a malformed attempt is.
    tokens = np.full(FULL.cells, NO_TOKEN, dtype=np.uint8) if single is None else FULL.encode(single)
    return Prediction(task.id, number, tuple(candidates), single, tokens, 0.0, limit=len(ATTEMPT_KEYS))
