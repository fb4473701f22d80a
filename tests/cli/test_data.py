"""``hrm data`` and ``hrm bench`` as people run them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.commands import HRM, answer, check_one_line, hrm
from tests.made import write_tasks

# Of a check that finds nothing.
EMPTY = {"problems": [], "train_boards": 0, "test_boards": 0, "tasks_beside": 0}


def test_check_lists_every_problem_and_leaves_sound_files_alone(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks")
    assert answer("data", "check", tasks) == EMPTY | {"files": 3, "tasks": 3}
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
    assert "shared with arc-agi-1/evaluation: 2 of 400 tasks, and 2 tasks there" in done.stdout


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


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
@pytest.mark.parametrize("delay", [0.0, 0.15, 0.4])
def test_the_workers_of_a_stopped_build_end_without_a_word(name: str, delay: float, tmp_path: Path) -> None:
    out = tmp_path / "set"
    command = [*HRM, "data", "build", "arc-agi-1/training", "--augment", "600", "--workers", "2", "--out", str(out)]
    # A group of its own, so that the signal reaches the workers, too, as that of a terminal does.
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while process.poll() is None and not (out / "test" / "all__labels.npy").is_file():
        time.sleep(0.002)
    time.sleep(delay)  # The workers start.
    os.killpg(process.pid, getattr(signal, name))
    _, messages = process.communicate(timeout=60)
    assert (process.returncode, messages) == (130, "interrupted\n")


def test_the_workers_of_a_killed_build_end_with_it(tmp_path: Path) -> None:
    out = tmp_path / "set"
    command = [*HRM, "data", "build", "arc-agi-1/training", "--augment", "200", "--workers", "2", "--out", str(out)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    while process.poll() is None and not (
        (out / "building.journal").is_file() and (out / "building.journal").read_text()
    ):
        time.sleep(0.002)
    process.kill()
    # Its workers have these pipes, too: their ends are those of the last one.
    process.communicate(timeout=10)


def test_names_and_files_that_mislead(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks", 1)
    task = (tasks / "flip0.json").read_text()
    (tasks / "\x1b[2J\x1b]0;x\x07.json").write_text(task)
    (tasks / "._flip0.json").write_bytes(b"\0")
    listed = hrm("data", "list", tasks)
    assert "\\x1b[2J\\x1b]0;x\\x07" in listed.stdout
    shown = hrm("data", "show", tasks / "\x1b[2J\x1b]0;x\x07.json")
    assert "\x1b" not in listed.stdout + listed.stderr + shown.stdout + shown.stderr
    (tmp_path / "$\\frac$.json").write_text(task)
    drawn = hrm("data", "show", tmp_path / "$\\frac$.json", "--png", tmp_path / "x.png")
    assert (drawn.returncode, drawn.stderr) == (0, f"wrote {tmp_path / 'x.png'}\n")
    os.mkfifo(tmp_path / "fifo.json")
    for verb in ("list", "show", "info", "check"):
        for path in (tmp_path / "fifo.json", Path("/dev/zero")):
            check_one_line(hrm("data", verb, path), str(path), "is not a regular file")


def test_what_is_not_shown_or_not_known_is_named(tmp_path: Path) -> None:
    task = json.loads((write_tasks(tmp_path / "tasks", 1) / "flip0.json").read_text())
    large = {"train": task["train"] * 400, "test": [*task["test"], {"input": [[1]]}]}
    (tmp_path / "large.json").write_text(json.dumps(large))
    for flags in ([], ["--png", str(tmp_path / "x.png")]):
        done = hrm("data", "show", tmp_path / "large.json", *flags)
        assert done.returncode == 0
        assert "shown: 22 of 1,200 demonstrations" in done.stderr.splitlines()
    assert "1 of 2 test outputs is not known" in hrm("data", "info", tmp_path / "large.json").stdout.splitlines()
    check_one_line(
        hrm(
            "data",
            "build",
            tmp_path / "large.json",
            "--augment",
            "2000000000",
            "--copies",
            "100",
            "--out",
            tmp_path / "set",
        ),
        str(tmp_path / "set"),
        "GB free",
    )


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
        (["bench", "nosuch"], "error: nosuch: no such benchmark, expected one of "),
        (["bench", "data", "--nosuch"], "error: --nosuch: bench data has no such argument"),
        (["bench", "data", "--files", "x"], "error: hrm bench data: argument --files"),
        (
            ["bench", "plateau", "--minutes", "0"],
            "error: hrm bench plateau: argument --minutes: '0', expected a number above 0",
        ),
        (["data", "build", "arc-agi-1/training", "--out", "/proc/nosuch"], "error: /proc/nosuch"),
        (["data", "info", "sudoku-4x4", "--seed", "1" + "0" * 30], "error: --seed: a number of 31 digits"),
        (["data", "info", "sudoku-4x4", "--augment", "1" + "0" * 30], "error: --augment: "),
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
