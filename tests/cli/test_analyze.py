"""One task of a scored run, scores of an earlier step, and folders that are not there."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from hrm_arc.evaluation.backend import Answers
from hrm_arc.evaluation.learned import how_learned, learned_pairs
from hrm_arc.models import find_model
from hrm_arc.puzzles.augmented import Samples
from hrm_arc.puzzles.canvas import VOCABULARY
from hrm_arc.puzzles.task import Task
from hrm_arc.runs.card import Card
from tests.cli.commands import answer, check_one_line, hrm


@pytest.fixture(scope="module")
def scored(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = shutil.copytree(run_folder, tmp_path_factory.mktemp("scored") / "run")
    answer("eval", folder, "--votes", "4")
    return folder


def test_a_task_is_shown_in_full(scored: Path) -> None:
    shown = answer("analyze", scored, "flip0")
    (row, *_) = [json.loads(line) for line in (scored / "predictions.jsonl").read_text().splitlines()]
    (test,) = shown["tests"]  # type: ignore[misc]
    assert (shown["task"], test["input"], test["truth"]) == ("flip0", row["input"], row["truth"])
    best = row["candidates"][0]
    assert test["attempts"][0]["grid"] == best["grid"]
    assert test["attempts"][0]["share"] == best["votes"] / sum(each["votes"] for each in row["candidates"])
    assert test["attempts"][0]["right"] == (best["grid"] == row["truth"])
    assert {each["group"] for each in shown["groups"]} == set(row["groups"])  # type: ignore[attr-defined]
    demonstrations = shown["demonstrations"]
    assert isinstance(demonstrations, list)
    assert len(demonstrations) == 3
    for pair in demonstrations:
        assert pair["output"] == pair["input"][::-1]
        assert pair["exact"] == (pair["answer"] == pair["output"])
        assert pair["loss"] > 0
    assert shown["trained_on"] is True
    text = hrm("analyze", scored, "flip0").stdout
    assert "demonstration 3: loss" in text
    assert "flip0, test 1: " in text
    assert "would more training help?" in text
    assert "…" not in text, "what is no terminal gets whole lines"


def test_the_page_shows_the_demonstrations(scored: Path) -> None:
    answer("analyze", scored)
    page = (scored / "report.html").read_text()
    assert page.count("<summary>the demonstrations</summary>") == 3
    assert "demonstration 3: output" in page
    assert "Would more training help?" in page


def test_another_task_is_named(scored: Path, tmp_path: Path) -> None:
    check_one_line(hrm("analyze", scored, "flip9"), "flip9", "is not among the tasks that were scored; flip")
    for verb in ("analyze", "report"):
        check_one_line(hrm(verb, tmp_path / "nowhere"), "nowhere", "there is no such folder")
    (tmp_path / "run").mkdir()
    check_one_line(hrm("analyze", tmp_path / "run"), "run", "not scored yet")


def test_scores_of_an_earlier_step_say_so_on_every_view(scored: Path, tmp_path: Path) -> None:
    run = shutil.copytree(scored, tmp_path / "runs" / scored.name)
    more = ("--training.max_steps", "14", "--override", "training.max_steps")
    answer("train", "--resume", run, *more)
    expected = "these scores are of step 10, and the run is at step 14"
    assert expected in str(answer("analyze", run)["stale"])
    assert expected in str(answer("report", run)["stale"])
    both = answer("report", run, scored)
    assert expected in " ".join(both["warnings"])  # type: ignore[arg-type]
    assert both["recipe_differences"] == {"training.max_steps": [14, 10]}
    # Two folders of one name are told apart by their paths.
    assert hrm("report", run, scored).stdout.startswith(f"{scored} against {run}: ")
    assert "scored after 10 steps, the run is at 14" in (run / "report.html").read_text()
    (row,) = answer("runs", run.parent)["runs"]  # type: ignore[misc]
    assert (row["step"], row["pass_at_2_step"]) == (14, 10)
    assert "at step 10" in hrm("runs", run.parent).stdout
    assert "at step 10" in hrm("watch", run, "--once").stdout
    answer("eval", run, "--votes", "1")
    assert answer("analyze", run)["stale"] is None
    assert "at step" not in hrm("runs", run.parent).stdout


def test_two_runs_are_compared_in_words(scored: Path, run_folder: Path, tmp_path: Path) -> None:
    recipe = run_folder.parent.parent / "grid-hrm.yaml"
    flags = ("--training.max_steps", "10", "--seed", "1", "--name", "other")
    other = answer("train", recipe, "--out", tmp_path / "runs", *flags)["folder"]
    answer("eval", str(other), "--votes", "1")
    assert answer("report", scored, str(other))["recipe_differences"] == {"seed": [0, 1]}
    said = hrm("report", scored, str(other)).stdout
    assert said.startswith("other against tiny: ")
    assert re.search(r"seed +0 +1\n", said)


class Fixed:
    """A backend whose logits are the same for every cell, and whose answer is the input."""

    def __init__(self, logits: np.ndarray):
        self._logits = logits

    def answer(self, samples: Samples) -> Answers:
        return Answers(samples.inputs, np.full(len(samples), 0.5), np.ones(len(samples)))

    def refine(self, samples: Samples) -> np.ndarray:
        return samples.inputs[None]

    def logits(self, samples: Samples) -> np.ndarray:
        return np.broadcast_to(self._logits, (*samples.inputs.shape, VOCABULARY)).astype(np.float32)


def test_the_loss_of_a_demonstration_is_the_mean_over_its_cells() -> None:
    task = Task.from_lists("t", [([[1, 2]], [[1, 2]]), ([[3]], [[4]])], [([[5]], None)])
    options = dict(find_model("grid-hrm").example_config)
    card = Card("grid-hrm", options, ["t"], "cropped", True, [], [], 1, 1, 0, [], 7, "run", {})
    logits = np.linspace(-1, 2, VOCABULARY)
    first, second = learned_pairs(Fixed(logits), card, task)
    assert (first.exact, second.exact) == (True, False)
    assert how_learned([first, second]) == "partly learned: 1 of 2 demonstrations are answered exactly"
    # Colors 1 and 2, and three end marks: one to the right of the grid, two below it.
    chances = -torch.log_softmax(torch.tensor(logits), dim=0).numpy()
    mark, color = 1, 2
    expected = (chances[color + 1] + chances[color + 2] + 3 * chances[mark]) / 5
    assert first.loss == pytest.approx(expected, rel=1e-5)
