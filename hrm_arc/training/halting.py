"""Batches that are thought about: one segment after another, until their samples have halted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hrm_arc.models.reasoner import Batch, Output, Reasoner, State, detach, part_of
from hrm_arc.training.losses import LossConfig, Losses, segment_losses, value_of_thinking_on

# Cells that go through a model together, if there are so many: more bring a CPU no speed and cost memory.
TOGETHER = 16_384
# On a GPU so many for each of this many bytes: HRM and TRM at their published sizes keep some 3 GB for
# them, by a count of what is kept, which nobody has measured yet.
GPU_BYTES = 10 * 10**9

Model = Callable[[Sequence[State], Sequence[Batch]], list[tuple[State, Output]]]


@dataclass(frozen=True)
class HaltingConfig:
    """Whether samples stop before the last segment while they are learned from.

    Attributes:
        leave: a sample whose model would rather halt leaves the batch, as in HRM and TRM, whose
            batches are filled up again with new samples; here a step ends when all have left.
        exploration: share of samples that have to think for a random number of segments first,
            so that the model sees what thinking on is worth.
    """

    leave: bool = False
    exploration: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.exploration <= 1:
            raise ValueError(f"exploration is {self.exploration}, expected 0 to 1")


@dataclass
class Thought:
    """Samples on one canvas with the state of thinking about them.

    Attributes:
        batch: the samples that still think.
        state: of the model.
        counts: 1 for a sample that is still learned from, ``[batch]``.
        at_least: segments that exploration asks of each, ``[batch]``; drawn with the first.
    """

    batch: Batch
    state: State
    counts: Tensor
    at_least: Tensor | None = None
    _halts: Tensor | None = None

    @classmethod
    def of(cls, model: Reasoner, batch: Batch) -> Thought:
        return cls(batch, model.start(batch), torch.ones(len(batch), device=batch.inputs.device))

    def losses(self, output: Output, config: LossConfig, worth: Tensor | None) -> Losses:
        """What a segment's ``output`` is worth, and who would rather halt after it."""
        assert self.batch.labels is not None
        self._halts = output.halts().detach()
        return segment_losses(output, self.batch.labels, config, worth)

    def leave(
        self, losses: Losses, segment: int, segments: int, config: HaltingConfig, keep_shape: bool
    ) -> list[Losses]:
        """Let samples go that have halted; returns their losses, if there are any.

        Args:
            losses: of the segment that was just thought.
            segment: its number, from 1.
            segments: how many there are at most.
            config: whether samples leave before the last.
            keep_shape: those that leave stay in the batch and no longer count. Processes
                that train together all have to run as many segments as each other.
        """
        if segment == segments and not config.leave:
            # All of them, without a look at each: a look makes a GPU finish what it has begun.
            return [Losses(*(values.detach() for values in losses))]
        counted = self.counts > 0
        if segment == segments:
            gone = counted
        elif config.leave:
            assert self._halts is not None
            gone = counted & self._halts & (segment >= self._segments_asked(segments, config.exploration))
        else:
            return []
        left = Losses(*(values[gone].detach() for values in losses))
        if keep_shape and segment < segments:
            self.counts = self.counts * ~gone
        elif gone.any():
            stays = ~gone
            self.batch, self.state = self.batch.part(stays), part_of(self.state, stays)
            self.counts = self.counts[stays]
            self.at_least = None if self.at_least is None else self.at_least[stays]
        return [left]

    def _segments_asked(self, segments: int, exploration: float) -> Tensor:
        if self.at_least is None:
            shape, device = self.counts.shape, self.counts.device
            explores = torch.rand(shape, device=device) < exploration
            self.at_least = torch.where(explores, torch.randint(2, segments + 1, shape, device=device), 1)
        return self.at_least


def think_segment(model: Model, thoughts: Sequence[Thought], config: LossConfig, last: bool) -> list[Losses]:
    """One segment of thought on several canvases at once; the states go on from it without history."""
    batches = [thought.batch for thought in thoughts]
    outputs = []
    for thought, (state, output) in zip(thoughts, model([t.state for t in thoughts], batches), strict=True):
        thought.state = detach(state)
        outputs.append(output)
    worths: list[Tensor | None] = [None] * len(thoughts)
    if config.halt == "q-learning" and outputs[0].think_on is not None:
        with torch.no_grad():
            following = model([thought.state for thought in thoughts], batches)
            worths = [value_of_thinking_on(output, last) for _, output in following]
    return [
        thought.losses(output, config, worth) for thought, output, worth in zip(thoughts, outputs, worths, strict=True)
    ]


def cells_at_once(device: torch.device) -> int:
    """How many cells may go through a model together on a device."""
    if device.type != "cuda":
        return TOGETHER
    return TOGETHER * max(1, torch.cuda.get_device_properties(device).total_memory // GPU_BYTES)


def portions(thoughts: Sequence[Thought], most: int = TOGETHER) -> Iterator[list[Thought]]:
    """The thoughts in their order, so many at once as have ``most`` cells, or one that has more."""
    portion: list[Thought] = []
    cells = 0
    for thought in thoughts:
        if portion and cells + thought.batch.inputs.numel() > most:
            yield portion
            portion, cells = [], 0
        portion.append(thought)
        cells += thought.batch.inputs.numel()
    if portion:
        yield portion
