"""One training step: segments of deep supervision, each with its loss and its update of the weights.

A step takes its samples through as many segments as the model has. Each segment is supervised, updates the
weights, and hands its carry on without a gradient history, as in HRM (Wang et al. 2025). A sample may halt
before the last segment and then leaves the batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hrm_arc.evaluation.halting import HaltingController
from hrm_arc.models.conditioning import puzzle_embeddings
from hrm_arc.models.reasoner import Batch, Reasoner
from hrm_arc.puzzles.augmented import Samples
from hrm_arc.training.clock import Clock
from hrm_arc.training.config import Recipe
from hrm_arc.training.distributed import Distributed
from hrm_arc.training.failures import DivergedError
from hrm_arc.training.flops import FlopCounter
from hrm_arc.training.losses import SegmentLosses
from hrm_arc.training.optim import EMA, dense_parameters, lr_factor, set_lr
from hrm_arc.training.segments import ActiveBatch, bytes_kept_per_cell, max_cells_per_forward, microbatches, run_segment


class StepOutput(NamedTuple):
    """The result of a step.

    Attributes:
        losses: each sample's losses in its last segment, ``[samples]``.
        segments: number of segments of each sample, ``[samples]``.
        grad_norm: norm of the gradient before clipping, mean over the step's updates.
        flops: floating-point operations of the model in this process, forward and backward.
    """

    losses: SegmentLosses
    segments: Tensor
    grad_norm: Tensor
    flops: float


class TrainingStep:
    """Runs the segments of a step and updates the weights after each.

    Args:
        recipe: losses, halting, clipping and schedule.
        distributed: this process among those that train.
        model: the model.
        optimizers: of the model, unwrapped.
        ema: the average that follows the weights, if there is one.
        clock: the time of forward, backward and optimizer is counted there.
    """

    def __init__(
        self,
        recipe: Recipe,
        distributed: Distributed,
        model: Reasoner,
        optimizers: Sequence[torch.optim.Optimizer],
        ema: EMA | None,
        clock: Clock,
    ):
        self._recipe = recipe
        self._distributed = distributed
        self._model = model
        self._optimizers = optimizers
        self._ema = ema
        self._clock = clock
        self._forward, self._wrapped_optimizers = distributed.setup(model, optimizers)
        self._max_cells = max_cells_per_forward(distributed.device)
        # What a GPU holds depends on the model, which is measured with the first samples.
        self._is_measured = distributed.device.type != "cuda"
        self._controller = HaltingController(model.segments, recipe.halting.early_exit)
        self._flops = FlopCounter(model, recipe.loss.halt_kind == "q-learning")

    def warm_up(self, passes: Sequence[Sequence[Samples]]) -> None:
        """Run a segment of some samples, whose gradients are dropped, so that the model is compiled.

        Neither the weights nor the random state change.
        """
        self._model.train()
        self._measure(passes[0][0])
        device = self._distributed.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            active = [list(self._start(samples)) for samples in passes]
            try:
                self._run_segment(active, 1, 1)
            finally:
                # Half a backward pass must not be part of the first update.
                for optimizer in self._optimizers:
                    optimizer.zero_grad()

    def run(self, passes: Sequence[Sequence[Samples]], step: int, progress: float) -> StepOutput:
        """Learn from the samples of one step.

        Args:
            passes: for each forward pass, the samples on each canvas.
            step: steps done before.
            progress: share of the run that is done, 0 to 1.

        Raises:
            DivergedError: a loss or gradient is not finite; the weights of this update did not move.
        """
        self._model.train()
        self._measure(passes[0][0])
        set_lr(self._optimizers, lr_factor(self._recipe.schedule, step, progress))
        active = [list(self._start(samples)) for samples in passes]
        count = sum(len(each.batch) for batches in active for each in batches)
        finished: list[SegmentLosses] = []
        segments: list[Tensor] = []
        norms: list[Tensor] = []
        flops = 0.0
        for segment in range(1, self._controller.max_segments + 1):
            flops += sum(self._flops.of(each.batch) for batches in active for each in batches)
            losses = self._run_segment(active, segment, count)
            with self._clock.timing("optimizer"):
                norms.append(self._update(losses, step))
            for each, of_each in zip(itertools.chain(*active), losses, strict=True):
                left = each.release(
                    of_each,
                    segment,
                    self._controller,
                    self._recipe.halting.exploration_prob,
                    self._distributed.world_size > 1,
                )
                finished += left
                segments += [torch.full_like(part.total, segment) for part in left]
            active = [[each for each in batches if len(each.batch)] for batches in active]
            if not self._any_active(active):
                break
        joined = SegmentLosses(*(torch.cat(values).detach() for values in zip(*finished, strict=True)))
        return StepOutput(joined, torch.cat(segments), torch.stack(norms).mean(), flops)

    def _measure(self, samples: Samples) -> None:
        """On a GPU, once: limit the cells of a forward pass by what one sample's keeps. The random state stays."""
        if self._is_measured:
            return
        self._is_measured, device = True, self._distributed.device
        batch = Batch.from_samples(next(samples.parts(1)), device)
        with torch.random.fork_rng([device]), self._distributed.autocast():
            self._max_cells = max_cells_per_forward(device, bytes_kept_per_cell(self._model, batch))

    def _start(self, samples: Sequence[Samples]) -> Iterator[ActiveBatch]:
        """A pass's samples before their first segment, split so that no batch exceeds the cells of a forward pass."""
        for on_canvas in samples:
            for part in on_canvas.parts(max(1, self._max_cells // on_canvas.canvas.cells)):
                yield ActiveBatch.start(self._model, Batch.from_samples(part, self._distributed.device))

    def _run_segment(self, active: list[list[ActiveBatch]], segment: int, count: int) -> list[SegmentLosses]:
        """Forward and backward of one segment of all samples; ``count`` is the number of samples of the step."""
        is_last = segment == self._controller.max_segments
        groups = [group for batches in active for group in microbatches(batches, self._max_cells)]
        results: list[SegmentLosses] = []
        for n, group in enumerate(groups):
            # Gradients are exchanged once, with the segment's last forward pass.
            with self._distributed.fabric.no_backward_sync(self._forward, enabled=n < len(groups) - 1):
                with self._clock.timing("forward"):
                    losses = run_segment(self._forward, group, self._recipe.loss, is_last)
                    totals = [(each.total * of.active).sum() for each, of in zip(losses, group, strict=True)]
                with self._clock.timing("backward"):
                    self._distributed.fabric.backward(torch.stack(totals).sum() / count)
                results += losses
        return results

    def _update(self, losses: Sequence[SegmentLosses], step: int) -> Tensor:
        """Clip the gradient, update the weights and their average; returns the gradient's norm before clipping."""
        for table in puzzle_embeddings(self._model):
            self._distributed.all_gather_rows(table)
        self._distributed.unscale(self._optimizers)
        clip = self._recipe.optimizer.grad_clip or torch.inf
        norm = torch.nn.utils.clip_grad_norm_(dense_parameters(self._model), clip)
        # The fp16 scaler lowers its scale where gradients overflow; it cannot mend a loss that is not finite.
        scaled = self._distributed.scaler is not None
        checked: Any = torch.cat([part.total.detach() for part in losses]).sum() if scaled else norm
        if not torch.isfinite(checked):
            raise DivergedError(f"step {step}", "the loss or a gradient is not finite")
        # Clipping has spread what is not finite to all gradients, so no optimizer may use them.
        self._distributed.step(self._wrapped_optimizers, skip=scaled and not bool(torch.isfinite(norm)))
        for optimizer in self._wrapped_optimizers:
            optimizer.zero_grad()
        if self._ema is not None:
            self._ema.update(step)
        return norm.detach()

    def _any_active(self, active: Sequence[Sequence[ActiveBatch]]) -> bool:
        """Whether any sample is left, here or in another process."""
        if self._distributed.world_size == 1 or not self._controller.early_exit:
            return any(active)
        here = any(bool(each.active.any()) for batches in active for each in batches)
        return self._distributed.all_reduce([float(here)], "max")[0] > 0
