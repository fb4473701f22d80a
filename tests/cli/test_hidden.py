"""Where answers are hidden, every view says that they are not known; none says zero."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.commands import answer, hrm
from tests.made import tiny_recipe, write_tasks


@pytest.fixture(scope="module")
def hidden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scored run on tasks whose test outputs are hidden."""
    root = tmp_path_factory.mktemp("hidden")
    for file in write_tasks(root / "tasks").iterdir():
        task = json.loads(file.read_text())
        task["test"] = [{"input": test["input"]} for test in task["test"]]
        file.write_text(json.dumps(task))
    tiny_recipe(root / "tasks")
    run = answer("train", root / "grid-hrm.yaml", "--out", root / "runs", "--training.max_steps", "10")["folder"]
    return Path(str(run))


def test_scores_are_null(hidden: Path) -> None:
    scores = answer("eval", hidden, "--votes", "2")
    assert (scores["test_outputs"], scores["answers_not_known"]) == (0, 3)
    for name in ("pass@2", "pass@1", "exact_accuracy", "token_accuracy", "solved_pass1", "solved_pass2"):
        assert scores[name] is None
    assert scores["baselines"] == {}
    written = json.loads((hidden / "scores.json").read_text())
    assert (written["solved_pass2"], written["baselines"]) == (None, {})


def test_the_page_leads_with_what_is_known(hidden: Path) -> None:
    answer("eval", hidden, "--votes", "2")
    text = re.sub(
        r"<script.*?</script>|<style.*?</style>|<[^>]+>", " ", (hidden / "report.html").read_text(), flags=re.S
    )
    assert "3 test inputs answered; the answers are not known" in text
    assert "0 of 0" not in text
    assert "0.0%" not in text.partition("Training")[0]


def test_views_say_not_known(hidden: Path) -> None:
    watched = hrm("watch", hidden, "--once").stdout
    assert "not known: no answer of a task to be solved is here" in watched
    assert "0.00% exact" not in watched
    (row,) = answer("runs", hidden.parent)["runs"]  # type: ignore[misc]
    assert (row["pass_at_2"], row["best"]) == (None, None)
    info = answer("data", "info", hidden.parent.parent / "tasks")
    assert (info["unknown_outputs"], info["test_outputs"], info["baselines"]) == (3, 3, {})
    solved = answer(
        "solve", hidden.parent.parent / "tasks", "--model", hidden, "--finetune-seconds", "0", "--votes", "1"
    )
    assert (solved["answers_known"], solved["solved"]) == (0, None)


def test_an_export_is_compared_without_answers(hidden: Path, tmp_path: Path) -> None:
    exported = answer("export", hidden, "--out", tmp_path / "model.onnx", "--samples", "6")
    parity = exported["parity"]
    assert isinstance(parity, dict)
    assert (parity["samples"], parity["test_outputs"], parity["tokens_different"]) == (6, 0, 0)
    for name in ("exact_accuracy", "sample_accuracy", "solved", "other_solved"):
        assert parity[name] is None
    shown = hrm("export", hidden, "--check", tmp_path / "model.onnx", "--samples", "6")
    assert shown.stdout.count("not known") == 3
