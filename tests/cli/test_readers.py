"""Readers, terminals and signals that misbehave cost messages, and nothing else: each case is a process of its own."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hrm_arc.cli.signals import FORWARDED_SECONDS, SAME_REQUEST_SECONDS, Request
from tests.cli.commands import HRM, check_one_line, hrm
from tests.made import made_run, tiny_recipe, write_tasks

FULL = "error: standard output: the work is done, but its result cannot be written: No space left on device\n"
EVIL = "\x1b[2J\x1b]0;x\x07"

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no /dev/full")


def shell(command: str, *arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``hrm`` in a shell; ``HRM`` in the command is the program, ``$1`` the first argument."""
    line = command.replace("HRM", " ".join(HRM))
    process = ["bash", "-c", line, "bash", *map(str, arguments)]
    return subprocess.run(process, capture_output=True, text=True, cwd=cwd, timeout=120)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    tiny_recipe(write_tasks(tmp_path / "tasks"))
    return tmp_path / "grid-hrm.yaml"


@pytest.mark.parametrize(
    ("redirection", "status"),
    [
        ("2> >(head -1 >/dev/null)", 0),
        ("2>/dev/full", 0),
        (">&- 2>&- <&-", 0),
        ("> >(true) 2> >(true)", 0),
        (">/dev/full 2>/dev/full", 1),
    ],
)
def test_a_run_goes_on_without_readers(recipe: Path, tmp_path: Path, redirection: str, status: int) -> None:
    done = shell(f"HRM train $1 --out {tmp_path}/runs --training.log_every 1 {redirection}", recipe)
    assert (done.returncode, done.stderr) == (status, "")
    (run,) = (tmp_path / "runs").iterdir()
    assert json.loads((run / "status.json").read_text())["state"] == "finished"
    assert (run / "checkpoints" / "step-00000006" / "checkpoint.json").is_file()
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 8
    for file in run.rglob("*.*"):
        assert b"training" not in file.read_bytes()[:8], "a message went into a file that took its descriptor"


@pytest.mark.parametrize(
    "arguments",
    ["data list arc-agi-1", "data show 0d3d703e", "data info tasks --json", "runs", "--help", "watch --once", "bench"],
)
def test_a_result_that_is_lost_is_an_error_of_one_line(tmp_path: Path, arguments: str) -> None:
    write_tasks(tmp_path / "tasks")
    made_run(tmp_path / "runs" / "made")
    done = shell(f"HRM {arguments} >/dev/full", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.endswith(FULL)
    assert "Traceback" not in done.stderr
    for unread in (">&-", "2>&- | true"):
        done = shell(f"set -o pipefail; HRM {arguments} {unread}", cwd=tmp_path)
        assert done.returncode == 0, unread
        assert "Traceback" not in done.stderr + done.stdout


def test_a_mistake_keeps_its_exit_status_without_readers() -> None:
    for unread in ("2>/dev/full", ">/dev/full 2>&-"):
        done = shell(f"HRM data show nosuch {unread}")
        assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


@pytest.mark.parametrize("environment", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_any_encoding_is_readable(tmp_path: Path, environment: dict[str, str]) -> None:
    made_run(tmp_path / "runs" / "made", name="größer→")
    env = {**os.environ, "PYTHONCOERCECLOCALE": "0", **environment}
    expected = {
        "data show 0d3d703e": "312  >  456",
        "watch --once": "| loss      #_  1.0000",
        "runs": r"gr\xf6\xdfer>",
        "train --help": "--optimizer.lr",
        "data show größer": r"error: gr",
    }
    for arguments, part in expected.items():
        done = subprocess.run([*HRM, *arguments.split()], capture_output=True, env=env, cwd=tmp_path, timeout=60)
        shown = (done.stdout + done.stderr).decode("ascii")
        assert part in shown, shown
        assert "Traceback" not in shown


def test_control_characters_never_reach_the_terminal(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks", count=1)
    (tasks / "flip0.json").rename(tasks / f"{EVIL}.json")
    status = {"state": "failed", "current_step": 2, "message": f"failed {EVIL}"}
    made_run(tmp_path / "runs" / f"a{EVIL}", status, name=EVIL)
    for arguments in (
        ["data", "list", tasks],
        ["data", "check", tasks],
        ["data", "show", f"no{EVIL}"],
        ["runs", tmp_path / "runs"],
        ["watch", tmp_path / "runs" / f"a{EVIL}", "--once"],
        ["watch", tmp_path / EVIL],
        ["solve", tasks, "--finetune-seconds", "0.1", "--votes", "1"],
        [EVIL],
    ):
        done = hrm(*arguments)
        assert "\x1b" not in done.stdout + done.stderr, arguments
        assert "\x07" not in done.stdout + done.stderr, arguments
        assert "Traceback" not in done.stderr


def started(command: list[str], folder: Path, shell_prefix: str = "") -> subprocess.Popen[str]:
    """A training in ``folder`` that has logged its first row."""
    process = subprocess.Popen(
        ["bash", "-c", f'{shell_prefix} exec "$@"', "bash", *command],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until(lambda: any(file.stat().st_size for file in folder.glob("runs/*/metrics.jsonl")), process)
    return process


def until(reached: Callable[[], bool], process: subprocess.Popen[Any]) -> None:
    for _ in range(600):
        if reached():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    raise AssertionError("it has not begun")


ENDLESS = [*HRM, "train", "grid-hrm.yaml", "--training.max_steps", "1000000", "--training.log_every", "1"]


@pytest.mark.parametrize("signals", [["HUP"], ["HUP", "HUP"], ["TERM", "HUP"]], ids=" ".join)
def test_a_closed_session_saves_the_run(recipe: Path, tmp_path: Path, signals: list[str]) -> None:
    process = started(ENDLESS, tmp_path)
    for name in signals:
        process.send_signal(getattr(signal, f"SIG{name}"))
        time.sleep(0.05)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in errors) == (130, False)
    (run,) = (tmp_path / "runs").iterdir()
    assert json.loads((run / "status.json").read_text())["state"] == "interrupted"
    assert len(list((run / "checkpoints").iterdir())) == 1


def test_nohup_is_kept(recipe: Path, tmp_path: Path) -> None:
    process = started(ENDLESS, tmp_path, "trap '' HUP;")
    process.send_signal(signal.SIGHUP)
    (metrics,) = (tmp_path / "runs").glob("*/metrics.jsonl")
    rows = metrics.stat().st_size
    until(lambda: metrics.stat().st_size > rows + 2000, process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 130


def test_a_hangup_of_the_terminal_ends_a_run_with_its_state_saved(recipe: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ENDLESS, cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    until(lambda: any(file.stat().st_size for file in tmp_path.glob("runs/*/metrics.jsonl")), process)
    os.close(ours)  # Output fails from now on.
    time.sleep(0.5)
    assert process.poll() is None, "a lost terminal is no reason to end; its signal is"
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=60) == 130
    (status,) = (tmp_path / "runs").glob("*/status.json")
    assert json.loads(status.read_text())["state"] == "interrupted"


def test_other_verbs_end_with_130_at_a_hangup(tmp_path: Path) -> None:
    status = {"state": "running", "current_step": 2, "last_update": "2999-01-01T00:00:00+00:00"}
    made_run(tmp_path / "runs" / "made", status)
    for number, status in ((signal.SIGHUP, 130), (signal.SIGTERM, 130), (signal.SIGINT, 0)):
        ours, theirs = pty.openpty()
        watch = subprocess.Popen([*HRM, "watch", "--every", "0.1"], cwd=tmp_path, stdout=theirs, stderr=theirs)
        os.close(theirs)
        seen = b""
        while b"running" not in seen:
            seen += os.read(ours, 4096)
        watch.send_signal(number)
        assert watch.wait(timeout=30) == status
        os.close(ours)


def test_repeated_signals_of_a_machine_are_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    request = Request()
    assert request.is_new(signal.SIGTERM)
    assert not request.is_new(signal.SIGTERM), "timeout(1) sends it twice"
    assert not request.is_new(signal.SIGINT), "a program in front forwards what the terminal sends to both"
    now[0] = 2 * FORWARDED_SECONDS
    assert request.is_new(signal.SIGINT), "people press Ctrl-C twice"
    now[0] = 2 * SAME_REQUEST_SECONDS
    assert request.is_new(signal.SIGTERM)
    assert not request.is_new(signal.SIGHUP)


def test_a_run_whose_folder_is_removed_ends_and_makes_no_new_one(recipe: Path, tmp_path: Path) -> None:
    process = started([*ENDLESS, "--training.checkpoint_every", "1000"], tmp_path)
    (run,) = (tmp_path / "runs").iterdir()
    run.rename(tmp_path / "moved")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    last = errors.splitlines()[-1]
    assert last.startswith(f"error: runs/{run.name}: ")
    assert "removed or moved" in last
    assert "Traceback" not in errors
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "where", "what"),
    [
        (["quickstart", "--seed", str(10**30)], "--seed", "a number of 31 digits, expected 0 to"),
        (["quickstart", "--seed", "-1"], "--seed", "-1, expected 0 to"),
        (["quickstart", "--minutes", "inf"], "--minutes", "inf, expected a finite number"),
        (["eval", "x", "--votes", "9" * 5000], "hrm eval", "..."),
        (["eval", "x", "--votes", str(10**20)], "--votes", "expected at most"),
        (["data", "info", "arc-agi-1", "--augment", str(10**18)], "--augment", "expected at most"),
        (["train", "quickstart", "--model.hidden_size", "1000000000"], "--model.hidden_size", "1000000000, expected"),
        (["train", "x" * 5000], "xxx ... xxx", "ame too long"),
        (["bench", "../benchmarks/data"], "../benchmarks/data", "no such benchmark"),
        (["bench", "x" * 5000], "xxx ... xxx", "no such benchmark"),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, list) else "",
)
def test_values_that_no_machine_holds_are_one_line(arguments: list[str], where: str, what: str) -> None:
    done = hrm(*arguments)
    check_one_line(done, where, what)
    assert len(done.stderr) < 3000


def test_bench_prints_one_json_object() -> None:
    listed = json.loads(hrm("bench", "--json").stdout)
    assert {"faults", "data"} <= {each["name"] for each in listed["benchmarks"]}
    measured = hrm("bench", "packing", "--help")
    assert "--json" in measured.stdout


def test_what_a_benchmark_prints_is_no_part_of_its_json(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from hrm_arc.cli import bench
    from hrm_arc.cli.main import main

    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "loud_one.py").write_text(
        '"""Prints."""\nimport os\ndef add_arguments(parser): pass\n'
        "def measure(options):\n    print('noise')\n    os.system('echo more')\n    yield {'a': 1}\n"
    )
    monkeypatch.setattr(bench, "_folder", lambda: tmp_path / "benchmarks")
    import benchmarks

    monkeypatch.setattr(benchmarks, "__path__", [str(tmp_path / "benchmarks")])
    assert main(["bench", "loud_one", "--json"]) == 0
    captured = capfd.readouterr()
    assert json.loads(captured.out) == {"benchmark": "loud_one", "rows": [{"a": 1}]}
    assert "more" in captured.err


def test_runs_are_counted_in_words_that_agree(tmp_path: Path) -> None:
    made_run(tmp_path / "runs" / "one", name="one")
    assert hrm("runs", tmp_path / "runs").stdout.startswith("1 run ")
    shutil.copytree(tmp_path / "runs" / "one", tmp_path / "runs" / "two")
    assert hrm("runs", tmp_path / "runs").stdout.startswith("2 runs ")
