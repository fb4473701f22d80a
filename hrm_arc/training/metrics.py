"""The metrics of a step and of a validation, and the keys that they have in metrics.jsonl."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from hrm_arc.errors import UserError
from hrm_arc.files import CHECKSUM


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
        model_metrics: the metrics that the model names itself, see :attr:`hrm_arc.Reasoner.metrics`.
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
    model_metrics: dict[str, float] = field(default_factory=dict)

    @property
    def remaining(self) -> float:
        """Estimated seconds to the end of the run."""
        return self.seconds * (1 - self.progress) / max(self.progress, 1e-9)

    def as_row(self) -> dict[str, Any]:
        """The metrics as a row of metrics.jsonl."""
        row = asdict(self)
        del row["progress"]
        return row | row.pop("model_metrics")


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
