"""The time of a few steps, operation by operation: a trace for the standard viewers, and a table.

The parts are those of :class:`~hrm_arc.training.clock.Clock`; within them the operations are torch's.
"""

from __future__ import annotations

import gzip
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.profiler import ProfilerActivity, profile, schedule

from hrm_arc.files import atomic_write
from hrm_arc.training.clock import TIMED_PARTS

# The first steps fill caches and choose kernels; the step before the recorded ones starts the profiler.
SKIPPED, WARMUP, RECORDED = 2, 1, 5
ENOUGH = SKIPPED + WARMUP + RECORDED
# Number of operations in the table; the rest are one row.
NAMED = 15


@dataclass(frozen=True)
class Operation:
    """One of torch's operations in the recorded steps.

    Attributes:
        name: torch's name.
        calls: mean number of calls in a step.
        share: share of the steps' time that was spent in it, without the operations that it calls.
    """

    name: str
    calls: float
    share: float


class Profiler:
    """Records five steps of a run after the first three; a run that ends sooner leaves nothing.

    Args:
        trace: the file to write: compressed JSON for chrome://tracing and Perfetto.
        on_gpu: whether the run computes on a GPU.
    """

    def __init__(self, trace: Path, on_gpu: bool):
        self._trace = trace
        self._on_gpu = on_gpu
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self._on_gpu else [])]
        # Otherwise Kineto prints messages about its own start and end.
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")
        when = schedule(wait=SKIPPED, warmup=WARMUP, active=RECORDED, repeat=1)
        self._profile = profile(activities=activities, schedule=when, on_trace_ready=self._write)
        self._steps = 0
        #: the recorded times as JSON, or None before the steps have run.
        self.result: dict[str, Any] | None = None

    def __enter__(self) -> Profiler:
        self._profile.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._profile.stop()

    def step(self) -> None:
        """A step of the run has ended."""
        self._steps += 1
        self._profile.step()

    def _write(self, recorded: profile) -> None:
        if self._steps < ENOUGH:
            # The run ended within a recorded step.
            return
        with tempfile.TemporaryDirectory() as folder, atomic_write(self._trace) as beside:
            plain = Path(folder) / "trace.json"
            recorded.export_chrome_trace(str(plain))
            beside.write_bytes(gzip.compress(plain.read_bytes()))
        averages = recorded.key_averages()
        # With a GPU, steps and parts occur twice, once by the GPU's own clock.
        here = [event for event in averages if event.device_type.name == "CPU"]
        steps = [event for event in here if event.key.startswith("ProfilerStep")]
        count = sum(event.count for event in steps)
        micros = max(1.0, sum(event.cpu_time_total for event in steps))
        parts = {event.key: event.cpu_time_total / micros for event in here if event.key in TIMED_PARTS}
        operations = sorted(self._operations(averages, count, micros), key=lambda each: -each.share)
        named, rest = operations[:NAMED], operations[NAMED:]
        if rest:
            name = f"{len(rest)} others"
            named.append(Operation(name, sum(each.calls for each in rest), sum(each.share for each in rest)))
        self.result = {
            "steps": count,
            "seconds_per_step": micros / 1e6 / max(1, count),
            "parts": {part: round(parts[part], 4) for part in TIMED_PARTS if part in parts},
            "operations": [
                {"name": each.name, "calls": round(each.calls, 1), "share": round(each.share, 4)} for each in named
            ],
            "trace": str(self._trace),
        }

    def _operations(self, averages: Any, count: int, micros: float) -> list[Operation]:
        """Operations with time of their own: on a GPU its kernels, which the CPU's operations would count again."""
        found = []
        for event in averages:
            is_kernel = event.device_type.name != "CPU"
            spent = event.self_device_time_total if is_kernel else event.self_cpu_time_total
            # A named range of operations would count their time again.
            named = event.key in TIMED_PARTS or event.key.startswith("ProfilerStep") or event.is_user_annotation
            if spent and not named and is_kernel == self._on_gpu:
                found.append(Operation(event.key, event.count / count, spent / micros))
        return found
