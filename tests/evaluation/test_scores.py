from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrm_arc.evaluation.audit import audit
from hrm_arc.evaluation.baselines import baselines, task_baselines
from hrm_arc.evaluation.metrics import ATTEMPT_COUNTS
from hrm_arc.evaluation.prediction import Candidate, Prediction
from hrm_arc.evaluation.scores import SampleScores, outcomes, score, score_samples
from hrm_arc.evaluation.submission import submission
from hrm_arc.puzzles.augmented import AugmentedSet
from hrm_arc.puzzles.canvas import FIRST_COLOR, FULL, PAD, CanvasKind, clip, tokens_on_full
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.puzzles.task import Grid, Pair, Task, make_grid

ONE, TWO, THREE = (make_grid([[n]]) for n in (1, 2, 3))


def made_task(name: str, *truths: Grid | None) -> Task:
    return Task(name, (Pair(ONE, TWO),), tuple(Pair(ONE, truth) for truth in truths))


def predicted(task: str, test: int, *candidates: Grid, single: Grid | None = None) -> Prediction:
    ranked = tuple(Candidate(grid, len(candidates) - n, 0.5) for n, grid in enumerate(candidates))
    tokens = np.zeros(900, dtype=np.uint8) if single is None else FULL.encode(single)
    return Prediction(task, test, ranked, single, tokens, segments=1.5)


def test_every_average_by_hand() -> None:
    tasks = [made_task("a", TWO), made_task("b", TWO, TWO), made_task("c", TWO, TWO, TWO)]
    predictions = [
        predicted("a", 0, TWO, ONE, single=TWO),
        predicted("b", 0, ONE, TWO, single=ONE),
        predicted("b", 1, ONE, THREE, TWO),
        predicted("c", 0, TWO, single=TWO),
        predicted("c", 1),
    ]
    scores = score(tasks, predictions)
    assert (scores["tasks"], scores["test_outputs"]) == (3, 6)
    assert (scores["solved_pass1"], scores["solved_pass2"]) == (2, 3)
    assert scores["pass@1"] == pytest.approx(2 / 6)
    assert scores["pass@2"] == pytest.approx(3 / 6)
    assert scores["pass@2_tasks_strict"] == pytest.approx(1 / 3)
    assert scores["pass@2_tasks_mean"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert scores["exact_accuracy"] == pytest.approx(2 / 6)
    # A 1 x 1 grid is one color and two EOS among 900 cells; an answer of another color
    # misses one, one of padding misses three, and none at all misses everything.
    assert scores["token_accuracy"] == pytest.approx((900 + 899 + 897 + 900 + 897 + 0) / 6 / 900)
    assert scores["mean_segments"] == 1.5


def test_the_rank_of_the_right_grid() -> None:
    results = outcomes([made_task("a", THREE)], [predicted("a", 0, ONE, TWO, THREE)])
    assert results[0].rank == 3


def test_outputs_without_answers_are_not_counted() -> None:
    scores = score([made_task("a", None, TWO)], [predicted("a", 0, ONE), predicted("a", 1, TWO)])
    assert scores["test_outputs"] == 1
    assert scores["pass@1"] == 1.0


def test_without_a_known_answer_scores_are_not_known() -> None:
    scores = score([made_task("a", None)], [])
    assert (scores["test_outputs"], scores["intervals"]) == (0, {})
    assert (scores["pass@2"], scores["token_accuracy"], scores["mean_segments"]) == (None, None, None)


@pytest.mark.parametrize("complete", [False, True])
@pytest.mark.parametrize("canvas", ["full", "cropped"])
def test_samples_are_scored_as_predictions_are(canvas: CanvasKind, complete: bool) -> None:
    """One right answer, one with a wrong cell, and one without a readable grid."""
    task = load_tasks("arc-agi-1/training")[0]
    puzzles = Corpus(solve=(task,)).held_out_puzzles()
    (samples,) = AugmentedSet(puzzles, canvas=canvas, label_canvas="full").samples(np.zeros(3, dtype=np.int64))
    assert samples.labels is not None
    tokens = clip(samples.labels, samples.canvas).copy()
    tokens[1, 0] = FIRST_COLOR + (tokens[1, 0] - FIRST_COLOR + 1) % 10
    tokens[2] = PAD
    scores = score_samples(samples, tokens, complete)
    padding = int((samples.labels[2] == PAD).sum())
    assert scores == SampleScores(samples=3, correct_cells=900 + 899 + padding, exact=1)
    grids = [samples.canvas.decode(each) for each in tokens]
    on_full = [tokens_on_full(samples.canvas, each, complete) for each in tokens]
    made = [Prediction(task.id, 0, (), grid, each, 1.0) for grid, each in zip(grids, on_full, strict=True)]
    found = [outcome for prediction in made for outcome in outcomes([task], [prediction])]
    assert sum(outcome.exact for outcome in found) == scores.exact
    assert sum(outcome.token_accuracy for outcome in found) == pytest.approx(scores.correct_cells / 900)


def test_samples_without_labels_on_the_full_canvas_are_refused() -> None:
    puzzles = Corpus(solve=load_tasks("arc-agi-1/training")[:1]).held_out_puzzles()
    (samples,) = AugmentedSet(puzzles, canvas="cropped").samples(np.zeros(1, dtype=np.int64))
    with pytest.raises(ValueError, match="labels on the full canvas"):
        score_samples(samples, samples.inputs, complete=False)


def naive(tasks: list[Task], predictions: list[Prediction], attempts: int) -> dict[str, float]:
    """The same scores the slow and obvious way."""
    solved, total, strict, shares = 0, 0, 0, []
    for task in tasks:
        right = 0
        for index, test in enumerate(task.tests):
            for prediction in predictions:
                if (prediction.task, prediction.test) == (task.id, index) and test.output is not None:
                    right += any(c.grid.tolist() == test.output.tolist() for c in prediction.candidates[:attempts])
        solved, total = solved + right, total + len(task.tests)
        strict += right == len(task.tests)
        shares.append(right / len(task.tests))
    return {
        f"pass@{attempts}": solved / total,
        f"pass@{attempts}_tasks_strict": strict / len(tasks),
        f"pass@{attempts}_tasks_mean": sum(shares) / len(tasks),
    }


answers = st.lists(st.sampled_from([ONE, TWO, THREE]), max_size=3, unique_by=lambda grid: int(grid[0, 0]))


@settings(max_examples=200)
@given(st.lists(st.lists(answers, min_size=1, max_size=3), min_size=1, max_size=5))
def test_scores_agree_with_a_naive_scorer(made: list[list[list[Grid]]]) -> None:
    tasks = [made_task(str(n), *[TWO] * len(tests)) for n, tests in enumerate(made)]
    predictions = [predicted(str(n), k, *given_) for n, tests in enumerate(made) for k, given_ in enumerate(tests)]
    scores = score(tasks, predictions)
    by_name = {name: value for k in ATTEMPT_COUNTS for name, value in naive(tasks, predictions, k).items()}
    assert set(by_name) == {name for name in scores if name.startswith("pass@")}
    for name, value in by_name.items():
        assert scores[name] == pytest.approx(value), name
        low, high = scores["intervals"][name]
        assert low - 1e-9 <= value <= high + 1e-9


def test_an_interval_is_near_the_normal_approximation() -> None:
    tasks = [made_task(str(n), TWO) for n in range(400)]
    predictions = [predicted(str(n), 0, TWO if n < 100 else ONE) for n in range(400)]
    low, high = score(tasks, predictions)["intervals"]["pass@1"]
    # A share of 1/4 of 400: the normal interval is 0.25 +- 1.96 x 0.02165.
    assert low == pytest.approx(0.2076, abs=0.006)
    assert high == pytest.approx(0.2924, abs=0.006)


def test_a_submission_has_every_task_in_test_order_and_two_attempts() -> None:
    tasks = [made_task("a", TWO, TWO), made_task("b", None)]
    assert submission(tasks, [predicted("a", 0, ONE, TWO, THREE), predicted("a", 1, THREE)]) == {
        "a": [{"attempt_1": [[1]], "attempt_2": [[2]]}, {"attempt_1": [[3]], "attempt_2": [[3]]}],
        "b": [{"attempt_1": [[0]], "attempt_2": [[0]]}],
    }


def test_baselines_by_hand() -> None:
    copied = Task("a", (Pair(ONE, ONE),), (Pair(ONE, ONE),))
    changed = Task("b", (Pair(ONE, TWO),), (Pair(ONE, TWO), Pair(ONE, make_grid([[2, 2]]))))
    values = task_baselines([copied, changed])
    # Cells that are no padding: 3, 3 and 5. The commonest label of cell 0 is color 2 (twice), of
    # cell 1 EOS (twice), of cell 30 EOS (always), of all others padding.
    assert values["pad_only"] == {"token_accuracy": pytest.approx((897 + 897 + 895) / 2700), "exact_accuracy": 0.0}
    assert values["position_mode"]["token_accuracy"] == pytest.approx((899 + 900 + 897) / 2700)
    assert values["position_mode"]["exact_accuracy"] == pytest.approx(1 / 3)
    assert values["copy_input"]["token_accuracy"] == pytest.approx((900 + 899 + 896) / 2700)
    assert values["copy_input"]["exact_accuracy"] == pytest.approx(1 / 3)


def test_baselines_of_the_evaluation_tasks() -> None:
    values = task_baselines(load_tasks("arc-agi-1/evaluation"))
    assert values["pad_only"]["token_accuracy"] == pytest.approx(0.7121, abs=5e-5)
    assert values["position_mode"]["token_accuracy"] == pytest.approx(0.7355, abs=5e-5)
    assert values["copy_input"]["token_accuracy"] == pytest.approx(0.8735, abs=5e-5)
    assert values["copy_input"]["exact_accuracy"] == 0.0


def test_padding_on_the_augmented_set_scores_as_the_log_did() -> None:
    corpus = Corpus(solve=load_tasks("arc-agi-1/evaluation"))
    values = baselines(AugmentedSet(corpus.held_out_puzzles(), augment=500))
    assert values["pad_only"]["token_accuracy"] == pytest.approx(0.71358, abs=5e-6)


BASE = {
    "pad_only": {"token_accuracy": 0.71, "exact_accuracy": 0.0},
    "position_mode": {"token_accuracy": 0.73, "exact_accuracy": 0.0},
    "copy_input": {"token_accuracy": 0.87, "exact_accuracy": 0.1},
}


@pytest.mark.parametrize(
    ("tokens", "exact", "verdict"),
    [
        (0.7103, None, "is the score of padding everywhere: no evidence of learning"),
        (0.72, 0.0, "is below copying the input (87.00%); no grid is exactly right"),
        (0.95, 0.05, "above every baseline; 5.00% of the grids are exactly right, not more than copying"),
        (0.95, 0.4, "40.00% of the grids are exactly right, copying the input: 10.00%"),
        (None, None, "copying the input has a token accuracy of 87.00%"),
    ],
)
def test_verdicts(tokens: float | None, exact: float | None, verdict: str) -> None:
    assert verdict in audit(BASE, tokens, exact).verdict
