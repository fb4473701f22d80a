"""Where the time of a run goes, and how far it is."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from torch.profiler import record_function

TIMED_PARTS = ("data", "forward", "backward", "optimizer", "validation", "checkpoint")
# Validation and checkpoints count neither towards a time limit nor towards samples per second.
OUTSIDE = ("validation", "checkpoint")


class Clock:
    """Seconds by part, and training time against the run's length.

    On a GPU the parts are the time that this process spent on launching kernels and waiting for them; kernels
    that still run at the end of a part count towards the next part that waits.

    Args:
        max_steps: length of the run.
        max_minutes: its time limit; 0: none.
    """

    def __init__(self, max_steps: int, max_minutes: float):
        self._max_steps = max_steps
        self._limit = max_minutes * 60
        # Training time of earlier processes of the same run.
        self._earlier = 0.0
        self._started: float | None = None
        self._ended: float | None = None
        self._spent = dict.fromkeys(TIMED_PARTS, 0.0)

    def resume_from(self, seconds: float) -> None:
        """Set the training time of earlier processes of the same run."""
        self._earlier = seconds

    def start(self) -> None:
        """Start the time of this process, or go on with it; what was timed before the first start does not count."""
        self._earlier = self.seconds() if self._started is not None else self._earlier
        self._spent = dict.fromkeys(TIMED_PARTS, 0.0)
        self._started, self._ended = time.perf_counter(), None

    def stop(self) -> None:
        """Stop the time, which another :meth:`start` lets go on."""
        self._ended = time.perf_counter()

    @contextlib.contextmanager
    def timing(self, part: str) -> Iterator[None]:
        """Count the enclosed time towards one of ``TIMED_PARTS``; a profiler shows it under that name."""
        started = time.perf_counter()
        try:
            with record_function(part):
                yield
        finally:
            self._spent[part] += time.perf_counter() - started

    def wall_seconds(self) -> float:
        """Time from ``start`` on until now or ``stop``, everything included."""
        now = time.perf_counter() if self._ended is None else self._ended
        return now - self._started if self._started is not None else 0.0

    def own_seconds(self) -> float:
        """Training time of this process."""
        return self.wall_seconds() - sum(self._spent[part] for part in OUTSIDE)

    def seconds(self) -> float:
        """Training time of the run."""
        return self._earlier + self.own_seconds()

    def progress(self, step: int) -> float:
        """The share of the run that is done, by steps or by the time limit, 0 to 1."""
        by_steps = step / self._max_steps
        return min(1.0, max(by_steps, self.seconds() / self._limit) if self._limit else by_steps)

    def shares(self) -> dict[str, float]:
        """The share of this process's time that each part took, and ``other``."""
        total = max(self.wall_seconds(), 1e-9)
        shares = {part: round(spent / total, 4) for part, spent in self._spent.items()}
        return {**shares, "other": round(1 - sum(self._spent.values()) / total, 4)}
