"""Submissions, and scores compared with a second, plain scorer."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from hrm_arc.errors import UserError
from hrm_arc.evaluation.breakdown import breakdown
from hrm_arc.evaluation.prediction import Candidate, Prediction
from hrm_arc.evaluation.results import result_row
from hrm_arc.evaluation.scores import score
from hrm_arc.evaluation.submission import read_answers, read_lenient, read_submission, submission, submission_problems
from hrm_arc.files import write_lines
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
            has_answer = generator.random() < 0.9
            tests.append(Pair(make_grid([[7]]), make_grid(generator.choice(GRIDS)) if has_answer else None))
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
    """The definitions of the metrics as loops."""
    outputs = first = second = single = 0
    cells = 0.0
    shares, whole, counted = [], 0, 0
    for task in tasks:
        known = solved = 0
        for index, test in enumerate(task.tests):
            if test.output is None:
                continue
            known += 1
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
                        sum(given == token for given, token in zip(prediction.tokens.tolist(), wanted, strict=True))
                        / 900
                    )
        if known:
            counted += 1
            shares.append(solved / known)
            if solved == known:
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


def test_a_written_submission_is_valid_and_has_the_same_scores(tmp_path: Path) -> None:
    tasks, predictions = made()
    data = submission(tasks, predictions)
    assert list(submission_problems(data, tasks)) == []
    path = tmp_path / "submission.json"
    path.write_text(json.dumps(data))
    ours, theirs = score(tasks, predictions), score(tasks, read_submission(path, tasks))
    for name in ("pass@1", "pass@2", "pass@2_tasks_strict", "pass@2_tasks_mean"):
        assert theirs[name] == ours[name]


def test_a_lenient_reader_counts_malformed_attempts_as_wrong(tmp_path: Path) -> None:
    pair = Pair(make_grid([[1]]), make_grid([[2]]))
    tasks = [Task(name, (pair,), (pair,) * count) for name, count in (("a", 2), ("b", 1), ("c", 1), ("d", 1))]
    right, malformed = [[2]], [[2, 10]]
    data = {
        "a": [{"attempt_1": right, "attempt_2": malformed}, {"attempt_1": malformed, "attempt_2": right}],
        "b": [{"attempt_1": malformed}, "one too many"],
        "c": 3,
        "other": [],
    }
    path = tmp_path / "submission.json"
    path.write_text(json.dumps(data))
    predictions, problems = read_lenient(path, tasks)
    scores = score(tasks, predictions)
    assert (scores["solved_pass1"], scores["solved_pass2"], scores["test_outputs"]) == (1, 2, 5)
    places = [problem.split(":")[0] for problem in problems]
    # First what is around attempts, then the attempts.
    assert places == ["other", "b", "c", "d", "a[0].attempt_2[0][1]", "a[1].attempt_1[0][1]", *MALFORMED_B]
    assert breakdown(tasks, predictions)["errors"] == [{"kind": "no readable grid", "count": 3, "share": 1.0}]


MALFORMED_B = ["b[0].attempt_1[0][1]", "b[0].attempt_2"]
RIGHT = [[2, 2], [2, 0]]
# What TRM's evaluator and others write in place of a grid.
MALFORMED: dict[str, Any] = {
    "empty": [],
    "empty rows": [[], []],
    "null": None,
    "missing": ...,
    "ragged": [[2, 2], [2]],
    "31 x 31": [[0] * 31] * 31,
    "floats": [[2.0, 2.0], [2.0, 0.0]],
    "true": [[2, 2], [2, False]],
    "negative": [[2, 2], [2, -1]],
    "color 10": [[2, 2], [2, 10]],
    "text": "2220",
    "text of cells": [["2", "2"], ["2", "0"]],
    "number": 3,
    "flat": [2, 2, 2, 0],
    "deeper": [RIGHT],
    "object": {"grid": RIGHT},
    "huge": [[10**400]],
}


@pytest.mark.parametrize("kind", MALFORMED)
@pytest.mark.parametrize("key", ["attempt_1", "attempt_2"])
def test_a_malformed_attempt_is_wrong_is_listed_and_changes_no_other_score(tmp_path: Path, kind: str, key: str) -> None:
    pair = Pair(make_grid([[1]]), make_grid(RIGHT))
    tasks = [Task(name, (pair,), (pair,) * 2) for name in "ab"]
    wrong = [[1]]
    data: dict[str, Any] = {name: [{"attempt_1": wrong, "attempt_2": RIGHT} for _ in range(2)] for name in "ab"}
    path = tmp_path / "submission.json"
    path.write_text(json.dumps(data))
    before = score(tasks, read_lenient(path, tasks)[0])
    assert (before["solved_pass1"], before["solved_pass2"]) == (0, 4)
    assert read_lenient(path, tasks)[1] == []
    if MALFORMED[kind] is ...:
        del data["a"][1][key]
    else:
        data["a"][1][key] = MALFORMED[kind]
    path.write_text(json.dumps(data))
    predictions, problems = read_lenient(path, tasks)
    assert len(problems) == 1
    assert problems[0].startswith(f"a[1].{key}")
    after = score(tasks, predictions)
    # The second attempt is right: malformed, it no longer counts; after a malformed first one, it is still the second.
    assert (after["solved_pass1"], after["solved_pass2"]) == (0, 4 if key == "attempt_1" else 3)
    others = [prediction for prediction in predictions if (prediction.task, prediction.test) != ("a", 1)]
    assert score(tasks, others)["solved_pass2"] == 3
    # No cell of a malformed first attempt is right, so the share of right cells of the other three remains.
    expected = before["token_accuracy"] * (3 / 4 if key == "attempt_1" else 1)
    assert after["token_accuracy"] == pytest.approx(expected)
    with pytest.raises(UserError, match=r"a\[1\]"):
        read_submission(path, tasks)


@pytest.mark.parametrize("data", [[], {}, None, "text", {"a": []}, {"a": {}}, {"a": [[]]}, {"a": [None]}, {"b": []}])
def test_a_submission_without_a_single_attempt_is_all_wrong(tmp_path: Path, data: Any) -> None:
    pair = Pair(make_grid([[1]]), make_grid([[2]]))
    tasks = [Task("a", (pair,), (pair, pair))]
    path = tmp_path / "submission.json"
    path.write_text(json.dumps(data))
    predictions, problems = read_lenient(path, tasks)
    assert problems
    scores = score(tasks, predictions)
    assert (scores["test_outputs"], scores["solved_pass2"], scores["token_accuracy"]) == (2, 0, 0)


def test_the_problems_of_an_answer_do_not_hide_those_of_the_next(tmp_path: Path) -> None:
    pair = Pair(make_grid([[1]]), make_grid([[2]]))
    tasks = [Task("a", (pair,), (pair, pair, pair))]
    path = tmp_path / "submission.json"
    path.write_text(json.dumps({"a": [{"attempt_1": [], "attempt_2": [[2]]}, []]}))
    predictions, problems = read_lenient(path, tasks)
    assert [problem.split(":")[0] for problem in problems] == ["a", "a[0].attempt_1", "a[1]"]
    assert score(tasks, predictions)["solved_pass2"] == 1


def broken(kind: str, data: dict[str, Any]) -> tuple[Any, str]:
    """A submission with one problem, and the expected error."""
    name = next(iter(data))
    if kind == "list":
        return [], "expected an object of lists of attempts"
    if kind == "missing task":
        del data[name]
        return data, f"{name}: missing"
    if kind == "strange task":
        return {**data, "other": []}, "other: there is no such task"
    if kind == "too few":
        data[name] = data[name][:-1]
        return data, f"{name}: {len(data[name])} answers, expected a list of"
    if kind == "one attempt":
        del data[name][0]["attempt_2"]
        return data, f"{name}[0].attempt_2: missing"
    data[name][0]["attempt_1"] = [[1, 10]]
    return data, f"{name}[0].attempt_1[0][1]: color 10, expected 0 to 9"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"candidates": [{"grid": [[10]], "votes": 1, "confidence": 0.5}]}, "not the predictions of an evaluation"),
        ({"tokens": "00"}, "not the predictions of an evaluation"),
        ({"test": 9}, "there is no such test input"),
    ],
)
def test_the_problem_of_predictions_is_named(tmp_path: Path, damage: dict[str, Any], message: str) -> None:
    tasks, predictions = made()
    by_name = {task.id: task for task in tasks}
    rows = [result_row(by_name[prediction.task], prediction, []) for prediction in predictions]
    path = tmp_path / "predictions.jsonl"
    write_lines(path, [{**rows[0], **damage}, *rows[1:]])
    with pytest.raises(UserError, match=message) as caught:
        read_answers(path, tasks)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("kind", ["list", "missing task", "strange task", "too few", "one attempt", "color"])
def test_the_problem_of_a_submission_is_named(tmp_path: Path, kind: str) -> None:
    tasks, predictions = made()
    data, message = broken(kind, submission(tasks, predictions))
    path = tmp_path / "submission.json"
    path.write_text(json.dumps(data))
    with pytest.raises(UserError) as caught:
        read_submission(path, tasks)
    assert str(caught.value).startswith(f"{path}: {message}")
