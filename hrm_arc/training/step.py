"""One training step: segments of deep supervision, each with its loss and its update of the weights.

A step takes its samples through as many segments as the model has. Each segment is supervised, updates the
weights, and hands its carry on without a gradient history, as in HRM (Wang et al. 2025). A sample may halt
before the last segment and then leaves the batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hrm_arc.errors import ReportedError, UserError
from hrm_arc.evaluation.halting import HaltingController
from hrm_arc.files import write_json
from hrm_arc.models.conditioning import puzzle_embeddings
from hrm_arc.models.reasoner import Batch, Carry, Output, Reasoner, detach_carry, select_carry
from hrm_arc.puzzles.augmented import Samples
from hrm_arc.training.config import LossConfig, Recipe, TrainingConfig
from hrm_arc.training.distributed import Distributed
from hrm_arc.training.losses import SegmentLosses, q_continue_target, segment_losses
from hrm_arc.training.metrics import Clock, FlopCounter
from hrm_arc.training.optim import EMA, dense_parameters, lr_factor, set_lr

# Cells of one forward pass, if there are that many: more do not make a CPU faster, and cost memory.
MAX_CELLS_PER_FORWARD = 16_384
# A GPU takes that many for each of this many bytes of memory: an estimate from the tensors that HRM and TRM keep
# at their published sizes, about 3 GB; it was not measured.
GPU_BYTES = 10 * 10**9

Model = Callable[[Sequence[Carry], Sequence[Batch]], list[tuple[Carry, Output]]]


class DivergedError(ReportedError):
    """The loss or a gradient is not finite."""


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

    def means(self, distributed: Distributed, over_all: bool, of_model: Sequence[str] = ()) -> dict[str, float]:
        """Means over samples: of this process, or of all processes if all of them call this with ``over_all``.

        Args:
            distributed: the processes that train.
            over_all: see above.
            of_model: the names of the model's own metrics.

        Raises:
            UserError: the model gave another number of metrics than it has names for.
        """
        losses = self.losses
        if losses.of_model.shape[1:] != (len(of_model),):
            what = (
                f"its output has metrics of shape {tuple(losses.of_model.shape)}, expected one for each of {of_model}"
            )
            raise UserError("model", what)
        sums = {
            "loss": float(losses.loss.sum()),
            "halt_loss": float(losses.halt_loss.sum()),
            "halt_accuracy": float(losses.halt_accuracy.sum()),
            "token_accuracy": float(losses.token_accuracy.sum()),
            "exact_accuracy": float(losses.exact_accuracy.sum()),
            "mean_segments": float(self.segments.sum()),
            "cells": float(losses.cells.sum()),
            "flops": self.flops,
            **dict(zip(of_model, losses.of_model.sum(dim=0).tolist(), strict=True)),
        }
        values = [*sums.values(), float(len(losses.total))]
        *values, count = distributed.all_reduce(values, "sum") if over_all else values
        return {name: value / count for name, value in zip(sums, values, strict=True)}


@dataclass
class ActiveBatch:
    """Samples on one canvas between two segments of a step.

    Attributes:
        batch: the samples that have not left.
        carry: the model's carry of them.
        active: 1 for a sample that still counts, ``[batch]``.
        min_segments: the segments that each sample runs at least (exploration), ``[batch]``; drawn at the first
            decision.
    """

    batch: Batch
    carry: Carry
    active: Tensor
    min_segments: Tensor | None = None
    _halt_logits: tuple[Tensor, Tensor] | None = None

    @classmethod
    def start(cls, model: Reasoner, batch: Batch) -> ActiveBatch:
        """Samples before their first segment."""
        return cls(batch, model.initial_carry(batch), torch.ones(len(batch), device=batch.inputs.device))

    def losses(self, output: Output, config: LossConfig, target: Tensor | None) -> SegmentLosses:
        """The losses of a segment's output, whose halting logits are kept for :meth:`release`."""
        assert self.batch.labels is not None
        q_halt, threshold = output.halt_logits()
        self._halt_logits = q_halt.detach(), threshold.detach()
        return segment_losses(output, self.batch.labels, config, target)

    def release(
        self,
        losses: SegmentLosses,
        segment: int,
        controller: HaltingController,
        exploration_prob: float,
        keep_shape: bool,
    ) -> list[SegmentLosses]:
        """Let the samples leave that have halted; returns their losses, if there are any.

        Args:
            losses: of the segment that was just run.
            segment: its number, from 1.
            controller: decides which samples stop.
            exploration_prob: share of samples with a random number of minimum segments.
            keep_shape: samples that leave stay in the batch and no longer count, because processes that train
                together have to run equally many segments.
        """
        is_last = segment == controller.max_segments
        if not controller.early_exit:
            # All samples stop at the last segment; no mask, because reading one makes a GPU wait.
            return [losses.detach()] if is_last else []
        assert self._halt_logits is not None
        minimum = None if is_last else self._min_segments(controller.max_segments, exploration_prob)
        gone = (self.active > 0) & controller.halted(segment, *self._halt_logits, minimum)
        left = losses.select(gone)
        if keep_shape and not is_last:
            self.active = self.active * ~gone
        elif gone.any():
            stays = ~gone
            self.batch, self.carry = self.batch.select(stays), select_carry(self.carry, stays)
            self.active = self.active[stays]
            self.min_segments = None if self.min_segments is None else self.min_segments[stays]
        return [left]

    def _min_segments(self, segments: int, exploration_prob: float) -> Tensor:
        if self.min_segments is None:
            shape, device = self.active.shape, self.active.device
            explores = torch.rand(shape, device=device) < exploration_prob
            self.min_segments = torch.where(explores, torch.randint(2, segments + 1, shape, device=device), 1)
        return self.min_segments


def run_segment(model: Model, batches: Sequence[ActiveBatch], config: LossConfig, last: bool) -> list[SegmentLosses]:
    """Run one segment on several canvases; the carries go on from it without a gradient history."""
    inputs = [active.batch for active in batches]
    outputs = []
    for active, (carry, output) in zip(batches, model([each.carry for each in batches], inputs), strict=True):
        active.carry = detach_carry(carry)
        outputs.append(output)
    targets: list[Tensor | None] = [None] * len(batches)
    if config.halt_kind == "q-learning" and outputs[0].q_continue is not None:
        with torch.no_grad():
            following = model([active.carry for active in batches], inputs)
            targets = [q_continue_target(output, last) for _, output in following]
    return [
        active.losses(output, config, target) for active, output, target in zip(batches, outputs, targets, strict=True)
    ]


def max_cells_per_forward(device: torch.device) -> int:
    """The most cells of one forward pass on a device."""
    if device.type != "cuda":
        return MAX_CELLS_PER_FORWARD
    return MAX_CELLS_PER_FORWARD * max(1, torch.cuda.get_device_properties(device).total_memory // GPU_BYTES)


def microbatches(batches: Sequence[ActiveBatch], max_cells: int = MAX_CELLS_PER_FORWARD) -> Iterator[list[ActiveBatch]]:
    """Group batches in their order into forward passes of at most ``max_cells`` cells, or one larger batch."""
    group: list[ActiveBatch] = []
    cells = 0
    for active in batches:
        if group and cells + active.batch.inputs.numel() > max_cells:
            yield group
            group, cells = [], 0
        group.append(active)
        cells += active.batch.inputs.numel()
    if group:
        yield group


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
        self._controller = HaltingController(model.segments, recipe.halting.early_exit)
        self._flops = FlopCounter(model, recipe.loss.halt_kind == "q-learning")

    def warm_up(self, passes: Sequence[Sequence[Samples]]) -> None:
        """Run a segment of some samples, whose gradients are dropped, so that the model is compiled.

        Neither the weights nor the random state change.
        """
        self._model.train()
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


def explain_divergence(error: DivergedError, path: Path, step: int, indices: np.ndarray) -> DivergedError:
    """Write the samples of a step that diverged to a file; returns the error that names it."""
    write_json(path, {"step": step, "indices": indices.tolist()})
    what = "the weights did not move, and the last checkpoint is untouched; a lower learning rate or 32-true may help"
    return DivergedError(error.where, f"{error.what}; the samples are in {path}, {what}")


def out_of_memory(options: TrainingConfig) -> UserError:
    """The error for a batch that does not fit, with a smaller one that trains the same where there is one."""
    if options.batch_size == 1:
        return UserError("training.batch_size", "one sample does not fit the device's memory; take a smaller model")
    smaller, odd = divmod(options.batch_size, 2)
    return UserError(
        "training.batch_size",
        f"{options.batch_size} samples do not fit the device's memory; try --training.batch_size {smaller} "
        f"--training.grad_accum_steps {options.grad_accum_steps * 2}, which trains {'nearly ' if odd else ''}the same",
    )
