"""Which samples a step learns from: a function of the seed and the step."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeAlias

import numpy as np

from hrm_arc.puzzles.augmented import AugmentedSet, Samples
from hrm_arc.puzzles.counter_rng import below, mix, permute
from hrm_arc.puzzles.fresh import FreshSet
from hrm_arc.puzzles.transforms import Transform, apply_transforms
from hrm_arc.puzzles.varied import VariedBoards
from hrm_arc.training.config import Sampling

# What a run learns from.
TrainingSet: TypeAlias = AugmentedSet | VariedBoards | FreshSet

# Separates the random numbers of transforms from those that choose samples.
TRANSFORM_STREAM = 0x7F5
# Mean draws of a task in one round of ``inverse-size``: enough to match the shares within a few percent.
DRAWS_PER_TASK = 64


class Batches:
    """The endless stream of training samples, cut into steps.

    Nothing is kept between steps: step ``n`` of a resumed run, or of another process, is the same as in a run
    that never stopped.

    Args:
        data: the set to draw from.
        batch_size: samples of one batch, over all processes; a multiple of ``world_size``.
        grad_accum_steps: batches of one step.
        sampling: ``samples``: every sample once an epoch, in a pseudorandom order. ``tasks``: every task
            equally often, each time with a random sample of it. ``inverse-size``: every task in inverse proportion to
            the square root of its canvas's cells, likewise.
        rank, world_size: this process takes every ``world_size``-th sample, from ``rank`` on.
        transforms: applied to the samples, in this order.
    """

    def __init__(
        self,
        data: TrainingSet,
        batch_size: int,
        grad_accum_steps: int = 1,
        sampling: Sampling = "samples",
        rank: int = 0,
        world_size: int = 1,
        transforms: Sequence[Transform] = (),
    ):
        self.data = data
        self.batch_size = batch_size
        self.grad_accum_steps = grad_accum_steps
        self.sampling = sampling
        self.rank, self.world_size = rank, world_size
        self.transforms = transforms
        # A round of draws is one point of each of as many equal parts of 0 to 1, in a pseudorandom order.
        self._round = len(data) if sampling == "samples" else len(data.puzzles)
        if sampling == "inverse-size":
            self._round *= DRAWS_PER_TASK
            self._shares = np.cumsum(data.cells**-0.5) / np.sum(data.cells**-0.5)

    @property
    def samples_per_step(self) -> int:
        """Samples of one step, over all processes."""
        return self.batch_size * self.grad_accum_steps

    def epoch(self, step: int) -> float:
        """The number of passes through the set after ``step`` steps."""
        return step * self.samples_per_step / len(self.data)

    def step(self, step: int) -> list[list[Samples]]:
        """The samples of step ``step`` (from 0): for each forward pass, one batch for each canvas."""
        passes = self._positions(step).reshape(self.grad_accum_steps, -1)
        if not self.transforms:
            return [self.data.samples(self._indices(positions)) for positions in passes]
        return [self._transformed(positions) for positions in passes]

    def indices(self, step: int) -> np.ndarray:
        """The indices of this process's samples of a step, in order."""
        return self._indices(self._positions(step))

    def _positions(self, step: int) -> np.ndarray:
        """The positions in the endless stream of this process's samples of a step."""
        start = step * self.samples_per_step
        return np.arange(start + self.rank, start + self.samples_per_step, self.world_size)

    def _indices(self, positions: np.ndarray) -> np.ndarray:
        """Sample indices at these positions of the endless stream."""
        if isinstance(self.data, FreshSet):
            # No index comes twice.
            return positions
        rounds, places = np.divmod(positions, self._round)
        chosen = np.empty(len(positions), dtype=np.int64)
        for each in np.unique(rounds):
            here = rounds == each
            chosen[here] = permute(places[here], self._round, self.data.seed, int(each))
        if self.sampling == "samples":
            return chosen
        if self.sampling == "inverse-size":
            chosen = np.searchsorted(self._shares, (chosen + 0.5) / self._round)
        starts, counts = self.data.starts[chosen], self.data.counts[chosen]
        return starts + below(counts, self.data.seed, positions)

    def _transformed(self, positions: np.ndarray) -> list[Samples]:
        """Transformed samples. Their random numbers depend on positions only, so any number of processes agrees."""
        return [
            apply_transforms(samples, self.transforms, mix(self.data.seed, TRANSFORM_STREAM, positions[rows]))
            for rows, samples in self.data.samples_with_rows(self._indices(positions))
        ]


class Prefetcher:
    """Draws the next step's samples in a thread while a device computes.

    Args:
        batches: nothing else may draw from its set meanwhile, because the set caches what it has drawn.
    """

    def __init__(self, batches: Batches):
        self._batches = batches
        self._thread = ThreadPoolExecutor(1, "samples")
        self._next: tuple[int, Future[list[list[Samples]]]] | None = None

    def step(self, step: int) -> list[list[Samples]]:
        """As :meth:`Batches.step`; quick where steps are requested in their order."""
        future = self._next[1] if self._next and self._next[0] == step else self._submit(step)
        samples = future.result()
        self._next = (step + 1, self._submit(step + 1))
        return samples

    def _submit(self, step: int) -> Future[list[list[Samples]]]:
        return self._thread.submit(self._batches.step, step)
