"""``hrm submit``: a complete submission at every moment, within the time limit."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hrm_arc.competition import answering, submitting
from hrm_arc.competition.answering import SubmissionFile
from hrm_arc.competition.submitting import Competition, challenge_of, learnable
from hrm_arc.errors import UserError
from hrm_arc.evaluation.evaluate import predict_tasks
from hrm_arc.evaluation.guesses import guesses
from hrm_arc.evaluation.prediction import Candidate, Prediction
from hrm_arc.evaluation.submission import read_submission
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.puzzles.task import Pair, Task, make_grid
from hrm_arc.training.trainer import Trainer
from tests.cli.commands import HRM, check_one_line, hrm
from tests.made import write_tasks


@pytest.fixture
def competition(tmp_path: Path) -> Path:
    """A competition's folder: three small tasks and a large one, whose test outputs are hidden."""
    folder = tmp_path / "competition"
    tasks = write_tasks(tmp_path / "tasks")
    challenges = {file.stem: json.loads(file.read_text()) for file in sorted(tasks.iterdir())}
    large = [[1] * 20] * 20
    challenges["large"] = {"train": [{"input": large, "output": large}], "test": [{"input": large}, {"input": large}]}
    for task in challenges.values():
        task["test"] = [{"input": test["input"]} for test in task["test"]]
    folder.mkdir()
    (folder / "arc-agi_test_challenges.json").write_text(json.dumps(challenges))
    return folder


def is_complete(path: Path, folder: Path) -> bool:
    """Whether a file answers every test input of the folder's challenges twice."""
    tasks = load_tasks(f"{folder}/test")
    return len(read_submission(path, tasks)) == sum(len(task.tests) for task in tasks)


def test_everything_is_answered_within_the_time(
    competition: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submitting, "LEAST_TRIAL", 1.0)
    monkeypatch.setattr(submitting, "LEAST_TASKS", 3)
    # So many samples that the time does not suffice for the large task.
    monkeypatch.setattr(submitting, "SAMPLES", 10**6)
    out, said = tmp_path / "submission.json", []
    done_so_far: list[object] = []

    class Slow(Trainer):
        """On a busy machine, where it takes seconds to save a run."""

        def fit(self) -> dict[str, Any]:
            result = super().fit()
            time.sleep(2)
            done_so_far.append("trained")
            return result

    def recorded(*arguments: Any, votes: int, **more: Any) -> list[Prediction]:
        done_so_far.append(votes)
        return predict_tasks(*arguments, votes=votes, **more)

    monkeypatch.setattr(submitting, "Trainer", Slow)
    monkeypatch.setattr(answering, "predict_tasks", recorded)
    began = time.monotonic()
    work = Competition(f"{competition}/test", out, tmp_path / "runs", 20, began, note=said.append)
    done = work.run()
    assert is_complete(out, competition)
    assert (len(done.tasks), done.trained_on, done.answered, done.stopped) == (4, 3, 5, False)
    assert said == ["3 of 4 tasks are learned until the end"]
    last = done_so_far[len(done_so_far) - done_so_far[::-1].index("trained") :]
    assert last[:3] == [1, 1, 1], "what was learned until the end answers every task at least once"
    assert len(list((tmp_path / "runs").iterdir())) == 2, "the trial, and the training of what can be learned"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_was_answered_stays_when_it_is_ended_early(competition: Path, tmp_path: Path, number: int) -> None:
    out = tmp_path / "answers.json"
    command = [*HRM, "submit", str(competition), "--minutes", "10", "--model", "nothing", "--out", str(out), "--json"]
    process = subprocess.Popen(
        [*command, "--runs", str(tmp_path / "runs")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    while "training" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(number)
    printed, errors = process.communicate(timeout=120)
    assert is_complete(out, competition)
    assert list(tmp_path.glob(".answers*")) == [], "nothing but the submission is left"
    if number == signal.SIGTERM:
        assert process.returncode == 130
        assert "Traceback" not in errors
        result = json.loads(printed)
        assert result["path"] == str(out)
        assert (result["tasks"], result["test_inputs"]) == (4, 5)


def test_a_guess_is_what_the_demonstrations_suggest() -> None:
    one, two = make_grid([[1, 2]]), make_grid([[3, 3]])
    wide, unknown = make_grid([[5, 6, 7]]), make_grid([[9]])

    def task(*pairs: Pair, given: np.ndarray) -> Task:
        return Task("t", tuple(pairs), (Pair(given, unknown),))

    def of(found: Task) -> list[list[list[int]]]:
        return [grid.tolist() for grid in guesses(found, 0)]

    same_size = task(Pair(one, two), Pair(two, one), given=wide)
    assert of(same_size) == [[[5, 6, 7]], [[3, 3, 3]]], "the input, then its size in the most frequent color"
    constant = task(Pair(one, wide), Pair(two, wide), given=two)
    assert of(constant) == [[[5, 6, 7]], [[5, 5, 5]]]
    other_size = task(Pair(one, wide), Pair(two, make_grid([[7, 7, 7]])), given=two)
    assert of(other_size) == [[[7, 7, 7]]]
    noise = replace(same_size, tests=(Pair(wide, make_grid([[0] * 30] * 30)),))
    assert of(noise) == of(same_size), "test outputs are not read"


def test_a_guess_fills_the_second_attempt(competition: Path, tmp_path: Path) -> None:
    submission_file = SubmissionFile(load_tasks(f"{competition}/test"), tmp_path / "s.json")
    submission_file.write()
    answers = json.loads((tmp_path / "s.json").read_text())
    challenges = json.loads((competition / "arc-agi_test_challenges.json").read_text())
    for name in ("flip0", "flip1", "flip2"):
        (attempts,) = answers[name]
        assert attempts["attempt_1"] == challenges[name]["test"][0]["input"]
        assert attempts["attempt_2"] != attempts["attempt_1"]
    assert submission_file.answered == 0


def test_an_earlier_answer_is_the_second_attempt_before_a_guess(competition: Path, tmp_path: Path) -> None:
    submission_file = SubmissionFile(load_tasks(f"{competition}/test"), tmp_path / "s.json")

    def answer(*grids: list[list[int]]) -> list[list[list[int]]]:
        candidates = tuple(Candidate(make_grid(grid), 1, 0.5) for grid in grids)
        submission_file.add([Prediction("flip0", 0, candidates, None, np.zeros(900, dtype=np.uint8), 1.0)])
        submission_file.write()
        (attempts,) = json.loads((tmp_path / "s.json").read_text())["flip0"]
        return [attempts["attempt_1"], attempts["attempt_2"]]

    wide, tall = [[1, 2]], [[1], [2]]  # The same cells in another shape.
    (task,) = [task for task in submission_file.tasks if task.id == "flip0"]
    assert answer(wide) == [wide, task.tests[0].input.tolist()]
    assert answer(tall) == [tall, wide]
    assert answer(tall) == [tall, wide], "the same answer again displaces nothing"
    assert answer([[3]], [[4]]) == [[[3]], [[4]]]
    assert answer() == [[[3]], [[4]]], "an answer that holds no grid displaces nothing"
    assert answer(wide) == [wide, [[3]]]


def test_as_many_tasks_are_learned_as_the_time_allows(competition: Path, tmp_path: Path) -> None:
    submission_file = SubmissionFile(load_tasks("arc-agi-1/evaluation"), tmp_path / "s.json")
    sizes = sorted(submission_file.cells.values())
    assert learnable(submission_file, 1e12, 60, 1000) == sizes[-1]
    assert learnable(submission_file, 1.0, 60, 1000) == sizes[submitting.LEAST_TASKS - 1]
    chosen = [learnable(submission_file, speed, 60, 1000) for speed in (1e5, 1e6, 1e7)]
    assert chosen == sorted(chosen)
    assert len(set(chosen)) == 3


def test_which_challenges_are_answered(competition: Path, tmp_path: Path) -> None:
    assert challenge_of(competition) == f"{competition}/test"
    content = (competition / "arc-agi_test_challenges.json").read_text()
    folder = tmp_path / "other"
    folder.mkdir()
    assert challenge_of(folder) == str(folder)
    for split in ("training", "evaluation"):
        (folder / f"arc-agi_{split}_challenges.json").write_text(content)
    with pytest.raises(UserError, match="which challenges are to be answered"):
        challenge_of(folder)
    (folder / "arc-agi_training_solutions.json").write_text("{}")
    assert challenge_of(folder) == f"{folder}/evaluation", "of two, the one whose solutions are not there"
    file = folder / "arc-agi_training_challenges.json"
    assert challenge_of(file) == str(file)


def test_mistakes_are_one_line(competition: Path, tmp_path: Path) -> None:
    check_one_line(hrm("submit", tmp_path / "nowhere", "--minutes", "5"), "nowhere", "there is no such folder")
    check_one_line(hrm("submit", competition, "--minutes", "0"), "--minutes", "expected 1 to 10,000")
    out = tmp_path / "nowhere" / "s.json"
    out.parent.write_text("a file")
    check_one_line(hrm("submit", competition, "--minutes", "5", "--out", out), "nowhere", "")
    check_one_line(hrm("submit", competition), "hrm submit", "--minutes")
