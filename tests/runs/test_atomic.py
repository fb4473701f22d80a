"""Atomic files: what they replace, and what a killed process leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hrm_arc import files
from hrm_arc.errors import UserError
from hrm_arc.files import atomic_write, fill, reserve, write_text


@pytest.mark.parametrize("kind", ["FIFO", "folder", "link", "dangling link", "device"])
def test_only_regular_files_are_replaced(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "target"
    (tmp_path / "other").write_text("other")
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(tmp_path / "other")
    elif kind == "dangling link":
        path.symlink_to(tmp_path / "nowhere")
    else:
        path = Path("/dev/null")
    before = path.lstat().st_mode
    with pytest.raises(UserError, match="is not replaced; expected a new or a regular file"):
        write_text(path, "text")
    assert path.lstat().st_mode == before
    assert (tmp_path / "other").read_text() == "other"
    assert not (tmp_path / "nowhere").exists()


KILLED = """
import os, sys
from pathlib import Path
from hrm_arc.files import atomic_write
with atomic_write(Path(sys.argv[1])) as beside:
    beside.write_text("half")
    print("written", flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_process_left_is_removed_and_what_a_live_one_writes_is_not(tmp_path: Path) -> None:
    def started(name: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", KILLED, str(tmp_path / name)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        return process

    killed, live = started("killed.onnx"), started("live.onnx")
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    files._remove_leftovers.cache_clear()
    elsewhere = tmp_path / ".x.00000000-1-0123456789abcdef.tmp"
    elsewhere.write_text("of another machine")
    assert len(list(tmp_path.glob(".*.tmp"))) == 3
    write_text(tmp_path / "another", "text")
    assert [path.name[:6] for path in sorted(tmp_path.glob(".*.tmp"))] == [".live.", ".x.000"]
    os.utime(elsewhere, (time.time() - 2 * files.LEFT_SECONDS,) * 2)
    files._remove_leftovers.cache_clear()
    live.communicate()
    write_text(tmp_path / "another", "text")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["another", "live.onnx"]


def test_temporary_names_cannot_be_guessed(tmp_path: Path) -> None:
    names = []
    for _ in range(3):
        with atomic_write(tmp_path / "file") as beside:
            beside.write_text("x")
            names.append(beside.name)
    assert len(set(names)) == 3


def test_room_is_reserved_and_filled(tmp_path: Path) -> None:
    path = tmp_path / "file"
    reserve(path, 1000)
    assert path.stat().st_size == 1000
    fill(path, b"short")
    assert path.read_bytes() == b"short"
