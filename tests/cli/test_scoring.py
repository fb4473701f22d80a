"""What comes after training: scores, audits, pages."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

from hrm_arc.puzzles.sources import load_tasks
from tests.cli.commands import HRM, answer, check_one_line, hrm
from tests.made import scored_run, tiny_recipe, write_puzzles, write_tasks


def test_eval_writes_scores_predictions_submission_and_page(run_folder: Path) -> None:
    scores = answer("eval", run_folder, "--votes", "8")
    assert set(scores) >= {
        *("tasks", "test_outputs", "token_accuracy", "exact_accuracy", "pass@1", "pass@2", "pass@2_tasks_strict"),
        *("pass@2_tasks_mean", "intervals", "baselines", "mean_segments", "seconds"),
    }
    assert scores["test_outputs"] == 3
    assert json.loads((run_folder / "status.json").read_text())["pass_at_2"] == scores["pass@2"]
    submission = json.loads((run_folder / "submission.json").read_text())
    assert [len(submission[f"flip{n}"]) for n in range(3)] == [1, 1, 1]
    assert set(submission["flip0"][0]) == {"attempt_1", "attempt_2"}
    page = (run_folder / "report.html").read_text()
    assert all(f"flip{n}" in page for n in range(3))
    assert "padding everywhere" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    again = answer("eval", run_folder, "--votes", "8")
    assert {k: v for k, v in again.items() if k != "seconds"} == {k: v for k, v in scores.items() if k != "seconds"}


def test_eval_thinks_to_the_end_where_it_is_told_to(run_folder: Path, tmp_path: Path) -> None:
    assert answer("eval", run_folder, "--votes", "2", "--no-halting", "--out", tmp_path)["mean_segments"] == 2


def test_eval_on_another_source_writes_where_it_is_told(run_folder: Path, tmp_path: Path) -> None:
    other = write_tasks(tmp_path / "other", count=5)
    scores = answer("eval", run_folder, "--data", other, "--votes", "1", "--out", tmp_path / "out")
    assert (scores["test_outputs"], scores["unseen_tasks"]) == (5, 2)
    assert (tmp_path / "out" / "submission.json").is_file()


def test_scores_of_one_checkpoint_lie_beside_the_runs_own(run_folder: Path, tmp_path: Path) -> None:
    (checkpoint,) = (run_folder / "checkpoints").glob("step-*")
    inside = {file.name for file in checkpoint.iterdir()}
    scores = answer("eval", checkpoint, "--votes", "1")
    assert scores["folder"] == str(run_folder / "scores" / checkpoint.name)
    assert answer("report", str(scores["folder"]))["report"] == scores["report"]
    assert {file.name for file in checkpoint.iterdir()} == inside
    alone = shutil.copytree(checkpoint, tmp_path / "alone")
    assert answer("eval", alone, "--votes", "1")["folder"] == str(tmp_path / "alone.scores")


def test_audit_of_a_run_and_of_a_claim(run_folder: Path) -> None:
    audited = answer("audit", run_folder)
    scores = answer("eval", run_folder)
    assert {key: audited[key] for key in ("token_accuracy", "exact_accuracy", "baselines")} == {
        key: scores[key] for key in ("token_accuracy", "exact_accuracy", "baselines")
    }
    assert {"verdict", "dependence"} <= set(audited)
    check_one_line(hrm("audit", "--augment", "-1"), "--augment", "expected 0 or more")
    claimed = answer("audit", "--data", "arc-agi-1/evaluation", "--claim", "0.7121")
    assert "is the score of padding everywhere" in str(claimed["verdict"])


def test_anybodys_submission_is_scored_like_our_own(run_folder: Path, tmp_path: Path) -> None:
    ours = answer("eval", run_folder, "--out", tmp_path / "out")
    tasks = run_folder.parent.parent / "tasks"
    theirs = answer("eval", "--from", tmp_path / "out" / "submission.json", "--data", tasks)
    assert {name: theirs[name] for name in ("tasks", "pass@1", "pass@2")} == {
        name: ours[name] for name in ("tasks", "pass@1", "pass@2")
    }
    assert {"groups", "errors", "baselines", "intervals"} <= set(theirs)
    for wrong in (["eval"], ["eval", run_folder, "--from", "x"], ["eval", "--from", tmp_path / "out" / "scores.json"]):
        done = hrm(*wrong)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1


def test_analyze_tells_kinds_of_task_and_of_error(run_folder: Path, tmp_path: Path) -> None:
    done = hrm("analyze", tmp_path)
    assert done.returncode == 2
    assert "not scored yet" in done.stderr
    scores = answer("eval", run_folder)
    told = answer("analyze", run_folder)
    assert told["groups"] == scores["groups"]
    groups = told["groups"]
    assert isinstance(groups, list)
    assert {"same size", "symmetry"} <= {row["group"] for row in groups}, "each task turns its grid upside down"
    page = Path(str(told["report"])).read_text()
    assert "By kind of task" in page
    assert "symmetry" in hrm("analyze", run_folder).stdout


def test_a_checkpoint_that_is_nobodys_run_is_analysed_without_a_page(run_folder: Path, tmp_path: Path) -> None:
    checkpoint = next((run_folder / "checkpoints").glob("step-*"))
    shutil.copytree(checkpoint, tmp_path / "alone")
    assert answer("eval", tmp_path / "alone", "--votes", "1", "--out", tmp_path / "scores")["report"] is None
    told = answer("analyze", tmp_path / "scores")
    assert told["report"] is None
    assert told["groups"]
    assert "written to" not in hrm("analyze", tmp_path / "scores").stdout


def test_scores_on_another_source_do_not_touch_the_runs_own(run_folder: Path, tmp_path: Path) -> None:
    answer("eval", run_folder)
    before = {name: (run_folder / name).read_bytes() for name in ("scores.json", "predictions.jsonl", "report.html")}
    scores = answer("eval", run_folder, "--data", write_tasks(tmp_path / "other", count=5), "--votes", "1")
    folder = Path(str(scores["folder"]))
    assert folder.parent == run_folder / "scores"
    assert Path(str(scores["report"])) == folder / "report.html"
    assert {name: (run_folder / name).read_bytes() for name in before} == before


def test_an_evaluation_that_was_stopped_goes_on(run_folder: Path, tmp_path: Path) -> None:
    source = write_puzzles(tmp_path / "tasks", load_tasks("arc-agi-1/training")[:60])
    flags = ["--data", str(source), "--votes", "8"]
    command = [*HRM, "eval", str(run_folder), *flags, "--out", str(tmp_path / "stopped")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while not any(file.stat().st_size for file in (tmp_path / "stopped").glob(".answering-*/0.jsonl")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, "goes on from here" in errors) == (130, True)
    (journal,) = (tmp_path / "stopped").glob(".answering-*/0.jsonl")
    known = len(journal.read_text().splitlines())
    assert 0 < known < 60
    assert not (tmp_path / "stopped" / "scores.json").exists()
    scores = answer("eval", run_folder, *flags, "--out", tmp_path / "stopped")
    assert scores["tasks"] == 60
    answer("eval", run_folder, *flags, "--out", tmp_path / "whole")
    for name in ("predictions.jsonl", "scores.json", "submission.json"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not list((tmp_path / "stopped").glob(".answering-*"))


def test_two_runs_side_by_side(run_folder: Path, tmp_path: Path) -> None:
    answer("eval", run_folder)
    compared = answer("report", run_folder, run_folder, "--out", tmp_path / "page.html")
    assert (compared["difference"], compared["interval"], compared["test_outputs"]) == (0, [0, 0], 3)
    assert "What differs in their recipes" in (tmp_path / "page.html").read_text()
    assert Path(str(answer("report", run_folder)["report"])) == run_folder / "report.html"
    other = scored_run(tmp_path / "other", load_tasks("arc-agi-1/training")[:3])
    check_one_line(hrm("report", run_folder, other.path), str(run_folder), "no test output")
    check_one_line(hrm("report", run_folder, tmp_path), str(tmp_path), "not scored yet")
    check_one_line(hrm("report", run_folder, "--out", tmp_path / "x"), "--out", "two runs")


def test_nothing_is_told_about_answers_that_nobody_knows(run_folder: Path, tmp_path: Path) -> None:
    blind = write_puzzles(tmp_path / "tasks", [task.blind() for task in load_tasks("arc-agi-1/training")[:3]])
    scored = hrm("eval", run_folder, "--data", blind, "--votes", "1", "--out", tmp_path / "out")
    assert (scored.returncode, "nothing to score" in scored.stdout) == (0, True)
    for command in (["audit", "--claim", "0.7"], ["audit", run_folder], ["eval", "--from", "submission.json"]):
        done = hrm(*command, "--data", blind, cwd=tmp_path / "out")
        assert done.returncode == 2
        assert "has no test output with a known answer" in done.stderr.splitlines()[-1]


def test_scores_are_those_of_the_step_that_was_scored(tmp_path: Path) -> None:
    tiny_recipe(write_tasks(tmp_path / "tasks"))
    trained = answer("train", tmp_path / "grid-hrm.yaml", "--out", tmp_path / "runs")
    run = Path(str(trained["folder"]))
    scores = answer("eval", run, "--votes", "1")
    assert (scores["step"], scores["run_id"]) == (6, run.name)
    assert "scored after 6 steps" in (run / "report.html").read_text()
    answer("train", "--resume", run, "--training.steps", "8", "--override", "training.steps")
    assert json.loads((run / "status.json").read_text())["pass_at_2"] is None, "those of an earlier step are none"
    answer("analyze", run)
    assert "scored after 6 steps, the run is at 8" in " ".join((run / "report.html").read_text().split())


def test_audit_of_answers_in_a_file(tmp_path: Path) -> None:
    tasks = load_tasks("arc-agi-1/training")[:20]
    made = scored_run(tmp_path / "run", tasks)
    source = write_puzzles(tmp_path / "tasks", tasks)
    constant = {task.id: [{"attempt_1": [[0]], "attempt_2": [[0]]}] * len(task.tests) for task in tasks}
    (tmp_path / "constant.json").write_text(json.dumps(constant))
    said = answer("audit", tmp_path / "constant.json", "--data", source)
    assert "it says the same to everything" in str(said["verdict"])
    for file in (made.predictions_file, made.submission_file):
        assert "differ from one input to another" in str(answer("audit", file, "--data", source)["verdict"])
    check_one_line(hrm("audit", made.predictions_file), "predictions.jsonl", "needs --data")
    check_one_line(hrm("audit", made.metrics_file, "--data", source), "metrics.jsonl", "not the predictions")
