"""Halting: which samples stop after a segment, and the loop that runs segments until all have.

One rule serves training, inference in torch and inference in ONNX Runtime: a sample halts when its halting logit
exceeds its logit of continuing (0 for a model that has none) by the log odds of ``halt_at`` (0 for 0.5), at the latest
after the last segment. It uses only operations that NumPy arrays and tensors share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

Array = TypeVar("Array")


class SegmentOutput(NamedTuple, Generic[Array]):
    """The output of one segment, or of each sample's last one.

    Attributes:
        logits: of the answer's tokens, ``[n, cells, 12]``.
        q_halt: halting logits, ``[n]``.
        q_continue: the logits that they are compared with, ``[n]``.
    """

    logits: Array
    q_halt: Array
    q_continue: Array


class Segment(Protocol[Array]):
    """A batch of samples between two segments."""

    def run(self) -> SegmentOutput[Array]:
        """Run one segment for the samples in the batch."""
        ...

    def select(self, chosen: Array) -> None:
        """Keep only the samples of a mask ``[n]``."""
        ...

    def indices(self) -> Array:
        """The numbers 0, 1, ... of the samples in the batch, as an array of its kind."""
        ...


@dataclass(frozen=True)
class HaltingController:
    """Decides which samples stop after a segment.

    Attributes:
        max_segments: every sample stops after this segment.
        early_exit: whether a sample may stop earlier.
        halt_at: the halting probability above which it stops: 0.5 compares the logits as they are, as in training.
    """

    max_segments: int
    early_exit: bool = True
    halt_at: float = 0.5

    def halted(self, segment: int, q_halt: Any, q_continue: Any, min_segments: Any = None) -> Any:
        """A mask ``[n]`` of the samples that stop.

        Args:
            segment: number of the segment that was run, from 1.
            q_halt: halting logits, ``[n]``.
            q_continue: logits of continuing, ``[n]``.
            min_segments: the segments that each sample has to run at least, ``[n]`` (exploration in training).
        """
        wants = q_halt > q_continue + math.log(self.halt_at / (1 - self.halt_at))
        # A mask of one value, for an array of either library.
        if segment >= self.max_segments:
            return wants | ~wants
        if not self.early_exit:
            return wants & ~wants
        return wants if min_segments is None else wants & (segment >= min_segments)


class Halted(NamedTuple, Generic[Array]):
    """The result of :func:`run_until_halted`.

    Attributes:
        output: of each sample, from the segment in which it halted.
        segments: the number of segments of each sample, ``[n]``.
    """

    output: SegmentOutput[Array]
    segments: Array


def run_until_halted(batch: Segment[Array], controller: HaltingController) -> Halted[Array]:
    """Run segments until every sample has halted. A halted sample leaves the batch, so it costs nothing more."""
    active: Any = batch.indices()
    last: Any = batch.run()
    # Products are copies: what is written to below must not be the model's own memory.
    logits, q_halt, q_continue = (part * 1 for part in last)
    segments = active * 0 + 1
    for segment in range(2, controller.max_segments + 1):
        going_on = ~controller.halted(segment - 1, last.q_halt, last.q_continue)
        if not going_on.any():
            break
        if not going_on.all():
            batch.select(going_on)
            active = active[going_on]
        last = batch.run()
        logits[active], q_halt[active], q_continue[active] = last.logits, last.q_halt, last.q_continue
        segments[active] = segment
    return Halted(SegmentOutput(logits, q_halt, q_continue), segments)
