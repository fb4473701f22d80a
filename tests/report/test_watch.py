from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import termios
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from hrm_arc.errors import UserError
from hrm_arc.files import sealed_row, write_lines, write_sealed_json, write_text
from hrm_arc.report.listing import newest_run, run_rows, state_of
from hrm_arc.report.watch import BARS, MetricsFollower, live_view, sparkline
from hrm_arc.runs.folder import RunFolder
from hrm_arc.runs.metrics import read_metrics
from hrm_arc.training.trainer import Trainer
from tests.cli.commands import HRM, hrm
from tests.made import made_run, tiny_recipe, write_tasks


def test_sparklines_by_hand() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == BARS
    assert sparkline([5, 5, 5]) == BARS[0] * 3
    assert sparkline([]) == ""
    assert sparkline([0, 0, 7, 7], width=2) == BARS[0] + BARS[-1]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200), st.integers(1, 60))
def test_a_sparkline_fits_its_width(values: list[float], width: int) -> None:
    assert len(sparkline(values, width)) == min(width, len(values))


def test_a_run_without_heartbeats_is_lost() -> None:
    now = datetime.now().astimezone()
    for seconds, state in ((10, "running"), (119, "running"), (121, "lost")):
        status = {"state": "running", "last_update": (now - timedelta(seconds=seconds)).isoformat()}
        assert state_of(status, now) == state
    assert state_of({"state": "finished", "last_update": "2025-09-03T10:04:35+00:00"}, now) == "finished"


def test_the_live_view_and_the_list_show_a_run(tmp_path: Path) -> None:
    trainer = Trainer(tiny_recipe(write_tasks(tmp_path / "tasks")), root=tmp_path / "runs")
    trainer.fit()
    console = Console(width=110, no_color=True)
    with console.capture() as capture:
        console.print(live_view(newest_run(tmp_path / "runs")))
    view = capture.get()
    parts = ["tiny", trainer.folder.run_id, "6 of 6", "padding everywhere", "step-00000006", "FLOP/s", "peak memory"]
    parts += ["loss", "exact, training", "gradient norm", "learning rate", "halting accuracy", "mean segments"]
    for part in parts:
        assert part in view, part
    (row,) = run_rows(tmp_path / "runs")
    assert (row["run_id"], row["state"], row["step"]) == (trainer.folder.run_id, "finished", 6)


def test_a_narrow_view_keeps_the_end_of_each_curve(tmp_path: Path) -> None:
    rows = [{"kind": "train", "step": step, "seconds": 1.0, "exact_accuracy": step / 100} for step in range(1, 101)]
    run = made_run(tmp_path / "run", {"state": "running", "current_step": 100}, rows)
    for width in (50, 60, 110):
        console = Console(width=width, no_color=True)
        with console.capture() as capture:
            console.print(live_view(run))
        assert re.search(r"exact, training +▁[▁-█]*█  100\.0%", capture.get()), width


def test_the_live_view_of_values_that_are_not_known(tmp_path: Path) -> None:
    unknown = dict.fromkeys(("loss", "exact_accuracy", "grad_norm", "lr", "halt_accuracy", "mean_segments"))
    row = {"kind": "train", "step": 1, "seconds": 1.0, **unknown}
    validation = {"step": 1, "exact_accuracy": None, "token_accuracy": 0.5, "full": True, "seconds": None}
    status = {"state": "running", "current_step": None, "last_validation": validation, "baselines": None}
    run = made_run(tmp_path / "run", status, [row, {**row, "step": 2, "grad_norm": 1.5}])
    console = Console(width=110, no_color=True)
    with console.capture() as capture:
        console.print(live_view(run))
    assert re.search(r"step +not known", capture.get())
    assert "1.5" in capture.get()
    assert "not known exact, 50.00% of 900 tokens" in capture.get()
    assert "learning rate" not in capture.get()
    assert state_of(status) == "unknown"


def test_the_live_view_says_that_metrics_are_missing(tmp_path: Path) -> None:
    for step, is_said in ((0, False), (None, False), (2, True)):
        run = made_run(tmp_path / f"run-{step}", {"state": "running", "current_step": step})
        assert "missing" not in hrm("watch", run.path, "--once").stdout
        run.metrics_file.unlink()
        assert ("metrics.jsonl is missing" in hrm("watch", run.path, "--once").stdout) == is_said


def test_the_live_view_of_a_damaged_run_is_a_user_error(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", {"state": "running"}, [])
    write_text(run.config_file, "name: made\nmodel: {name: grid-hrm}\ntraining: {steps: 9}\n")
    with pytest.raises(UserError, match=r"damaged: it has no training\.max_steps"):
        live_view(run)


def test_watch_shows_a_run_until_its_end_in_a_terminal(tmp_path: Path) -> None:
    trainer = Trainer(tiny_recipe(write_tasks(tmp_path / "tasks")), root=tmp_path / "runs")
    trainer.fit()
    status = trainer.folder.status()
    now = datetime.now().astimezone().isoformat()
    write_sealed_json(trainer.folder.status_file, {**status, "state": "running", "last_update": now})
    ours, theirs = pty.openpty()
    command = [*HRM, "watch", "--root", str(tmp_path / "runs"), "--every", "0.1"]
    watcher = subprocess.Popen(command, stdout=theirs, stderr=subprocess.STDOUT, env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    seen = b""
    while b"running" not in seen:
        seen += os.read(ours, 4096)
    assert watcher.poll() is None
    write_sealed_json(trainer.folder.status_file, status)
    with contextlib.suppress(OSError):  # The terminal is closed.
        while part := os.read(ours, 4096):
            seen += part
    assert watcher.wait(timeout=60) == 0
    assert b"finished" in seen
    assert trainer.folder.run_id.encode() in seen
    shown = hrm("watch", trainer.folder.path, "--once").stdout
    assert shown.count(trainer.folder.run_id) >= 1
    assert max(map(len, shown.splitlines())) <= 100, "a frame is no wider than people read"


def test_watch_follows_the_size_of_the_terminal(tmp_path: Path) -> None:
    trainer = Trainer(tiny_recipe(write_tasks(tmp_path / "tasks")), root=tmp_path / "runs")
    trainer.fit()
    status = {**trainer.folder.status(), "state": "running", "last_update": "2100-01-01T00:00:00+00:00"}
    write_sealed_json(trainer.folder.status_file, status)
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (30, 110))
    command = [*HRM, "watch", "--root", str(tmp_path / "runs"), "--every", "0.1"]
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    watcher = subprocess.Popen(
        command, stdout=theirs, stderr=subprocess.STDOUT, env={**environment, "TERM": "xterm"}, start_new_session=True
    )

    def seen_until(mark: bytes) -> bytes:
        seen = b""
        while mark not in seen:
            seen += os.read(ours, 4096)
        return seen

    def widths(seen: bytes) -> set[int]:
        """Of the top borders of the panel."""
        return {len(top) for top in re.findall("╭[^╮]*╮", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode()))}

    # The view has a screen of its own, which a terminal clears at its end: nothing of a wider view is left.
    assert b"\x1b[?1049h" in (seen := seen_until("╯".encode()))
    assert widths(seen) == {110}
    termios.tcsetwinsize(ours, (30, 70))
    seen_until("─╯".encode())
    seen_until("╯".encode())
    assert widths(seen_until("╯".encode()) + seen_until("╯".encode())) == {70}
    watcher.send_signal(signal.SIGINT)
    last = seen_until(b"\x1b[?1049l").split(b"\x1b[?1049l")[1] + seen_until("╯".encode())
    os.close(theirs)
    assert widths(last) == {70}, "the last view stays"
    assert watcher.wait(timeout=60) == 0


def test_a_damaged_run_is_listed_beside_the_others(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    Trainer(tiny_recipe(write_tasks(tmp_path / "tasks")), root=runs).fit()
    for name, config in (("foreign", "learning_rate: 3"), ("torn", "name: [")):
        (runs / name).mkdir()
        (runs / name / "config.yaml").write_text(config)
    states = {row["run_id"]: row["state"] for row in run_rows(runs)}
    assert (states.pop("foreign"), states.pop("torn")) == ("damaged", "damaged")
    assert list(states.values()) == ["finished"]
    listed = hrm("runs", runs)
    assert listed.returncode == 0, listed.stderr
    assert "3 runs" in listed.stdout


def test_names_with_brackets_are_not_markup(tmp_path: Path) -> None:
    recipe = tiny_recipe(write_tasks(tmp_path / "tasks"), "grid-hrm", "--name", "[/b]")
    trainer = Trainer(recipe, root=tmp_path / "runs")
    trainer.fit()
    for command in (["runs", tmp_path / "runs"], ["watch", trainer.folder.path, "--once"]):
        shown = hrm(*command)
        assert shown.returncode == 0, shown.stderr
        assert "[/b]" in shown.stdout


def test_a_folder_without_runs_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no runs here"):
        newest_run(tmp_path)


def started_run(root: Path, name: str, start: str) -> RunFolder:
    """A run whose status says when it started."""
    run = made_run(root / name, {}, [])
    write_sealed_json(run.status_file, {"state": "finished", "current_step": 1, "start_time": start})
    return run


def test_the_newest_run_is_the_one_that_started_last_in_utc(tmp_path: Path) -> None:
    # Names in local time would say the opposite, and so would their order in the hour that comes twice in autumn.
    started_run(tmp_path, "20261025_143000_00000000", "2026-10-25T14:30:00+14:00")
    started_run(tmp_path, "20261025_025900_00000000", "2026-10-25T02:59:00+02:00")
    newest = started_run(tmp_path, "20261025_021000_00000000", "2026-10-25T02:10:00+01:00")
    assert newest_run(tmp_path) == newest
    order = ["20261025_143000_00000000", "20261025_025900_00000000", "20261025_021000_00000000"]
    assert [row["run_id"] for row in run_rows(tmp_path)] == order
    # A run that has just begun has no status; its ID is in UTC.
    begun = made_run(tmp_path / "20261025_011500_00000000", {}, [])
    begun.status_file.unlink()
    assert newest_run(tmp_path) == begun


def test_two_runs_of_several_zones(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks")
    tiny_recipe(tasks)
    folders = []
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
        command = [*HRM, "train", str(tmp_path / "grid-hrm.yaml"), "--training.max_steps", "1", "--json"]
        command += ["--out", str(tmp_path / "runs")]
        done = subprocess.run(command, capture_output=True, env={**os.environ, "TZ": zone}, timeout=120, check=True)
        folders.append(Path(json.loads(done.stdout)["folder"]))
    assert newest_run(tmp_path / "runs").path == folders[1]


def damage(run: RunFolder, file: str, content: bytes | None) -> None:
    path = run.path / file
    path.unlink()
    if content is None:
        os.mkfifo(path)
    else:
        path.write_bytes(content)


@pytest.mark.parametrize("file", ["status.json", "config.yaml"])
@pytest.mark.parametrize(
    "content", [b"[]", b"5", b"null", b"{", b"\xff", b'{"best": 7, "state": 5}', b"[" * 100_000, b"name: x", None]
)
def test_one_damaged_run_is_a_row_among_the_others(tmp_path: Path, file: str, content: bytes | None) -> None:
    good = started_run(tmp_path, "good", "2026-10-25T02:10:00+00:00")
    bad = started_run(tmp_path, "bad", "2026-10-25T03:10:00+00:00")
    damage(bad, file, content)
    states = {row["run_id"]: row["state"] for row in run_rows(tmp_path)}
    assert states == {"good": "finished", "bad": "damaged"}
    assert newest_run(tmp_path) == good


def test_a_run_without_its_recipe_is_damaged_and_reported(tmp_path: Path) -> None:
    run = started_run(tmp_path, "bad", "2026-10-25T03:10:00+00:00")
    run.config_file.unlink()
    (tmp_path / "notes").mkdir()
    listed = hrm("runs", tmp_path)
    assert (listed.returncode, "damaged" in listed.stdout) == (0, True)
    assert "warning: " in listed.stderr
    assert "no config.yaml" in listed.stderr
    watched = hrm("watch", "--root", tmp_path, "--once")
    assert watched.returncode == 2
    assert watched.stderr.splitlines()[-1].endswith("1 of 1 runs here are damaged")
    assert "Traceback" not in watched.stderr


def metrics_rows(first: int, last: int) -> list[dict[str, object]]:
    return [{"kind": "train", "step": n, "seconds": 1.0 * n, "loss": 1 / n} for n in range(first, last + 1)]


def test_a_live_view_reads_only_what_is_appended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "metrics.jsonl"
    write_lines(path, metrics_rows(1, 5))
    read: list[Path] = []
    monkeypatch.setattr("hrm_arc.report.watch.read_metrics", lambda path: read.append(path) or read_metrics(path))
    follower = MetricsFollower(path)
    assert [row["step"] for row in follower.rows()] == [1, 2, 3, 4, 5]
    sixth, seventh = (sealed_row(row) for row in metrics_rows(6, 7))
    with path.open("a") as file:
        file.write(sixth + seventh[:20])
    assert [row["step"] for row in follower.rows()] == [1, 2, 3, 4, 5, 6]
    with path.open("a") as file:
        file.write(seventh[20:] + "[]\n")
    assert [row["step"] for row in follower.rows()][-2:] == [6, 7]
    assert len(read) == 1
    # A resumed run cuts the file and goes on.
    write_lines(path, metrics_rows(1, 3))
    assert [row["step"] for row in follower.rows()] == [1, 2, 3]
    path.write_text("".join(sealed_row({**row, "loss": 9.0}) for row in metrics_rows(1, 9)))
    assert [row["loss"] for row in follower.rows()] == [9.0] * 9
    path.unlink()
    assert follower.rows() == []


def test_a_live_view_keeps_a_bounded_number_of_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hrm_arc.report.watch.MOST_ROWS", 100)
    path = tmp_path / "metrics.jsonl"
    write_lines(path, metrics_rows(1, 10))
    follower = MetricsFollower(path)
    follower.rows()
    for first in range(11, 400, 30):
        with path.open("a") as file:
            file.writelines(sealed_row(row) for row in metrics_rows(first, first + 29))
        rows = follower.rows()
        assert len(rows) <= 100
        steps = [row["step"] for row in rows]
        assert steps == sorted(steps)
        assert steps[-40:] == list(range(steps[-1] - 39, steps[-1] + 1))
        assert steps[0] <= 3, "the beginning stays"
