"""Where the time of a run goes, and how much of the run is done."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from torch.profiler import record_function

PARTS = ("data", "forward", "backward", "optimiser", "validation", "checkpoint")
# Validation and checkpoints do not count towards a time limit or samples per second.
OUTSIDE = ("validation", "checkpoint")


class Clock:
    """Seconds by part, and training time against the run's length.

    On a GPU the parts are the time this process spent handing out the work and waiting for
    it; kernels still running at the end of a part count to the next one that waits.

    Args:
        steps: length of the run.
        minutes: its time limit; 0 for none.
        seconds: training time of earlier processes of the same run.
    """

    def __init__(self, steps: int, minutes: float, seconds: float = 0.0):
        self._steps = steps
        self._limit = minutes * 60
        self._earlier = seconds
        self._started: float | None = None
        self._spent = dict.fromkeys(PARTS, 0.0)

    def start(self) -> None:
        self._started = time.perf_counter()

    @contextlib.contextmanager
    def timing(self, part: str) -> Iterator[None]:
        """Count what happens inside to one of ``PARTS``; a profiler sees it under that name."""
        started = time.perf_counter()
        try:
            with record_function(part):
                yield
        finally:
            self._spent[part] += time.perf_counter() - started

    def wall_seconds(self) -> float:
        """Since ``start`` in this process, everything included."""
        return time.perf_counter() - self._started if self._started is not None else 0.0

    def here_seconds(self) -> float:
        """Training time of this process."""
        return self.wall_seconds() - sum(self._spent[part] for part in OUTSIDE)

    def seconds(self) -> float:
        """Training time of the run, validation and checkpoints left out."""
        return self._earlier + self.here_seconds()

    def progress(self, step: int) -> float:
        """The share of the run that is done, by steps or by the time limit, 0 to 1."""
        by_steps = step / self._steps
        return min(1.0, max(by_steps, self.seconds() / self._limit) if self._limit else by_steps)

    def shares(self) -> dict[str, float]:
        """The share of this process's time that went to each part, and to the rest."""
        total = max(self.wall_seconds(), 1e-9)
        shares = {part: round(spent / total, 4) for part, spent in self._spent.items()}
        return {**shares, "other": round(1 - sum(self._spent.values()) / total, 4)}
