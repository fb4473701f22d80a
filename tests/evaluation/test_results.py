"""predictions.jsonl and scores.json: what is solved is computed from the grids, and nothing is lost in silence."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hrm_arc.cli.main import main
from hrm_arc.errors import UserError
from hrm_arc.evaluation.prediction import Prediction
from hrm_arc.evaluation.results import read_results, read_scores
from hrm_arc.evaluation.scores import score, unknown_answers
from hrm_arc.evaluation.submission import read_answers, read_submission, submission
from hrm_arc.files import sealed_row, write_sealed_json
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.puzzles.task import Pair
from hrm_arc.reading import LARGEST_JSON, read_lines, unsealed
from hrm_arc.report.charts import training_curves
from hrm_arc.report.page import write_html, write_page
from hrm_arc.runs.folder import RunFolder
from tests.cli.commands import one_line
from tests.made import scored_run, write_puzzles

TASKS = load_tasks("arc-agi-1/evaluation")[:10]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return scored_run(tmp_path_factory.mktemp("made") / "run", TASKS, wrong=0.004)


@pytest.fixture
def folder(made: RunFolder, tmp_path: Path) -> RunFolder:
    shutil.copytree(made.path, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def rewrite(folder: RunFolder, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    """Change the rows of predictions.jsonl and give them right checksums."""
    rows = change(read_lines(folder.predictions_file))
    folder.predictions_file.write_text("".join(sealed_row(row) for row in rows))


def verbs(folder: RunFolder, made: RunFolder, tmp_path: Path) -> list[list[object]]:
    """Every command that reads results."""
    return [
        ["analyze", folder.path],
        ["report", folder.path],
        ["report", made.path, folder.path, "--out", tmp_path / "page.html"],
    ]


def test_lost_rows_are_named_by_every_command(
    folder: RunFolder, made: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rewrite(folder, lambda rows: rows[:3])
    for command in verbs(folder, made, tmp_path):
        said = one_line(capsys, *command)
        assert "predictions.jsonl" in said
        assert "it has 3 rows, and scores.json was made of" in said
    assert not (tmp_path / "page.html").exists()


def test_two_answers_to_one_test_output_are_refused(folder: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    rewrite(folder, lambda rows: [*rows, rows[0]])
    source = write_puzzles(folder.path.parent / "source", TASKS)
    for verb in (["eval", "--submission"], ["audit"]):
        said = one_line(capsys, *verb, folder.predictions_file, "--data", source)
        assert "as line 1 does; expected one answer to each test output" in said
    assert "as line 1 does" in one_line(capsys, "report", folder.path)


def test_an_answer_to_another_input_is_refused(folder: RunFolder) -> None:
    changed = [replace(TASKS[0], tests=(Pair(TASKS[1].tests[0].input, None),)), *TASKS[1:]]
    with pytest.raises(UserError, match="answers another test input than that of the data"):
        read_answers(folder.predictions_file, changed)


def test_a_file_s_own_word_for_what_is_solved_is_not_used(folder: RunFolder) -> None:
    before = read_results(folder).rows
    rewrite(folder, lambda rows: [{**row, "solved": True, "error": "right"} for row in rows])
    with pytest.raises(UserError, match="it has changed; run hrm eval again"):
        read_results(folder)
    # Someone who forges the checksums, too, changes nothing.
    scores = unsealed(json.loads(folder.scores_file.read_text()))
    digest = hashlib.sha256(folder.predictions_file.read_bytes()).hexdigest()
    write_sealed_json(folder.scores_file, {**scores, "predictions": {**scores["predictions"], "sha256": digest}})
    assert read_results(folder).rows == before
    assert not all(row["solved"] for row in before)


@pytest.mark.parametrize("name", ["scores.json", "predictions.jsonl"])
@pytest.mark.parametrize("damage", ["[]", "5", "null", "{}", "", "cut", "flip", "binary", "folder", "link", "gone"])
def test_damaged_results_are_one_line(
    folder: RunFolder, made: RunFolder, tmp_path: Path, name: str, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder.path / name
    content = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage == "link":
        path.symlink_to(made.path / name)
    elif damage != "gone":
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        path.write_bytes(
            {"cut": content[:middle], "flip": flipped, "binary": bytes(range(256))}.get(damage, damage.encode())
        )
    for command in verbs(folder, made, tmp_path):
        said = one_line(capsys, *command)
        assert (name in said) or (damage == "gone" and "not scored yet" in said)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"solved_pass2": 10**6}, "solved_pass2 is 1000000, expected a whole number from 0 to"),
        ({"mean_segments": 10**400}, "mean_segments is 1000"),
        ({"pass@2": 10.0}, "pass@2 is 10.0"),
        ({"metrics": [{"name": 3}]}, "metrics.name is a number"),
        ({"groups": [{}]}, "has no group"),
        ({"warnings": "none"}, "warnings is text"),
        ({"refinement": [{"segment": 1, "test_outputs": 0, "exact": 0, "changed": None}]}, "refinement.test_outputs"),
        ({"predictions": None}, "predictions is null"),
        ({"changed_tasks": None}, "changed_tasks is null"),
        ({"baselines": {}}, "has no pad_only"),
    ],
)
def test_scores_of_a_wrong_type_or_range_are_named(folder: RunFolder, change: dict[str, Any], what: str) -> None:
    scores = unsealed(json.loads(folder.scores_file.read_text()))
    write_sealed_json(folder.scores_file, {**scores, **change})
    with pytest.raises(UserError, match=what):
        read_scores(folder)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"refinement": [[None, 1_000_000_000]]}, "segments is 1000000000"),
        ({"refinement": [[None, 60_000], [[[1]], 60_000]]}, "more than 65536 segments"),
        ({"test": -1}, "test is -1"),
        ({"test": "0"}, "test is '0'"),
        ({"task": 5}, "task is a number"),
        ({"segments": -1}, "segments is"),
        ({"segments": 10**400}, "segments is 1000"),
        ({"candidates": [{"grid": [[1]], "votes": 0, "confidence": 0.5}]}, "votes is 0"),
        ({"candidates": [{"grid": [[1]], "votes": 1, "confidence": None}]}, "confidence is None"),
        ({"candidates": 5}, "iterable"),
        ({"tokens": "0" * 899}, "900 tokens"),
        ({"truth": [[10]]}, "color 10"),
        ({"groups": [1]}, "groups is a number"),
        ({"limit": 0}, "limit is 0"),
    ],
    ids=str,
)
def test_a_row_that_is_no_prediction_is_named(folder: RunFolder, change: dict[str, Any], what: str) -> None:
    rewrite(folder, lambda rows: [rows[0], {**rows[1], **change}, *rows[2:]])
    with pytest.raises(UserError, match="line 2: ") as caught:
        read_results(folder)
    assert what in str(caught.value)
    assert "not the predictions of an evaluation" in str(caught.value)


def test_a_large_file_of_predictions_is_read_in_parts(folder: RunFolder) -> None:
    rows = len(read_results(folder).rows)
    # Larger than any file that is read as a whole; what is appended is a hole without a line break.
    os.truncate(folder.predictions_file, LARGEST_JSON + 1)
    with pytest.raises(UserError, match=f"line {rows + 1}: longer than 64 MiB"):
        read_results(folder)


def test_a_prediction_survives_its_row(made: RunFolder) -> None:
    for row in read_lines(made.predictions_file):
        again = Prediction.from_row(row).as_row()
        assert again == {name: row[name] for name in again}


def test_what_more_attempts_would_solve_is_not_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "submission.json"
    path.write_text(json.dumps(submission(TASKS, [])))
    scores = score(TASKS, read_submission(path, TASKS))
    assert [scores[f"pass@{k}"] for k in (1, 2, 5, 10, 100)] == [0.0, 0.0, None, None, None]
    assert scores["pass@5_tasks_mean"] is scores["pass@100_tasks_strict"] is None
    assert set(scores["intervals"]) == {m["name"] for m in scores["metrics"] if scores[m["name"]] is not None}
    source = write_puzzles(tmp_path / "source", TASKS)
    assert main(["eval", "--submission", str(path), "--data", str(source)]) == 0
    assert "not known" in capsys.readouterr().out


def test_a_page_says_what_is_not_known(made: RunFolder) -> None:
    # Three votes have at most three candidates.
    assert read_scores(made)["pass@5"] is None
    page = write_page(made).read_text()
    row = page[page.index(">pass@5</span></td>") :]
    assert "not known" in row[: row.index("</tr>")]


def test_test_outputs_without_an_answer_are_counted_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hidden = replace(TASKS[0], tests=tuple(Pair(test.input, None) for test in TASKS[0].tests))
    tasks = [hidden, *TASKS[1:6]]
    total = sum(len(task.tests) for task in tasks)
    (said,) = unknown_answers(tasks)
    assert said.startswith(f"1 of {total} test outputs has no known answer and is not scored: {hidden.id}, test 1")
    assert unknown_answers(TASKS) == []
    source = write_puzzles(tmp_path / "source", tasks)
    (tmp_path / "submission.json").write_text(json.dumps(submission(tasks, [])))
    command = ["--submission", str(tmp_path / "submission.json"), "--data", str(source)]
    assert main(["eval", *command, "--json"]) == 0
    printed = capsys.readouterr()
    scores = json.loads(printed.out)
    assert (scores["answers_not_known"], scores["test_outputs"], scores["warnings"]) == (1, total - 1, [said])
    assert said in printed.err
    folder = scored_run(tmp_path / "run", tasks)
    assert said in read_scores(folder)["warnings"]
    assert said in write_page(folder).read_text()


def test_names_are_no_formulas_and_no_surrogates(tmp_path: Path) -> None:
    rows = [{"kind": "train", "step": 1, "seconds": 60.0, "loss": 1.0, "exact_accuracy": 0.5}] * 2
    assert "$a_{$" in training_curves({"$a_{$": rows, "$\\frac$": rows})
    write_html(tmp_path / "page.html", "half \ud800")
    assert (tmp_path / "page.html").read_text() == "half ?"
