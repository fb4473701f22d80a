"""What is measured of a run: metrics of a step, where the time goes, floating-point operations."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import record_function
from torch.utils.flop_counter import FlopCounterMode

from hrm_arc.errors import UserError
from hrm_arc.files import CHECKSUM
from hrm_arc.models.reasoner import Batch, Reasoner
from hrm_arc.puzzles.identity import Identity
from hrm_arc.puzzles.task import COLORS

PARTS = ("data", "forward", "backward", "optimizer", "validation", "checkpoint")
# Validation and checkpoints count neither towards a time limit nor towards samples per second.
OUTSIDE = ("validation", "checkpoint")


@dataclass(frozen=True)
class StepMetrics:
    """The metrics of a run after a step. Means are over the samples of this step.

    Attributes:
        step: steps done.
        epoch: passes through the training set.
        progress: share of the run that is done, 0 to 1.
        seconds: training time so far; validation and checkpoints do not count.
        loss: the answer's loss in the last segment, in nats per counted cell.
        halt_loss: the halting loss in the last segment, before its weight.
        halt_accuracy: share of samples that halt with a right answer or continue with a wrong one.
        mean_segments: number of segments.
        grad_norm: norm of the gradient before clipping, mean over the step's updates; None if it is not finite.
        lr: learning rate of the first group of parameters.
        token_accuracy: share of counted cells that are right.
        exact_accuracy: share of samples exactly right, in training.
        samples_per_sec: samples per second of training time in this process's life.
        cells_per_sec: cells that count in the loss (no padding, unless the loss counts it), per second.
        model_flops_per_sec: floating-point operations of the model per second, recomputation not counted; None if
            they are not known.
        peak_memory_bytes: the most memory that the process, or its GPU, has held.
        timing: share of the time of each part of a step.
        of_model: the metrics that the model names itself, see :attr:`hrm_arc.Reasoner.metrics`.
    """

    step: int
    epoch: float
    progress: float
    seconds: float
    loss: float
    halt_loss: float
    halt_accuracy: float
    mean_segments: float
    grad_norm: float | None
    lr: float
    token_accuracy: float
    exact_accuracy: float
    samples_per_sec: float
    cells_per_sec: float
    model_flops_per_sec: float | None
    peak_memory_bytes: int
    timing: dict[str, float]
    of_model: dict[str, float] = field(default_factory=dict)

    @property
    def remaining(self) -> float:
        """Estimated seconds to the end of the run."""
        return self.seconds * (1 - self.progress) / max(self.progress, 1e-9)

    def as_row(self) -> dict[str, Any]:
        """The metrics as a row of metrics.jsonl."""
        row = asdict(self)
        del row["progress"]
        return row | row.pop("of_model")


@dataclass(frozen=True)
class Validation:
    """The result of one validation.

    Attributes:
        samples: number of samples.
        loss: mean loss of the answer, in nats per counted cell.
        token_accuracy: over all 900 cells, padding included: the log's metric.
        exact_accuracy: share of samples whose grid is exactly right.
        seconds: duration.
        full: whether the whole held-out set was scored.
    """

    samples: int
    loss: float
    token_accuracy: float
    exact_accuracy: float
    seconds: float
    full: bool

    def as_row(self) -> dict[str, Any]:
        """The result as a row of metrics.jsonl."""
        return asdict(self)


def check_names(names: Sequence[str]) -> None:
    """Check that a model's own metrics do not have the name of another key of a row.

    Raises:
        UserError: naming the first one that does.
    """
    taken = {"kind", "full", "cells", "flops", CHECKSUM, *(each.name for each in fields(StepMetrics))}
    if wrong := [name for name in names if name in taken]:
        raise UserError("model.metrics", f"{wrong[0]} is a metric of every run; the model's own needs another name")
    if len(set(names)) < len(names):
        raise UserError("model.metrics", f"{', '.join(names)}: two have the same name")


class Clock:
    """Seconds by part, and training time against the run's length.

    On a GPU the parts are the time that this process spent on launching kernels and waiting for them; kernels
    that still run at the end of a part count towards the next part that waits.

    Args:
        max_steps: length of the run.
        max_minutes: its time limit; 0: none.
        seconds: training time of earlier processes of the same run.
    """

    def __init__(self, max_steps: int, max_minutes: float, seconds: float = 0.0):
        self._max_steps = max_steps
        self._limit = max_minutes * 60
        self._earlier = seconds
        self._started: float | None = None
        self._ended: float | None = None
        self._spent = dict.fromkeys(PARTS, 0.0)

    def go_on_from(self, seconds: float) -> None:
        """Set the training time of earlier processes of the same run."""
        self._earlier = seconds

    def start(self) -> None:
        """Start the time of this process, or go on with it; what was timed before the first start does not count."""
        self._earlier = self.seconds() if self._started is not None else self._earlier
        self._spent = dict.fromkeys(PARTS, 0.0)
        self._started, self._ended = time.perf_counter(), None

    def stop(self) -> None:
        """Stop the time, which another :meth:`start` lets go on."""
        self._ended = time.perf_counter()

    @contextlib.contextmanager
    def timing(self, part: str) -> Iterator[None]:
        """Count the enclosed time towards one of ``PARTS``; a profiler shows it under that name."""
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


# Operations of a sample on n cells are a polynomial of degree two in n: constant for what happens once for a
# sample, linear for token-wise layers, quadratic for attention. Three canvases determine it.
PROBES = ((3, 3), (4, 5), (6, 6))


class FlopCounter:
    """Floating-point operations of a model's segment, forward and backward, by torch's own counter.

    Args:
        model: its weights and gradients are left as they are.
        extra_forward: whether training runs a second forward pass for the targets of q_continue; only models with a
            logit of continuing get one.
    """

    def __init__(self, model: Reasoner, extra_forward: bool):
        self._model = model
        self._extra_forward = extra_forward
        self._by_cells: dict[int, float] = {}
        self._polynomial = self._fit()

    def of(self, batch: Batch) -> float:
        """Operations of one segment of a batch; not a number where the model could not be counted."""
        cells = batch.height * batch.width
        if cells not in self._by_cells:
            if self._polynomial is None:
                self._by_cells[cells] = self._try(batch.height, batch.width)
            else:
                self._by_cells[cells] = float(np.polyval(self._polynomial, cells))
        return len(batch) * self._by_cells[cells]

    def _fit(self) -> np.ndarray | None:
        counts = [self._try(*probe) for probe in PROBES]
        if not np.isfinite(counts).all():
            return None
        return np.polyfit([height * width for height, width in PROBES], counts, 2)

    def _try(self, height: int, width: int) -> float:
        try:
            return self._count(height, width)
        except Exception:  # A model may refuse a canvas, or use an operation that has no counter.
            return float("nan")

    def _count(self, height: int, width: int) -> float:
        """Operations for one sample."""
        parameters = [p for p in self._model.parameters() if p.requires_grad]
        device = parameters[0].device
        zeros = torch.zeros(1, height * width, dtype=torch.int64, device=device)
        first = zeros[:, 0]
        identity = Identity(first + 1, first, torch.arange(COLORS, device=device)[None], first)
        batch = Batch(height, width, zeros, zeros, identity)
        was_training = self._model.training
        devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices), sdpa_kernel(SDPBackend.MATH):
            self._model.eval()
            try:
                with torch.enable_grad(), FlopCounterMode(display=False) as counter:
                    _, output = self._model(self._model.initial_carry(batch), batch)
                    forward = counter.get_total_flops()
                    total = output.logits.float().sum() + output.q_halt.float().sum()
                    torch.autograd.grad(total, parameters, allow_unused=True)
            finally:
                self._model.train(was_training)
        again = self._extra_forward and output.q_continue is not None
        return float(counter.get_total_flops() + forward * again)
