"""``hrm solve`` as people run it."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.commands import HRM, answer, hrm
from tests.made import tiny_recipe, write_tasks


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("trained")
    tiny_recipe(write_tasks(root / "tasks"))
    done = answer("train", root / "grid-hrm.yaml", "--out", root / "runs", "--training.max_steps", "5")
    return Path(str(done["folder"]))


def test_a_task_from_nothing(tmp_path: Path) -> None:
    task = write_tasks(tmp_path / "tasks", count=1) / "flip0.json"
    how = ("--model", "nothing", "--finetune-seconds", "1", "--votes", "8")
    solved = answer("solve", task, *how, "--out", tmp_path / "runs")
    attempts = solved["attempts"]
    assert isinstance(attempts, list)
    assert len(attempts) == 1
    assert all({"grid", "share"} == set(attempt) for attempt in attempts[0])
    assert solved["answers_known"] == 1
    (run,) = (tmp_path / "runs").iterdir()
    assert answer("eval", run, "--votes", "1")["tasks"] == 1, "what was kept can be used like any run"


def test_a_task_without_answers(tmp_path: Path) -> None:
    task = {"train": [{"input": [[1, 2]], "output": [[2, 1]]}], "test": [{"input": [[3, 4]]}, {"input": [[5, 6]]}]}
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(task))
    how = ("--model", "nothing", "--finetune-seconds", "1", "--votes", "2")
    solved = answer("solve", path, *how)
    assert len(solved["attempts"]) == 2  # type: ignore[arg-type]
    assert (solved["answers_known"], solved["solved"]) == (0, None)
    shown = hrm("solve", path, *how)
    assert "mine, test 2" in shown.stdout
    assert "right" not in shown.stdout
    assert "wrong" not in shown.stdout


@pytest.mark.parametrize("seconds", ["0", "1"])
def test_a_folder_from_a_checkpoint_that_is_not_changed(tmp_path: Path, trained: Path, seconds: str) -> None:
    before = {file: file.read_bytes() for file in trained.rglob("*") if file.is_file()}
    tasks = write_tasks(tmp_path / "tasks", count=2)
    solved = answer("solve", tasks, "--model", trained, "--finetune-seconds", seconds, "--votes", "2")
    assert set(solved["attempts"]) == {"flip0", "flip1"}  # type: ignore[call-overload]
    assert {file: file.read_bytes() for file in trained.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize("seconds", ["0", "1"])
def test_answers_given_away_before_are_told(tmp_path: Path, seconds: str) -> None:
    tasks = write_tasks(tmp_path / "tasks", count=2)
    pairs = [{"input": [row], "output": [row[::-1]]} for row in ([1, 2, 3], [1, 1, 2], [3, 3, 3], [4, 5, 5])]
    given = tmp_path / "known.json"
    given.write_text(json.dumps({"train": pairs[:3], "test": pairs[3:]}))
    tiny_recipe(tasks)
    run = answer("train", tmp_path / "grid-hrm.yaml", "--out", tmp_path / "runs", "--data.study", f"[{given}]")[
        "folder"
    ]
    kept_in = ["--out", tmp_path / "kept"] if seconds == "1" else []
    solved = answer("solve", given, "--model", str(run), "--finetune-seconds", seconds, "--votes", "2", *kept_in)
    assert "not a fair score" in solved["warnings"][0]  # type: ignore[index]
    if seconds == "1":
        (kept,) = (tmp_path / "kept").iterdir()
        scores = answer("eval", kept, "--votes", "1")
        assert "known, given away" in " ".join(scores["warnings"])  # type: ignore[arg-type]
    fair = answer("solve", tasks / "flip0.json", "--model", str(run), "--finetune-seconds", "1", "--votes", "2")
    assert fair["warnings"] == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["nosuch"], "error: nosuch: no such source or path"),
        (
            ["0d3d703e", "--model", "nothing", "--finetune-seconds", "0"],
            "error: --finetune-seconds: 0, expected more than 0",
        ),
        (["0d3d703e", "--finetune-seconds", "-1"], "error: --finetune-seconds: -1, expected more than 0"),
        (["0d3d703e", "--votes", "0"], "error: --votes: 0, expected 1 to 1,000,000"),
        (["0d3d703e", "--model", "nosuch"], "error: nosuch: "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_one_line(flags: list[str], message: str) -> None:
    done = hrm("solve", *flags)
    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1


def test_a_stopped_fine_tuning_answers_with_what_it_has_learned(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks", count=1)
    how = ["--model", "nothing", "--finetune-seconds", "600", "--votes", "1", "--out", str(tmp_path / "runs")]
    command = [*HRM, "solve", str(tasks), *how]
    process = subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while "training" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    solved, errors = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in errors) == (130, False)
    assert len(json.loads(solved)["attempts"]) == 1


def test_it_says_which_tasks_the_weights_were_given(tmp_path: Path, trained: Path) -> None:
    """By their grids: a copy under another name is the same task."""
    known = json.loads((trained.parents[1] / "tasks/flip1.json").read_text())
    (tmp_path / "copied.json").write_text(json.dumps(known))
    other = {**known, "train": [{"input": [[7]], "output": [[8]]}, *known["train"][1:]]}
    (tmp_path / "other.json").write_text(json.dumps(other))
    how = ("--model", trained, "--finetune-seconds", "0", "--votes", "1")
    for name, given in (("copied", ["copied"]), ("other", [])):
        done = hrm("solve", tmp_path / f"{name}.json", *how, "--json")
        assert json.loads(done.stdout)["demonstrations_given"] == given
        assert ("was given the demonstrations of this task" in done.stderr) == bool(given)
