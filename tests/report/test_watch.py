from __future__ import annotations

import contextlib
import os
import pty
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from hrm_arc.errors import UserError
from hrm_arc.files import write_json
from hrm_arc.report.watch import BARS, live_view, newest_run, run_rows, sparkline, state_of
from hrm_arc.training.trainer import Trainer
from tests.cli.commands import HRM, hrm
from tests.made import tiny_recipe, write_tasks


def test_sparklines_by_hand() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == BARS
    assert sparkline([5, 5, 5]) == BARS[0] * 3
    assert sparkline([]) == ""
    assert sparkline([0, 0, 7, 7], width=2) == BARS[0] + BARS[-1]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200), st.integers(1, 60))
def test_a_sparkline_fits_its_width(values: list[float], width: int) -> None:
    assert len(sparkline(values, width)) == min(width, len(values))


def test_a_run_that_fell_silent_is_lost() -> None:
    now = datetime.now().astimezone()
    for seconds, state in ((10, "running"), (119, "running"), (121, "lost")):
        status = {"state": "running", "last_update": (now - timedelta(seconds=seconds)).isoformat()}
        assert state_of(status, now) == state
    assert state_of({"state": "finished", "last_update": "2025-09-03T10:04:35+00:00"}, now) == "finished"


def test_the_view_and_the_list_tell_of_a_run(tmp_path: Path) -> None:
    trainer = Trainer(tiny_recipe(write_tasks(tmp_path / "tasks")), tmp_path / "runs")
    trainer.fit()
    console = Console(width=110, no_color=True)
    with console.capture() as capture:
        console.print(live_view(newest_run(tmp_path / "runs")))
    view = capture.get()
    for part in ("tiny", trainer.folder.run_id, "6 of 6", "loss", "exact", "padding everywhere", "step-00000006"):
        assert part in view, part
    (row,) = run_rows(tmp_path / "runs")
    assert (row["run_id"], row["state"], row["step"]) == (trainer.folder.run_id, "finished", 6)


def test_watch_follows_a_run_to_its_end_in_a_terminal(tmp_path: Path) -> None:
    trainer = Trainer(tiny_recipe(write_tasks(tmp_path / "tasks")), tmp_path / "runs")
    trainer.fit()
    status = trainer.folder.status()
    now = datetime.now().astimezone().isoformat()
    write_json(trainer.folder.status_file, {**status, "state": "running", "last_update": now})
    ours, theirs = pty.openpty()
    command = [*HRM, "watch", "--root", str(tmp_path / "runs"), "--every", "0.1"]
    watcher = subprocess.Popen(command, stdout=theirs, stderr=subprocess.STDOUT, env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    seen = b""
    while b"running" not in seen:
        seen += os.read(ours, 4096)
    assert watcher.poll() is None
    write_json(trainer.folder.status_file, status)
    with contextlib.suppress(OSError):  # The end of a terminal that nobody holds any more.
        while part := os.read(ours, 4096):
            seen += part
    assert watcher.wait(timeout=60) == 0
    assert b"finished" in seen
    assert trainer.folder.run_id.encode() in seen
    assert hrm("watch", trainer.folder.path, "--once").stdout.count(trainer.folder.run_id) >= 1


def test_a_damaged_run_is_listed_beside_the_others(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    Trainer(tiny_recipe(write_tasks(tmp_path / "tasks")), runs).fit()
    for name, config in (("foreign", "learning_rate: 3"), ("torn", "name: [")):
        (runs / name).mkdir()
        (runs / name / "config.yaml").write_text(config)
    states = {row["run_id"]: row["state"] for row in run_rows(runs)}
    assert (states.pop("foreign"), states.pop("torn")) == ("damaged", "damaged")
    assert list(states.values()) == ["finished"]
    listed = hrm("runs", runs)
    assert listed.returncode == 0, listed.stderr
    assert "3 runs" in listed.stdout


def test_names_are_not_read_as_markup(tmp_path: Path) -> None:
    recipe = tiny_recipe(write_tasks(tmp_path / "tasks"), "grid-hrm", "--name", "[/b]")
    trainer = Trainer(recipe, tmp_path / "runs")
    trainer.fit()
    for command in (["runs", tmp_path / "runs"], ["watch", trainer.folder.path, "--once"]):
        shown = hrm(*command)
        assert shown.returncode == 0, shown.stderr
        assert "[/b]" in shown.stdout


def test_no_runs_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no runs here"):
        newest_run(tmp_path)
