"""The metrics of a run at a step: means over the step's samples, speeds since this process began, and memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.optim import Optimizer

from hrm_arc import telemetry
from hrm_arc.training.data import Batches
from hrm_arc.training.distributed import Distributed
from hrm_arc.training.metrics import Clock, StepMetrics, check_names
from hrm_arc.training.step import StepOutput


class Meter:
    """Makes the metrics of a step from its output.

    Args:
        distributed: the processes that train.
        clock: of the run.
        batches: what a step draws.
        optimizers: of the model; the learning rate is that of their first group of parameters.
        of_model: the names of the model's own metrics.

    Raises:
        UserError: one of them is the name of another metric.
    """

    def __init__(
        self,
        distributed: Distributed,
        clock: Clock,
        batches: Batches,
        optimizers: Sequence[Optimizer],
        of_model: Sequence[str] = (),
    ):
        check_names(of_model)
        self._of_model = of_model
        self._distributed = distributed
        self._clock = clock
        self._batches = batches
        self._optimizers = optimizers
        self._began = 0

    def go_on_from(self, step: int) -> None:
        """The steps up to here were done by an earlier process, whose speed is not that of this one."""
        self._began = step

    def samples_per_second(self, step: int) -> float:
        """Speed since the start of this process, after ``step`` steps."""
        return (step - self._began) * self._batches.samples_per_step / max(self._clock.own_seconds(), 1e-9)

    def read(self, step: int, progress: float, output: StepOutput, over_all: bool) -> StepMetrics:
        """The metrics after ``step`` steps: means over all processes if ``over_all``, as all of them are then here."""
        means = output.means(self._distributed, over_all, self._of_model)
        of_model = {name: means.pop(name) for name in self._of_model}
        rate = self.samples_per_second(step)
        cells, flops = means.pop("cells"), means.pop("flops")
        device, grad_norm = self._distributed.device, float(output.grad_norm)
        on_gpu = device.type == "cuda"
        return StepMetrics(
            step=step,
            epoch=self._batches.epoch(step),
            progress=progress,
            seconds=self._clock.seconds(),
            **means,
            grad_norm=grad_norm if np.isfinite(grad_norm) else None,
            lr=self._optimizers[0].param_groups[0]["lr"],
            samples_per_sec=rate,
            # For this step's mix of canvases, at the run's speed in samples.
            cells_per_sec=rate * cells,
            model_flops_per_sec=rate * flops if np.isfinite(flops) else None,
            peak_memory_bytes=torch.cuda.max_memory_allocated(device) if on_gpu else telemetry.peak_memory(),
            timing=self._clock.shares(),
            of_model=of_model,
        )
