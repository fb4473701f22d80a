"""Evaluations of files and folders that misbehave: checked before the work, and named in one line."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from hrm_arc.cli import evaluate
from hrm_arc.cli.main import main
from hrm_arc.errors import UserError
from hrm_arc.evaluation import journal
from hrm_arc.evaluation.journal import Journal
from hrm_arc.evaluation.metrics import METRICS
from hrm_arc.evaluation.predict import predict
from hrm_arc.evaluation.prediction import Prediction
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.runs import versions
from tests.cli.commands import one_line
from tests.made import Scribbles, write_puzzles

ROOT = Path(__file__).parents[2]
TASKS = load_tasks("arc-agi-1/training")[:3]


@pytest.fixture
def copied(run_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(run_folder, tmp_path / "run")


@pytest.mark.parametrize(
    "name", ["metrics.jsonl", "report.html", "scores.json", "predictions.jsonl", "submission.json"]
)
def test_eval_checks_what_it_needs_before_it_answers(
    copied: Path, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def answers(*arguments: object, **options: object) -> None:
        raise AssertionError("it answers")

    monkeypatch.setattr("hrm_arc.evaluation.evaluate.predict_tasks", answers)
    (copied / name).unlink(missing_ok=True)
    os.mkfifo(copied / name)
    assert name in one_line(capsys, "eval", copied, "--votes", "1")
    assert not list(copied.glob(".answering-*"))


def test_scores_do_not_follow_a_link_out_of_the_run(
    copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "outside").mkdir()
    shutil.rmtree(copied / "scores", ignore_errors=True)
    (copied / "scores").symlink_to(tmp_path / "outside")
    source = write_puzzles(tmp_path / "source", TASKS)
    assert "leads out of the run's folder" in one_line(capsys, "eval", copied, "--data", source, "--votes", "1")
    (checkpoint,) = (copied / "checkpoints").iterdir()
    assert "leads out of the run's folder" in one_line(capsys, "validate", checkpoint, "--data", source)
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize("kind", ["FIFO", "device", "folder", "missing"])
@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_a_submission_that_is_no_file_is_one_line(
    tmp_path: Path, kind: str, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"answers.{suffix}"
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    source = write_puzzles(tmp_path / "source", TASKS)
    for flags in ([], ["--lenient"] if suffix == "json" else []):
        assert f"answers.{suffix}" in one_line(capsys, "eval", "--submission", path, "--data", source, *flags)


@pytest.mark.parametrize("verb", ["report", "export"])
@pytest.mark.parametrize("kind", ["FIFO", "device"])
def test_out_replaces_regular_files_only(
    run_folder: Path, tmp_path: Path, verb: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if not (run_folder / "scores.json").is_file():
        assert main(["eval", str(run_folder), "--votes", "8"]) == 0
    out = tmp_path / "fifo.onnx"
    if kind == "FIFO":
        os.mkfifo(out)
    else:
        out.symlink_to("/dev/null")
    before = out.lstat()
    capsys.readouterr()
    runs = [run_folder, run_folder] if verb == "report" else [run_folder]
    assert "is not replaced" in one_line(capsys, verb, *runs, "--out", out)
    assert out.lstat().st_ino == before.st_ino
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fifo.onnx"]


def test_numbers_that_no_machine_holds_are_one_line(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--votes" in one_line(capsys, "eval", run_folder, "--votes", "1" + "0" * 30)
    assert "--augment" in one_line(capsys, "validate", run_folder, "--augment", "1" + "0" * 30)


def test_a_journal_is_not_written_through_a_link_and_has_one_answer_each(tmp_path: Path) -> None:
    first, second = (
        next(predict(Scribbles(wrong), TASKS, {}, votes=1, canvas="cropped", ignores_padding=False))
        for wrong in (0.0, 0.9)
    )
    (tmp_path / "outside").mkdir()
    (tmp_path / ".answering-linked").symlink_to(tmp_path / "outside")
    with pytest.raises(UserError, match="is a link"):
        Journal(tmp_path, "linked").add(first)
    journal = Journal(tmp_path, "one")
    journal.add(first)
    (tmp_path / ".answering-one" / "7.jsonl").symlink_to(tmp_path / "outside" / "file")
    with pytest.raises(UserError, match="is not a regular file"):
        Journal(tmp_path, "one", 7).add(first)
    (tmp_path / ".answering-one" / "7.jsonl").unlink()
    assert list((tmp_path / "outside").iterdir()) == []
    Journal(tmp_path, "one", 1).add(first)
    assert len(journal.read()) == 1, "the same answer twice is one answer"
    Journal(tmp_path, "one", 2).add(second)
    with pytest.raises(UserError, match="has two different answers"):
        journal.read()


def test_an_edited_row_of_a_journal_is_answered_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "one")
    made = list(predict(Scribbles(), TASKS, {}, votes=2, canvas="cropped", ignores_padding=False))
    for prediction in made:
        journal.add(prediction)
    (file,) = tmp_path.glob(".answering-one/*.jsonl")
    file.write_text(file.read_text().replace('"votes": ', '"votes": 1', 1))
    found = journal.read()
    assert isinstance(found[made[1].task, made[1].test], Prediction)
    assert (made[0].task, made[0].test) not in found


def test_who_uses_which_average_is_said_alike() -> None:
    table = {
        row.split("|")[1].strip().strip("`"): row.split("|")[3]
        for row in (ROOT / "docs" / "scoring.md").read_text().splitlines()
        if row.startswith("| `pass@2")
    }
    assert set(table) == {"pass@2", "pass@2_tasks_mean", "pass@2_tasks_strict"}
    for name, users in table.items():
        titled = re.search(r"\((.*)\)$", METRICS.find(name).title)
        assert titled is not None
        for user in titled[1].split(", "):
            assert user in users, name


def test_an_evaluation_is_gone_on_with_where_it_computes_the_same(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks: list[str] = []
    fingerprint = journal.fingerprint

    def recorded(*arguments: Any) -> str:
        marks.append(fingerprint(*arguments))
        return marks[-1]

    monkeypatch.setattr(journal, "fingerprint", recorded)
    opened = evaluate.open_model
    for version, device in (("2.13.0", "cpu"), ("2.13.0", "cpu"), ("2.14.0", "cpu"), ("2.13.0", "cuda")):

        def on_device(*arguments: Any, device: str = device) -> Any:
            return opened(*arguments)._replace(runs_on=device)

        monkeypatch.setattr(versions, "version", lambda name, found=version: found)
        monkeypatch.setattr(evaluate, "open_model", on_device)
        assert main(["eval", str(run_folder), "--votes", "2", "--out", str(tmp_path / "out")]) == 0
    assert marks[0] == marks[1]
    assert len(set(marks)) == 3
