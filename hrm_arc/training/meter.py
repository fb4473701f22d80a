"""The metrics of a run at a step: means over the step's samples, speeds since this process began, and memory."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.optim import Optimizer

from hrm_arc import telemetry
from hrm_arc.errors import UserError
from hrm_arc.training.clock import Clock
from hrm_arc.training.data import Batches
from hrm_arc.training.distributed import Distributed
from hrm_arc.training.metrics import StepMetrics, check_names
from hrm_arc.training.step import StepOutput


class Meter:
    """Makes the metrics of a step from its output.

    Args:
        distributed: the processes that train.
        clock: of the run.
        batches: what a step draws.
        optimizers: of the model; the learning rate is that of their first group of parameters.
        model_metrics: the names of the model's own metrics.

    Raises:
        UserError: one of them is the name of another metric.
    """

    def __init__(
        self,
        distributed: Distributed,
        clock: Clock,
        batches: Batches,
        optimizers: Sequence[Optimizer],
        model_metrics: Sequence[str] = (),
    ):
        check_names(model_metrics)
        self._model_metrics = model_metrics
        self._distributed = distributed
        self._clock = clock
        self._batches = batches
        self._optimizers = optimizers
        self._began = 0

    def resume_from(self, step: int) -> None:
        """The steps up to here were done by an earlier process, whose speed is not that of this one."""
        self._began = step

    def samples_per_second(self, step: int) -> float:
        """Speed since the start of this process, after ``step`` steps."""
        return (step - self._began) * self._batches.samples_per_step / max(self._clock.own_seconds(), 1e-9)

    def read(self, step: int, progress: float, output: StepOutput, over_all: bool) -> StepMetrics:
        """The metrics after ``step`` steps.

        Args:
            step: steps done.
            progress: share of the run that is done, 0 to 1.
            output: of the last step.
            over_all: means over all processes, which then all have to call this; else over this process's samples.

        Raises:
            UserError: the model gave another number of metrics than it has names for.
        """
        losses, names = output.losses, self._model_metrics
        if losses.model_metrics.shape[1:] != (len(names),):
            shape = tuple(losses.model_metrics.shape)
            raise UserError("model", f"its output has metrics of shape {shape}, expected one for each of {names}")
        of_samples = {
            "loss": losses.loss,
            "halt_loss": losses.halt_loss,
            "halt_accuracy": losses.halt_accuracy,
            "token_accuracy": losses.token_accuracy,
            "exact_accuracy": losses.exact_accuracy,
            "mean_segments": output.segments,
        }
        columns = (*of_samples.values(), losses.cells, *losses.model_metrics.T)
        # Read in one go, because each reading makes a GPU wait.
        sums = torch.stack([each.float().sum() for each in columns])
        totals = [*sums.tolist(), output.flops, float(len(losses.total))]
        *totals, count = self._distributed.all_reduce(totals, "sum") if over_all else totals
        means = [total / count for total in totals]
        known, (cells, *own, flops) = means[: len(of_samples)], means[len(of_samples) :]
        rate = self.samples_per_second(step)
        device, grad_norm = self._distributed.device, float(output.grad_norm)
        return StepMetrics(
            step=step,
            epoch=self._batches.epoch(step),
            progress=progress,
            seconds=self._clock.seconds(),
            **dict(zip(of_samples, known, strict=True)),
            grad_norm=grad_norm if math.isfinite(grad_norm) else None,
            lr=self._optimizers[0].param_groups[0]["lr"],
            samples_per_sec=rate,
            # For this step's mix of canvases, at the run's speed in samples.
            cells_per_sec=rate * cells,
            model_flops_per_sec=rate * flops if math.isfinite(flops) else None,
            peak_memory_bytes=(
                torch.cuda.max_memory_allocated(device) if device.type == "cuda" else telemetry.peak_memory()
            ),
            timing=self._clock.shares(),
            model_metrics=dict(zip(names, own, strict=True)),
        )
