"""Running the command: as people do, in a process of its own, or in this process, which is faster."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hrm_arc.cli.main import main

HRM = [sys.executable, "-m", "hrm_arc"]


def hrm(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*HRM, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, timeout=300)


def answer(*arguments: str | Path, cwd: Path | None = None) -> dict[str, object]:
    done = hrm(*arguments, "--json", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check_one_line(done: subprocess.CompletedProcess[str], where: str, what: str, status: int = 2) -> None:
    assert done.returncode == status
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    assert where in lines[0]
    assert what in lines[0]


def one_line(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run the command in this process; returns its one line of error, which is the user's mistake."""
    assert main([str(each) for each in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1, printed.err
    return printed.err
