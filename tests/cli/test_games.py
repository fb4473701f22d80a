"""Games from the command line: train on fresh boards, resume, score by rule, and what cannot be done in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.commands import answer, check_one_line, hrm, one_line

TINY = [
    *("--data.solve", '["sudoku-4x4/test:6"]', "--training.max_minutes", "0", "--training.batch_size", "4"),
    *("--model.hidden_size", "16", "--model.num_heads", "2", "--model.segments", "2", "--schedule.warmup_steps", "1"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four steps on fresh boards."""
    out = tmp_path_factory.mktemp("games")
    return Path(str(answer("train", "sudoku-4x4", *TINY, "--training.max_steps", "4", "--out", out)["folder"]))


def test_a_run_on_fresh_boards_is_scored_by_rule(run: Path) -> None:
    scores = answer("eval", run)
    (game,) = json.loads((run / "scores.json").read_text())["games"]
    assert scores["games"] == [game]
    assert (game["task"], game["game"], game["boards"]) == ("sudoku-4x4", "sudoku", 6)
    assert 0 <= game["exact"] <= game["valid"] <= 6
    assert game["baselines"]["copy"]["exact"] == 0
    assert sum(group["boards"] for group in game["groups"]) == 6
    printed = hrm("eval", run).stdout
    assert "boards of sudoku-4x4" in printed
    assert "a solver without search" in printed
    assert "by givens" in printed


def test_other_boards_of_the_game_are_not_a_changed_task(run: Path, tmp_path: Path) -> None:
    scores = answer("eval", run, "--data", "sudoku-4x4/validation:5", "--out", tmp_path / "scores")
    assert (scores["test_outputs"], scores["changed_tasks"], scores["unseen_tasks"]) == (5, {}, 0)
    # They are not changed, and may have been among the fresh boards of the training.
    assert scores["warnings"] == [
        "sudoku-4x4: its training had fresh boards, and these are not those that were kept out of them"
    ]


def test_a_resumed_run_learns_from_the_boards_that_follow(run: Path, tmp_path: Path) -> None:
    half = Path(str(answer("train", "sudoku-4x4", *TINY, "--training.max_steps", "2", "--out", tmp_path)["folder"]))
    answer("train", "--resume", half, "--override", "training.max_steps", "--training.max_steps", "4")

    def steps(folder: Path) -> set[int]:
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        return {row["step"] for row in map(json.loads, lines) if row["kind"] == "train"}

    assert max(steps(half)) == max(steps(run)) == 4


def test_games_without_boards_to_train_on_are_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = ("--out", tmp_path)
    error = one_line(capsys, "train", "sudoku-4x4", *TINY, "--data.boards", "variants", *out)
    assert "data.solve: has no boards to train on; --data.boards fresh makes them" in error
    error = one_line(capsys, "train", "sudoku-4x4", "--data.solve", "[0d3d703e]", *out)
    assert "data.boards: 'fresh' is for generated games such as sudoku-9x9, and 0d3d703e is none" in error
    error = one_line(capsys, "train", "quickstart", "--data.boards", "symmetries", *out)
    assert "data.boards: 'symmetries' is for boards of Sudoku and Maze" in error
    error = one_line(capsys, "train", "sudoku-4x4", "--data.boards", "many", *out)
    assert "data.boards: expected one of 'variants', 'symmetries', 'fresh'. Got value: many" in error


def test_boards_to_solve_can_be_shown_and_listed() -> None:
    assert "6 to solve" in hrm("data", "show", "sudoku-6x6/test:6").stderr
    assert answer("data", "list", "maze-9x9/test:4")["tasks"] == [
        {"task": "maze-9x9", "group": "", "demonstrations": 0, "tests": 4}
    ]
    assert answer("data", "info", "sudoku-4x4/test:6")["test_outputs"] == 6


def test_when_samples_stop_can_be_chosen(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # No board of an untrained model reaches such a probability.
    scores = answer("eval", run, "--halt-at", "0.999999", "--segments", "3", "--out", tmp_path / "scores")
    assert (scores["mean_segments"], scores["halt_at"], scores["segments"]) == (3, 0.999999, 3)
    assert len(list(scores["refinement"])) == 3  # type: ignore[call-overload]
    assert "--halt-at: 1.5, expected a probability" in one_line(capsys, "eval", run, "--halt-at", "1.5")
    # A checkpoint and the file that is made from it carry what the recipe says.
    assert answer("eval", run, "--out", tmp_path / "as-trained")["halt_at"] == 0.95
    hrm("export", run, "--out", tmp_path / "model.onnx", "--samples", "4")
    assert answer("eval", tmp_path / "model.onnx", "--data", "sudoku-4x4/test:6")["halt_at"] == 0.95
    assert "--segments: 0, expected 1 to" in one_line(capsys, "eval", run, "--segments", "0")
    error = one_line(capsys, "train", "sudoku-4x4", *TINY, "--evaluation.halt_at", "1", "--out", tmp_path)
    assert "--evaluation.halt_at: 1.0, expected a probability" in error


def test_boards_without_demonstrations_are_analyzed_and_refused_in_one_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer("eval", run)
    shown = answer("analyze", run, "sudoku-4x4")
    assert (shown["demonstrations"], shown["learned"]) == ([], "not known: there are no demonstrations")
    error = one_line(capsys, "export", run, "--out", tmp_path / "m.onnx", "--int8")
    assert "--int8: is calibrated on demonstrations, and these tasks have none" in error
    error = one_line(capsys, "data", "build", "sudoku-4x4/test:5", "--out", tmp_path / "built")
    assert "these sources have nothing to train on" in error
    solved = hrm("solve", "sudoku-4x4/test:2", "--model", run, "--finetune-seconds", "0", "--votes", "1")
    assert "was given the demonstrations" not in solved.stderr


def test_one_game_on_both_sides_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    flags = ["--data.boards", "variants", "--data.study", "[sudoku-4x4:10]", "--out", tmp_path]
    error = one_line(capsys, "train", "sudoku-4x4", *TINY, *flags)
    assert "data.study: sudoku-4x4 is to be solved and to be studied; name one source with boards for both" in error


def test_a_file_of_boards_with_a_number_is_found_from_elsewhere_and_its_changes_are_seen(tmp_path: Path) -> None:
    boards = [f"{'.' * n}{'1234341221434321'[n:]},1234341221434321" for n in range(1, 13)]
    source = tmp_path / "here" / "sudoku.csv"
    source.parent.mkdir()
    source.write_text("\n".join(["question,answer", *boards]) + "\n")
    sizes = ["--training.batch_size", "4", "--model.hidden_size", "16", "--model.num_heads", "2", "--data.augment", "2"]
    flags = ["--data.solve", '["sudoku.csv:10"]', "--data.smallest", "0", "--training.max_minutes", "0", *sizes]
    trained = hrm(
        "train", "quickstart", *flags, "--training.max_steps", "2", "--out", tmp_path / "runs", cwd=source.parent
    )
    assert trained.returncode == 0, trained.stderr
    (run,) = (tmp_path / "runs").iterdir()
    assert answer("eval", run, "--votes", "1")["test_outputs"] > 0
    more = ["--override", "training.max_steps", "--training.max_steps", "3"]
    assert answer("train", "--resume", run, *more)["steps"] == 3
    text = source.read_text()
    source.write_text(text.replace(".", "1", 1))
    check_one_line(hrm("train", "--resume", run, *more[:3], "4"), str(run), "have changed since the run was trained")
    source.write_text(text)
    # The run is moved with its data.
    moved = tmp_path / "moved"
    moved.mkdir()
    source.parent.rename(moved / "here")
    run.parent.rename(moved / "runs")
    assert answer("eval", moved / "runs" / run.name, "--votes", "1")["test_outputs"] > 0
