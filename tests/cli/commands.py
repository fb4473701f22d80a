"""Running the command: as people do, in a process of its own, or in this process, which is faster."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from hrm_arc.cli.main import entry, main

HRM = [sys.executable, "-m", "hrm_arc"]

# To import torch takes longer than most commands. So the processes of hrm are forked from one that has it already.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(
    ["tests.cli.commands", "hrm_arc.training.trainer", "hrm_arc.evaluation.torch_backend"]
)


def hrm(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own.

    Raises:
        subprocess.TimeoutExpired: it has not ended after five minutes.
    """
    command = ["hrm", *map(str, arguments)]
    with tempfile.TemporaryDirectory() as folder:
        printed = [Path(folder) / name for name in ("stdout", "stderr")]
        process = _PROCESSES.Process(target=_run, args=(command, cwd, dict(os.environ), printed))
        process.start()
        process.join(300)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(command, 300)
        return subprocess.CompletedProcess(command, process.exitcode, *(file.read_text() for file in printed))


def _run(command: list[str], cwd: Path | None, environment: dict[str, str], printed: list[Path]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    for number, file in enumerate(printed, start=1):
        os.dup2(os.open(file, os.O_CREAT | os.O_WRONLY | os.O_APPEND), number)
    if cwd is not None:
        os.chdir(cwd)
    sys.argv = command
    entry()


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
