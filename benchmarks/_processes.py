"""Run commands in processes of their own and measure their time and memory."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hrm_arc.errors import UserError


@dataclass(frozen=True)
class Ran:
    """A process that has ended.

    Attributes:
        output: its standard output.
        seconds: its duration.
        peak_bytes: the peak of the resident memory of it and its children; 0 if it was not watched.
    """

    output: str
    seconds: float
    peak_bytes: int


def hrm(*arguments: str) -> dict[str, Any]:
    """The JSON object that ``hrm ... --json`` prints; its messages on standard error are discarded."""
    return json.loads(run([sys.executable, "-m", "hrm_arc", *arguments, "--json"]).output)


def run(command: Sequence[str], watch: bool = False) -> Ran:
    """Run a command to its end.

    Args:
        command: the program and its arguments.
        watch: measure the resident memory of it and its children every 20 ms.

    Raises:
        UserError: it failed; its standard error is printed.
    """
    started = time.perf_counter()
    # In a session of its own: Ctrl-C reaches it once, through interrupt, and not once more from the terminal.
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    peak = [0]
    watcher = threading.Thread(target=_watch, args=(process, peak), daemon=True)
    if watch:
        watcher.start()
    try:
        output, errors = process.communicate()
    except BaseException:
        interrupt(process)
        raise
    seconds = time.perf_counter() - started
    if process.returncode:
        sys.stderr.write(errors)
        how = f"status {process.returncode}" if process.returncode > 0 else f"signal {-process.returncode}"
        raise UserError(" ".join(command), f"ended with {how}")
    return Ran(output, seconds, peak[0])


def interrupt(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    """Ask a process to save and end, and wait for it, so that none goes on alone and no folder is removed under it."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    process.communicate()  # Also reads its pipes, so that it does not wait for a reader.


def _watch(process: subprocess.Popen[str], peak: list[int]) -> None:
    while process.poll() is None:
        peak[0] = max(peak[0], tree_bytes(process.pid))
        time.sleep(0.02)


def tree_bytes(pid: int) -> int:
    """Resident memory of a process and all its descendants, in bytes (Linux)."""
    total, waiting = 0, [pid]
    while waiting:
        here = waiting.pop()
        try:
            status = Path(f"/proc/{here}/status").read_text()
            total += next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS"))
            for task in Path(f"/proc/{here}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        except (OSError, StopIteration, ValueError):
            continue
    return total
