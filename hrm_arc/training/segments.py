"""One segment of deep supervision: samples on several canvases, their losses, and who leaves after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hrm_arc.evaluation.halting import HaltingController
from hrm_arc.models.reasoner import Batch, Carry, Output, Reasoner, detach_carry, select_carry
from hrm_arc.training.config import LossConfig
from hrm_arc.training.losses import SegmentLosses, q_continue_target, segment_losses

# Cells of one forward pass, if there are that many: more do not make a CPU faster, and cost memory.
MAX_CELLS_PER_FORWARD = 16_384
# A GPU takes that many for each of this many bytes of memory, if what is kept for the backward pass then takes at most
# this share of it. Neither was tried on a GPU.
GPU_BYTES = 10 * 10**9
KEPT_SHARE = 0.5

Model = Callable[[Sequence[Carry], Sequence[Batch]], list[tuple[Carry, Output]]]


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


def max_cells_per_forward(device: torch.device, kept_per_cell: float = 0.0) -> int:
    """The most cells of one forward pass on a device.

    Args:
        device: where the model is.
        kept_per_cell: see :func:`bytes_kept_per_cell`; 0: not known.
    """
    if device.type != "cuda":
        return MAX_CELLS_PER_FORWARD
    memory = torch.cuda.get_device_properties(device).total_memory
    most = MAX_CELLS_PER_FORWARD * max(1, memory // GPU_BYTES)
    return max(1, min(most, int(KEPT_SHARE * memory / kept_per_cell))) if kept_per_cell else most


def bytes_kept_per_cell(model: Reasoner, batch: Batch) -> float:
    """Bytes that a segment's forward pass keeps for its backward pass, for each cell of a batch.

    What is recomputed in the backward pass is not kept, and the parameters are not counted.
    """
    parameters = {each.untyped_storage().data_ptr() for each in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        # Held until the end, so that no address is used twice.
        output = model(model.initial_carry(batch), batch)
    del output
    return sum(kept.values()) / batch.inputs.numel()


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
