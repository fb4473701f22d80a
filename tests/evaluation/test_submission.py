"""Submissions, and scores against a second scorer that was written to be plain."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from hrm_arc.errors import UserError
from hrm_arc.evaluation.predict import Candidate, Prediction
from hrm_arc.evaluation.scores import score
from hrm_arc.evaluation.submission import read_answers, read_submission, submission, submission_problems
from hrm_arc.puzzles.canvas import FULL
from hrm_arc.puzzles.task import Pair, Task, make_grid

GRIDS = [[[1]], [[2]], [[1, 2]], [[1], [2]], [[3, 3], [3, 3]]]


def random_case(generator: random.Random) -> tuple[list[Task], list[Prediction]]:
    """A few tasks with a few tests each, and predictions of most of them."""
    pair = Pair(make_grid([[5]]), make_grid([[6]]))
    tasks, predictions = [], []
    for number in range(generator.randint(1, 5)):
        tests = []
        for index in range(generator.randint(1, 3)):
            known = generator.random() < 0.9
            tests.append(Pair(make_grid([[7]]), make_grid(generator.choice(GRIDS)) if known else None))
            if generator.random() < 0.9:
                grids = [make_grid(grid) for grid in generator.sample(GRIDS, generator.randint(0, 4))]
                candidates = tuple(Candidate(grid, 9 - n, 0.5) for n, grid in enumerate(grids))
                single = make_grid(generator.choice(GRIDS)) if generator.random() < 0.8 else None
                tokens = FULL.encode(single if single is not None else make_grid([[9]]))
                predictions.append(Prediction(f"t{number}", index, candidates, single, tokens, 1.0))
        tasks.append(Task(f"t{number}", (pair,), tuple(tests)))
    generator.shuffle(predictions)
    return tasks, predictions


def plain_scores(tasks: list[Task], predictions: list[Prediction]) -> dict[str, float]:
    """The definitions, word by word, in loops."""
    outputs = first = second = single = 0
    cells = 0.0
    shares, whole, counted = [], 0, 0
    for task in tasks:
        asked = solved = 0
        for index, test in enumerate(task.tests):
            if test.output is None:
                continue
            asked += 1
            outputs += 1
            truth = test.output.tolist()
            for prediction in predictions:
                if prediction.task == task.id and prediction.test == index:
                    ranked = [candidate.grid.tolist() for candidate in prediction.candidates]
                    if ranked[:1] == [truth]:
                        first += 1
                    if truth in ranked[:2]:
                        second += 1
                        solved += 1
                    if prediction.single is not None and prediction.single.tolist() == truth:
                        single += 1
                    wanted = FULL.encode(test.output).tolist()
                    cells += (
                        sum(said == token for said, token in zip(prediction.tokens.tolist(), wanted, strict=True)) / 900
                    )
        if asked:
            counted += 1
            shares.append(solved / asked)
            if solved == asked:
                whole += 1
    if not outputs:
        return {}
    return {
        "tasks": counted,
        "test_outputs": outputs,
        "pass@1": first / outputs,
        "pass@2": second / outputs,
        "pass@2_tasks_strict": whole / counted,
        "pass@2_tasks_mean": sum(shares) / counted,
        "exact_accuracy": single / outputs,
        "token_accuracy": cells / outputs,
    }


def test_scores_agree_with_a_plain_scorer_on_a_thousand_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hrm_arc.evaluation.bootstrap.RESAMPLES", 10)
    generator = random.Random(0)
    for _ in range(1000):
        tasks, predictions = random_case(generator)
        scores = score(tasks, predictions)
        for name, value in plain_scores(tasks, predictions).items():
            assert scores[name] == pytest.approx(value), name


def made() -> tuple[list[Task], list[Prediction]]:
    return random_case(random.Random(3))


def test_what_is_handed_in_fits_and_scores_the_same(tmp_path: Path) -> None:
    tasks, predictions = made()
    data = submission(tasks, predictions)
    assert list(submission_problems(data, tasks)) == []
    path = tmp_path / "submission.json"
    path.write_text(json.dumps(data))
    ours, theirs = score(tasks, predictions), score(tasks, read_submission(path, tasks))
    for name in ("pass@1", "pass@2", "pass@2_tasks_strict", "pass@2_tasks_mean"):
        assert theirs[name] == ours[name]


def broken(kind: str, data: dict[str, Any]) -> tuple[Any, str]:
    """A submission with something wrong, and what the error has to say."""
    name = next(iter(data))
    if kind == "list":
        return [], "expected an object of lists of attempts"
    if kind == "missing task":
        del data[name]
        return data, f"{name}: missing"
    if kind == "strange task":
        return {**data, "other": []}, "other: no such task"
    if kind == "too few":
        data[name] = data[name][:-1]
        return data, f"{name}: {len(data[name])} answers, expected a list of"
    if kind == "one attempt":
        del data[name][0]["attempt_2"]
        return data, f"{name}[0].attempt_2: missing"
    data[name][0]["attempt_1"] = [[1, 10]]
    return data, f"{name}[0].attempt_1[0][1]: colour 10, expected 0 to 9"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"candidates": [{"grid": [[10]], "votes": 1, "confidence": 0.5}]}, "not the predictions of an evaluation"),
        ({"tokens": "00"}, "not the predictions of an evaluation"),
        ({"test": 9}, "no such test input to be answered"),
    ],
)
def test_wrong_predictions_are_named(tmp_path: Path, damage: dict[str, Any], message: str) -> None:
    tasks, predictions = made()
    rows = [prediction.as_row() for prediction in predictions]
    path = tmp_path / "predictions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [{**rows[0], **damage}, *rows[1:]]))
    with pytest.raises(UserError, match=message) as caught:
        read_answers(path, tasks)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("kind", ["list", "missing task", "strange task", "too few", "one attempt", "colour"])
def test_a_wrong_submission_is_named(tmp_path: Path, kind: str) -> None:
    tasks, predictions = made()
    data, message = broken(kind, submission(tasks, predictions))
    path = tmp_path / "submission.json"
    path.write_text(json.dumps(data))
    with pytest.raises(UserError) as caught:
        read_submission(path, tasks)
    assert str(caught.value).startswith(f"{path}: {message}")
