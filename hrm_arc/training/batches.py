"""Which samples a step learns from: a function of the seed and the step."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal

import numpy as np

from hrm_arc.puzzles.augmented import AugmentedSet, Samples
from hrm_arc.puzzles.keyed import below, permute

Draw = Literal["samples", "tasks"]


class Batches:
    """The endless stream of training samples, cut into steps.

    Nothing is kept between steps: step ``n`` of a resumed run, or of another process,
    is the same as in a run that never stopped.

    Args:
        data: the set to draw from.
        batch: samples of one forward pass, over all ranks; a multiple of ``ranks``.
        accumulate: forward passes of one step.
        draw: ``samples``: every sample once an epoch, in a keyed order. ``tasks``: every
            task equally often, with a sample of it drawn anew each time.
        rank, ranks: this process takes every ``ranks``-th sample from ``rank`` on.
    """

    def __init__(
        self, data: AugmentedSet, batch: int, accumulate: int = 1, draw: Draw = "samples", rank: int = 0, ranks: int = 1
    ):
        self.data = data
        self.batch = batch
        self.accumulate = accumulate
        self.draw = draw
        self.rank, self.ranks = rank, ranks

    @property
    def per_step(self) -> int:
        """Samples of one step, over all ranks."""
        return self.batch * self.accumulate

    def epoch(self, step: int) -> float:
        """How often the set has been gone through after ``step`` steps."""
        return step * self.per_step / len(self.data)

    def step(self, step: int) -> list[list[Samples]]:
        """The samples of step ``step`` (from 0): of each forward pass, a batch for each canvas."""
        return [self.data.samples(share) for share in self.indices(step).reshape(self.accumulate, -1)]

    def indices(self, step: int) -> np.ndarray:
        """The indices of this rank's samples of a step, in order."""
        start = step * self.per_step
        return self._indices(np.arange(start + self.rank, start + self.per_step, self.ranks))

    def _indices(self, positions: np.ndarray) -> np.ndarray:
        """Sample indices at these positions of the endless stream."""
        lap = len(self.data) if self.draw == "samples" else len(self.data.puzzles)
        rounds, places = np.divmod(positions, lap)
        drawn = np.empty(len(positions), dtype=np.int64)
        for each in np.unique(rounds):
            here = rounds == each
            drawn[here] = permute(places[here], lap, self.data.seed, int(each))
        if self.draw == "samples":
            return drawn
        starts, counts = self.data.starts[drawn], self.data.counts[drawn]
        return starts + below(counts, self.data.seed, positions)


class Ahead:
    """Each step's samples, drawn by a thread while a device learns from those of the step before.

    Args:
        batches: from here on nobody else may draw from its set, which keeps what it has drawn.
    """

    def __init__(self, batches: Batches):
        self._batches = batches
        self._thread = ThreadPoolExecutor(1, "samples")
        self._drawn: tuple[int, Future[list[list[Samples]]]] | None = None

    def step(self, step: int) -> list[list[Samples]]:
        """As :meth:`Batches.step`; it is quick where steps are asked for in their order."""
        drawn = self._drawn[1] if self._drawn and self._drawn[0] == step else self._begin(step)
        samples = drawn.result()
        self._drawn = (step + 1, self._begin(step + 1))
        return samples

    def _begin(self, step: int) -> Future[list[list[Samples]]]:
        return self._thread.submit(self._batches.step, step)
