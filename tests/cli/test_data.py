"""``hrm data`` and ``hrm bench`` as people run them."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.commands import HRM, answer, hrm
from tests.made import write_tasks


def test_check_lists_every_problem_and_leaves_sound_files_alone(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks")
    assert answer("data", "check", tasks) == {"files": 3, "tasks": 3, "problems": []}
    (tasks / "bad.json").write_text('{"train": [{"input": [[1, 11]], "output": [[1]]}], "test": []}')
    done = hrm("data", "check", tasks)
    assert done.returncode == 2
    assert done.stdout.splitlines() == [
        f"{tasks / 'bad.json'}: train[0].input[0][1]: color 11, expected 0 to 9",
        f"{tasks / 'bad.json'}: test: empty: a task needs at least one test pair",
    ]
    assert done.stderr == f"error: {tasks}: 2 problems in 1 of 4 files\n"
    as_json = json.loads(hrm("data", "check", tasks, "--json").stdout)
    assert [problem["place"] for problem in as_json["problems"]] == ["train[0].input[0][1]", "test"]


def test_check_finds_tasks_that_two_sources_share() -> None:
    done = hrm("data", "check", "arc-agi-1/training", "--against", "arc-agi-1/evaluation")
    assert done.returncode == 0
    assert "40853293 is the same task as 070dd51e" in done.stdout.splitlines()
    assert "2 of 400 tasks are found" in done.stdout


def test_a_built_set_can_be_trained_from(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks")
    built = answer("data", "build", tasks, "--augment", "5", "--out", tmp_path / "set")
    assert (built["train_samples"], built["test_samples"]) == (3 * 3 * 6, 3 * 6)
    assert built["bytes"] == sum(f.stat().st_size for f in (tmp_path / "set").rglob("*") if f.is_file())
    flags = (
        "--training.max_minutes",
        "0",
        "--training.max_steps",
        "2",
        "--training.batch_size",
        "4",
        "--data.smallest",
        "3",
    )
    trained = answer("train", "quickstart", "--data.solve", f"[{tmp_path / 'set'}]", *flags, "--out", tmp_path / "runs")
    assert trained["steps"] == 2


@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_a_build_that_was_stopped_goes_on(number: signal.Signals, status: int, tmp_path: Path) -> None:
    command = ["data", "build", "arc-agi-1/training", "--augment", "60", "--workers", "1"]
    assert hrm(*command, "--out", tmp_path / "one").returncode == 0
    out = tmp_path / "two"
    process = subprocess.Popen([*HRM, *command, "--out", str(out)], stderr=subprocess.DEVNULL)
    journal = out / "building.journal"
    while process.poll() is None and not (journal.is_file() and journal.read_text()):
        time.sleep(0.005)
    process.send_signal(number)
    assert process.wait() == status
    assert hrm(*command, "--out", out).returncode == 0
    for file in (tmp_path / "one").rglob("*"):
        if file.is_file():
            assert file.read_bytes() == (out / file.relative_to(tmp_path / "one")).read_bytes()


def test_a_leak_needs_a_word_and_every_score_tells_of_it(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks")
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "copy.json").write_text((tasks / "flip0.json").read_text())
    command = ["train", "quickstart", "--data.solve", f"[{tasks}]", "--data.study", f"[{tmp_path / 'given'}]"]
    command += [
        "--data.smallest",
        "3",
        "--training.max_minutes",
        "0",
        "--training.max_steps",
        "1",
        "--out",
        str(tmp_path),
    ]
    refused = hrm(*command)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: data.study: answers what is to be solved: copy")
    trained = answer(*command, "--allow-leak")
    scores = answer("eval", str(trained["folder"]), "--votes", "1")
    assert scores["leaks"]
    assert "allow_leak: true" in (Path(str(trained["folder"])) / "config.yaml").read_text()


def test_games_and_downloads_are_sources() -> None:
    assert answer("data", "list", "maze-7x7:20")["tasks"] == [
        {"task": "maze-7x7", "group": "", "demonstrations": 20, "tests": 2}
    ]
    assert "first of them" in hrm("data", "show", "sudoku-4x4:9").stderr
    done = hrm("data", "list", "hub:nosuch")
    assert done.returncode == 2
    assert done.stderr.startswith("error: hub:nosuch: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bench", "nosuch"], "error: nosuch: no such benchmark, expected one of data"),
        (["bench", "data", "--nosuch"], "error: --nosuch: bench data has no such argument"),
        (["bench", "data", "--files", "x"], "error: hrm bench data: argument --files"),
        (["data", "build", "arc-agi-1/training", "--out", "/proc/nosuch"], "error: /proc/nosuch"),
        (["data", "build", "arc-agi-1", "--out", "x", "--augment", "-1"], "error: --augment, --copies"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_one_line(arguments: list[str], message: str) -> None:
    done = hrm(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1


def test_a_benchmark_prints_a_table_and_rows() -> None:
    listed = hrm("bench")
    assert "quickstart" in listed.stdout
    done = answer("bench", "data", "--only", "hostile", "--files", "60")
    rows = done["rows"]
    assert isinstance(rows, list)
    assert [row["hrm-arc"] for row in rows[:2]] == ["0", "0"]
    as_table = hrm("bench", "data", "--only", "hostile", "--files", "5").stdout
    assert as_table.startswith("| what | hrm-arc | plain loop | target |\n|---|---|---|---|\n| tracebacks")
