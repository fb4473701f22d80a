"""The verbs after training: eval, audit, analyze, report."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

from hrm_arc.evaluation.metrics import RESERVED
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
    written = json.loads((run_folder / "scores.json").read_text())
    known = {metric["name"] for metric in written["metrics"] if written[metric["name"]] is not None}
    assert known == set(written["intervals"])
    assert (written["pass@5"] is not None, written["pass@10"], written["pass@100"]) == (True, None, None), "8 votes"
    submission = json.loads((run_folder / "submission.json").read_text())
    assert [len(submission[f"flip{n}"]) for n in range(3)] == [1, 1, 1]
    assert set(submission["flip0"][0]) == {"attempt_1", "attempt_2"}
    page = (run_folder / "report.html").read_text()
    assert all(f"flip{n}" in page for n in range(3))
    assert "padding everywhere" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    again = answer("eval", run_folder, "--votes", "8")
    assert {k: v for k, v in again.items() if k != "seconds"} == {k: v for k, v in scores.items() if k != "seconds"}


def test_eval_without_early_exit_runs_every_segment(run_folder: Path, tmp_path: Path) -> None:
    assert answer("eval", run_folder, "--votes", "2", "--no-early-exit", "--out", tmp_path)["mean_segments"] == 2


def test_eval_reads_grids_by_the_published_rule(run_folder: Path, tmp_path: Path) -> None:
    likely = answer("eval", run_folder, "--votes", "2", "--out", tmp_path / "likely")
    published = answer("eval", run_folder, "--votes", "2", "--reading", "published", "--out", tmp_path / "published")
    assert (likely["reading"], published["reading"]) == ("likely", "published")
    assert (likely["early_exit"], published["test_outputs"]) == (True, likely["test_outputs"])
    # The model has learned so little that its tokens are no whole grid, and the two rules cut other ones out of them.
    singles = [
        [json.loads(line)["single"] for line in (tmp_path / name / "predictions.jsonl").read_text().splitlines()]
        for name in ("likely", "published")
    ]
    assert singles[0] != singles[1]


def test_eval_on_another_source_writes_into_the_given_folder(run_folder: Path, tmp_path: Path) -> None:
    other = write_tasks(tmp_path / "other", count=5)
    scores = answer("eval", run_folder, "--data", other, "--votes", "1", "--out", tmp_path / "out")
    assert (scores["test_outputs"], scores["unseen_tasks"]) == (5, 2)
    assert (tmp_path / "out" / "submission.json").is_file()


def test_scores_of_one_checkpoint_are_written_into_the_run_folder(run_folder: Path, tmp_path: Path) -> None:
    (checkpoint,) = (run_folder / "checkpoints").glob("step-*")
    inside = {file.name for file in checkpoint.iterdir()}
    scores = answer("eval", checkpoint, "--votes", "1")
    assert scores["folder"] == str(run_folder / "scores" / checkpoint.name)
    assert answer("report", str(scores["folder"]))["report"] == scores["report"]
    assert {file.name for file in checkpoint.iterdir()} == inside
    alone = shutil.copytree(checkpoint, tmp_path / "alone")
    assert answer("eval", alone, "--votes", "1")["folder"] == str(tmp_path / "alone.scores")


def test_no_metric_can_have_the_name_of_something_else_in_scores_json(run_folder: Path) -> None:
    scores = answer("eval", run_folder)
    names = {metric["name"] for metric in scores["metrics"]}  # type: ignore[attr-defined]
    assert set(scores) - names <= RESERVED


def test_audit_of_a_run_and_of_a_claim(run_folder: Path) -> None:
    audited = answer("audit", run_folder)
    scores = answer("eval", run_folder)
    assert {key: audited[key] for key in ("token_accuracy", "exact_accuracy", "baselines")} == {
        key: scores[key] for key in ("token_accuracy", "exact_accuracy", "baselines")
    }
    assert {"verdict", "dependence"} <= set(audited)
    check_one_line(hrm("audit", "--augment", "-1"), "--augment", "expected 0 or more")
    audited = answer("audit", "--data", "arc-agi-1/evaluation", "--claim", "0.7121")
    assert "is the score of padding everywhere" in str(audited["verdict"])


def test_a_submission_is_scored_as_a_run_is(run_folder: Path, tmp_path: Path) -> None:
    ours = answer("eval", run_folder, "--out", tmp_path / "out")
    tasks = run_folder.parent.parent / "tasks"
    theirs = answer("eval", "--submission", tmp_path / "out" / "submission.json", "--data", tasks)
    assert {name: theirs[name] for name in ("tasks", "pass@1", "pass@2")} == {
        name: ours[name] for name in ("tasks", "pass@1", "pass@2")
    }
    assert {"groups", "errors", "baselines", "intervals"} <= set(theirs)
    # A submission has no pass without votes: what is counted in its place is named.
    titles = {metric["name"]: metric["title"] for metric in theirs["metrics"]}  # type: ignore[attr-defined]
    assert titles["exact_accuracy"] == "test outputs right by the first attempt"
    assert not any("one pass" in title for title in titles.values())
    for file, row in (("submission.json", "the first attempts"), ("predictions.jsonl", "this model, one pass")):
        assert row in hrm("eval", "--submission", tmp_path / "out" / file, "--data", tasks).stdout
    broken = json.loads((tmp_path / "out" / "submission.json").read_text())
    broken["flip0"][0]["attempt_1"] = []
    (tmp_path / "broken.json").write_text(json.dumps(broken))
    lenient = answer("eval", "--submission", tmp_path / "broken.json", "--lenient", "--data", tasks)
    assert lenient["test_outputs"] == ours["test_outputs"]
    assert lenient["problems"] == ["flip0[0].attempt_1: 0 rows, expected 1 to 30"]
    check_one_line(
        hrm("eval", "--submission", tmp_path / "out" / "predictions.jsonl", "--lenient", "--data", tasks),
        "--lenient",
        "is for a submission.json",
    )
    check_one_line(hrm("eval", "--submission", tmp_path / "broken.json", "--data", tasks), "broken.json", "flip0[0]")
    check_one_line(hrm("eval", run_folder, "--lenient"), "--lenient", "needs --submission")
    for wrong in (
        ["eval"],
        ["eval", run_folder, "--submission", "x"],
        ["eval", "--submission", tmp_path / "out" / "scores.json"],
    ):
        done = hrm(*wrong)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1


def test_analyze_shows_groups_of_tasks_and_kinds_of_error(run_folder: Path, tmp_path: Path) -> None:
    done = hrm("analyze", tmp_path)
    assert done.returncode == 2
    assert "not scored yet" in done.stderr
    scores = answer("eval", run_folder)
    analyzed = answer("analyze", run_folder)
    assert analyzed["groups"] == scores["groups"]
    groups = analyzed["groups"]
    assert isinstance(groups, list)
    assert {"same size", "symmetry"} <= {row["group"] for row in groups}, "each task flips its grid"
    page = Path(str(analyzed["report"])).read_text()
    assert "By group of tasks" in page
    assert "symmetry" in hrm("analyze", run_folder).stdout


def test_a_checkpoint_without_a_run_is_analyzed_without_a_page(run_folder: Path, tmp_path: Path) -> None:
    checkpoint = next((run_folder / "checkpoints").glob("step-*"))
    shutil.copytree(checkpoint, tmp_path / "alone")
    assert answer("eval", tmp_path / "alone", "--votes", "1", "--out", tmp_path / "scores")["report"] is None
    analyzed = answer("analyze", tmp_path / "scores")
    assert analyzed["report"] is None
    assert analyzed["groups"]
    assert "written to" not in hrm("analyze", tmp_path / "scores").stdout


def test_scores_on_another_source_leave_the_scores_of_the_run_unchanged(run_folder: Path, tmp_path: Path) -> None:
    answer("eval", run_folder)
    before = {name: (run_folder / name).read_bytes() for name in ("scores.json", "predictions.jsonl", "report.html")}
    scores = answer("eval", run_folder, "--data", write_tasks(tmp_path / "other", count=5), "--votes", "1")
    folder = Path(str(scores["folder"]))
    assert folder.parent == run_folder / "scores"
    assert Path(str(scores["report"])) == folder / "report.html"
    assert {name: (run_folder / name).read_bytes() for name in before} == before


def test_a_stopped_evaluation_is_resumed_by_the_same_command(run_folder: Path, tmp_path: Path) -> None:
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
    assert (process.returncode, "the same command resumes the evaluation" in errors) == (130, True)
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
    assert "Differences of the recipes" in (tmp_path / "page.html").read_text()
    assert Path(str(answer("report", run_folder)["report"])) == run_folder / "report.html"
    other = scored_run(tmp_path / "other", load_tasks("arc-agi-1/training")[:3])
    check_one_line(hrm("report", run_folder, other.path), str(run_folder), "no test output")
    check_one_line(hrm("report", run_folder, tmp_path), str(tmp_path), "not scored yet")
    check_one_line(hrm("report", run_folder, "--out", tmp_path / "x"), "--out", "two runs")


def test_without_known_answers_there_are_no_scores(run_folder: Path, tmp_path: Path) -> None:
    blind = write_puzzles(tmp_path / "tasks", [task.blind() for task in load_tasks("arc-agi-1/training")[:3]])
    scored = hrm("eval", run_folder, "--data", blind, "--votes", "1", "--out", tmp_path / "out")
    assert (scored.returncode, "there is nothing to score" in scored.stdout) == (0, True)
    for command in (["audit", "--claim", "0.7"], ["audit", run_folder], ["eval", "--submission", "submission.json"]):
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
    answer("train", "--resume", run, "--training.max_steps", "8", "--override", "training.max_steps")
    status = json.loads((run / "status.json").read_text())
    assert (status["current_step"], status["pass_at_2_step"]) == (8, 6), "a score belongs to its step"
    assert status["pass_at_2"] == scores["pass@2"]
    answer("analyze", run)
    assert "scored after 6 steps, the run is at 8" in " ".join((run / "report.html").read_text().split())


def test_audit_of_answers_in_a_file(tmp_path: Path) -> None:
    tasks = load_tasks("arc-agi-1/training")[:20]
    made = scored_run(tmp_path / "run", tasks)
    source = write_puzzles(tmp_path / "tasks", tasks)
    constant = {task.id: [{"attempt_1": [[0]], "attempt_2": [[0]]}] * len(task.tests) for task in tasks}
    (tmp_path / "constant.json").write_text(json.dumps(constant))
    audited = answer("audit", tmp_path / "constant.json", "--data", source)
    assert "it gives the same answer to everything" in str(audited["verdict"])
    for file in (made.predictions_file, made.submission_file):
        assert "differ from one input to another" in str(answer("audit", file, "--data", source)["verdict"])
    check_one_line(hrm("audit", made.predictions_file), "predictions.jsonl", "needs --data")
    check_one_line(hrm("audit", made.metrics_file, "--data", source), "metrics.jsonl", "not the predictions")


def test_the_page_says_that_metrics_are_missing(tmp_path: Path) -> None:
    run = scored_run(tmp_path / "run", load_tasks("arc-agi-1/training")[:3])
    page = run.path / "report.html"
    for is_said in (False, True):
        assert hrm("report", run.path).returncode == 0
        assert ("metrics.jsonl is missing" in page.read_text()) == is_said
        run.metrics_file.unlink(missing_ok=True)
