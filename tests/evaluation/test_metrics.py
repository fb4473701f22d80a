from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from hrm_arc.errors import UserError
from hrm_arc.evaluation.evaluate import write_evaluation
from hrm_arc.evaluation.metrics import METRICS, Metric, Outcome, all_metrics, find_metrics, register_metric
from hrm_arc.evaluation.prediction import Candidate, Prediction
from hrm_arc.evaluation.scores import outcomes, score
from hrm_arc.files import write_text
from hrm_arc.puzzles.canvas import FULL
from hrm_arc.puzzles.task import Pair, Task, make_grid
from hrm_arc.runs.card import Card
from hrm_arc.runs.folder import RunFolder

ZERO, ONE = make_grid([[0]]), make_grid([[1]])


def random_case() -> tuple[list[Task], list[Prediction]]:
    """Forty tasks with one to three test outputs, and predictions of eight candidates in a random order."""
    generator = random.Random(7)
    grids = [make_grid([[color]]) for color in range(8)]
    tasks, predictions = [], []
    for number in range(40):
        tests = tuple(Pair(grids[0], grids[1]) for _ in range(generator.randint(1, 3)))
        tasks.append(Task(f"t{number}", (Pair(grids[0], grids[1]),), tests))
        for index in range(len(tests)):
            order = generator.sample(grids, 8)
            candidates = tuple(Candidate(grid, 9 - n, 0.5) for n, grid in enumerate(order))
            predictions.append(Prediction(f"t{number}", index, candidates, order[0], FULL.encode(order[0]), 1.5))
    return tasks, predictions


# Computed by version 0.1, which had one function for all averages.
KNOWN = {
    "pass@1": (0.15853658536585366, [0.08639340560072267, 0.24102084011722535]),
    "pass@2": (0.2804878048780488, [0.19275949953660798, 0.37349397590361444]),
    "pass@2_tasks_mean": (0.30833333333333335, [0.19999999999999996, 0.42093749999999946]),
    "pass@2_tasks_strict": (0.175, [0.075, 0.3]),
    "pass@5_tasks_mean": (0.6666666666666667, [0.5541666666666666, 0.7791666666666666]),
    "exact_accuracy": (0.15853658536585366, [0.08639340560072267, 0.24102084011722535]),
    "token_accuracy": (0.9990650406504068, [0.9989848815617792, 0.9991566898223527]),
}


def test_scores_and_intervals_are_those_of_version_0_1_to_the_last_bit() -> None:
    scores = score(*random_case())
    assert {name: (scores[name], scores["intervals"][name]) for name in KNOWN} == KNOWN


def test_scores_describe_their_metrics() -> None:
    scores = score(*random_case())
    assert [metric["name"] for metric in scores["metrics"]] == list(METRICS)
    assert all(metric["name"] in scores and metric["name"] in scores["intervals"] for metric in scores["metrics"])
    titles = {metric["name"]: metric["title"] for metric in scores["metrics"]}
    assert titles["pass@2"] == "test outputs solved in two attempts (Kaggle)"
    assert "TRM" in titles["pass@2_tasks_mean"]
    assert "HRM" in titles["pass@2_tasks_strict"]
    headlines = [metric["name"] for metric in scores["metrics"] if metric["headline"]]
    assert headlines == ["pass@2", "pass@2_tasks_mean", "pass@2_tasks_strict", "pass@1", "exact_accuracy"]


def two_tasks() -> tuple[list[Task], list[Prediction]]:
    """Task a has one test output, task b two; nothing is predicted for the last one."""
    demonstration = Pair(ZERO, ONE)
    tasks = [Task("a", (demonstration,), (Pair(ZERO, ONE),)), Task("b", (demonstration,), (Pair(ZERO, ONE),) * 2)]
    predictions = [
        Prediction("a", 0, (Candidate(ZERO, 2, 0.5), Candidate(ONE, 1, 0.5)), ZERO, FULL.encode(ZERO), 1.0),
        Prediction("b", 0, (Candidate(ONE, 3, 0.5),), ONE, FULL.encode(ONE), 1.0),
    ]
    return tasks, predictions


def value_of(outcome: Outcome) -> float:
    """1 for a/0, 0.5 for b/0 and 1.5 for b/1."""
    return {("a", 0): 1.0, ("b", 0): 0.5, ("b", 1): 1.5}[outcome.task, outcome.test]


def test_the_three_averages_by_hand() -> None:
    metrics = [
        Metric("over_outputs", "", value_of, share=False),
        Metric("over_tasks", "", lambda outcome: outcome.test + 0.0, "tasks_mean"),
        # The mean of task b is 1, but none of its test outputs has 1.
        Metric("strictly", "", value_of, "tasks_strict", share=False),
    ]
    scores = score(*two_tasks(), metrics=metrics)
    assert scores["over_outputs"] == pytest.approx(3 / 3)
    assert scores["over_tasks"] == pytest.approx((0 + 0.5) / 2)
    assert scores["strictly"] == pytest.approx(1 / 2)
    assert [metric["name"] for metric in scores["metrics"]][-3:] == ["over_outputs", "over_tasks", "strictly"]


def test_an_outcome_has_everything_about_a_test_output() -> None:
    first, second, missing = outcomes(*two_tasks())
    assert (first.task, first.test, first.rank, first.exact) == ("a", 0, 2, False)
    assert (second.rank, second.exact, second.token_accuracy) == (1, True, 1.0)
    assert (missing.prediction, missing.rank, missing.exact, missing.token_accuracy) == (None, None, False, 0.0)
    assert first.prediction is not None
    assert (first.truth.tolist(), first.input.tolist(), len(first.prediction.candidates)) == ([[1]], [[0]], 2)


def test_each_board_of_a_game_is_a_task() -> None:
    boards = tuple(Pair(ZERO, ONE) for _ in range(4))
    game = Task("game", boards[:1], boards, boards=True)
    scores = score(
        [game], [], metrics=[Metric("numbers", "", lambda outcome: outcome.test + 0.0, "tasks_mean", share=False)]
    )
    assert (scores["tasks"], scores["numbers"]) == (4, 1.5)


@pytest.fixture
def registered() -> Iterator[Metric]:
    metric = register_metric(Metric("candidates", "mean number of candidates", count_candidates, share=False))
    yield metric
    del METRICS._known[metric.name]


def count_candidates(outcome: Outcome) -> float:
    return 0.0 if outcome.prediction is None else len(outcome.prediction.candidates)


def test_a_registered_metric_is_part_of_every_evaluation(registered: Metric) -> None:
    scores = score(*two_tasks())
    assert scores["candidates"] == pytest.approx((2 + 1 + 0) / 3)
    assert scores["metrics"][-1] == registered.as_dict()
    assert find_metrics(["candidates"]) == [registered]
    # A recipe may list it too.
    assert score(*two_tasks(), metrics=find_metrics(["candidates"]))["candidates"] == scores["candidates"]


def test_a_metric_of_another_package_is_found_and_written_to_scores_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = """
        from hrm_arc.evaluation.metrics import Metric

        SIZE = Metric("right_size", "best grids of the right size", lambda outcome: float(
            outcome.prediction is not None and outcome.prediction.candidates[0].grid.shape == outcome.truth.shape))
        NUMBER = 3
    """
    write_text(tmp_path / "foreign_metrics.py", "\n".join(line[8:] for line in code.splitlines()))
    monkeypatch.syspath_prepend(tmp_path)
    tasks, predictions = two_tasks()
    card = Card("grid-hrm", {}, [], "cropped", True, [], [], 0, 1, 0, [], 1, "run", {})
    more = find_metrics(["foreign_metrics:SIZE", "pass@2"])
    scores = write_evaluation(card, tasks, predictions, RunFolder(tmp_path / "out"), {"votes": 1}, more)
    assert scores["right_size"] == pytest.approx(2 / 3)
    assert '"right_size"' in (tmp_path / "out" / "scores.json").read_text()
    with pytest.raises(UserError, match=r"evaluation\.metrics: foreign_metrics:NUMBER is of type int"):
        find_metrics(["foreign_metrics:NUMBER"])
    with pytest.raises(UserError, match="foreign_metrics has no OTHER"):
        find_metrics(["foreign_metrics:OTHER"])
    with pytest.raises(UserError, match="no metric 'pass@3', expected one of pass@2"):
        find_metrics(["pass@3"])


def fails(outcome: Outcome) -> float:
    raise ValueError("no such\nkey")


@pytest.mark.parametrize(
    ("compute", "message"),
    [
        (fails, "metric broken: ValueError on task a, test 1: no such key"),
        (lambda outcome: float("nan"), "metric broken: nan on task a, test 1, expected a finite number"),
        (lambda outcome: "many", "metric broken: ValueError on task a, test 1"),
    ],
)
def test_a_metric_that_fails_is_named_with_the_test_output(compute: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        score(*two_tasks(), metrics=[Metric("broken", "", compute)])  # type: ignore[arg-type]


def test_names_of_metrics_are_unique_and_no_other_keys() -> None:
    with pytest.raises(UserError, match="metric pass@2: is the name of two metrics"):
        all_metrics([Metric("pass@2", "another one", value_of)])
    with pytest.raises(ValueError, match="built-in"):
        register_metric(Metric("pass@2", "another one", value_of))
    for name in ("", "groups", "intervals"):
        with pytest.raises(ValueError, match="cannot name a metric"):
            Metric(name, "", value_of)
    with pytest.raises(ValueError, match="expected one of outputs, tasks_mean, tasks_strict"):
        Metric("x", "", value_of, "median")  # type: ignore[arg-type]
