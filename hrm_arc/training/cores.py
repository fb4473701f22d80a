"""Cores that other processes keep busy: noticed at the start of a training and while it runs.

The threads of a computation wait for each other, so one that shares its core holds up all. Beside a test suite on two
cores, one thread trained more than twice as fast as two.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import NamedTuple

import torch

log = logging.getLogger(__name__)

STAT = Path("/proc/stat")
# The shortest measurement, and the time between two during training, in seconds.
SHORTEST, BETWEEN = 0.2, 30.0
# Fewer busy cores than this are ignored.
NOTICED = 0.5


class Reading(NamedTuple):
    """Times in seconds since some moment: of the clock, of all processes on this process's cores, of this process."""

    clock: float
    busy: float
    own: float


def read() -> Reading | None:
    """A reading, or None where the system has none."""
    try:
        lines = STAT.read_text().splitlines()
        ticks, mine = os.sysconf("SC_CLK_TCK"), {f"cpu{core}" for core in os.sched_getaffinity(0)}
        busy = sum(_busy_ticks(line) for line in lines if line.split(" ", 1)[0] in mine)
    except (OSError, ValueError, AttributeError, IndexError):
        return None
    return Reading(time.monotonic(), busy / ticks, time.process_time())


def _busy_ticks(line: str) -> int:
    """The ticks of a core that were neither idle nor waiting for a disk."""
    numbers = [int(each) for each in line.split()[1:9]]
    return sum(numbers) - numbers[3] - numbers[4]


def busy_cores(before: Reading, after: Reading) -> float:
    """How many cores other processes kept busy between two readings."""
    elapsed = max(1e-6, after.clock - before.clock)
    return max(0.0, (after.busy - before.busy - (after.own - before.own)) / elapsed)


class Cores:
    """Follows how busy the cores are with other processes.

    Args:
        adapts: whether a training may take fewer threads. It then rounds differently, so only one that the clock ends
            may, which is not reproducible anyway.
    """

    def __init__(self, adapts: bool):
        # A user who sets OMP_NUM_THREADS has decided.
        self._adapts = adapts and "OMP_NUM_THREADS" not in os.environ
        self._before = read()
        self._warned = False

    def start(self) -> None:
        """Choose the threads of a training that starts, by what the cores did since this was made."""
        if self._before is None:
            return
        time.sleep(max(0.0, SHORTEST - (time.monotonic() - self._before.clock)))
        busy, threads = self._measured(), torch.get_num_threads()
        if busy < NOTICED or threads < 2:
            return
        self._warned = True
        what = f"other processes keep {busy:.1f} of {_cores()} cores busy"
        if not self._adapts:
            log.warning("%s: slow, and OMP_NUM_THREADS=%d may be faster", what, max(1, threads - round(busy)))
            return
        torch.set_num_threads(max(1, threads - round(busy)))
        log.warning("%s: training with %d of %d threads", what, torch.get_num_threads(), threads)

    def warn_if_busy(self) -> None:
        """Warn once if the cores have become busy; called after every step."""
        if self._warned or self._before is None or time.monotonic() - self._before.clock < BETWEEN:
            return
        busy = self._measured()
        if busy >= NOTICED and torch.get_num_threads() > 1:
            self._warned = True
            log.warning("other processes keep %.1f of %d cores busy now: training is slow", busy, _cores())

    def _measured(self) -> float:
        """The busy cores since the last reading."""
        before, now = self._before, read()
        if before is None or now is None:
            return 0.0
        self._before = now
        return busy_cores(before, now)


def _cores() -> int:
    return len(os.sched_getaffinity(0))
