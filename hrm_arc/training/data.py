"""Which samples a step learns from: a function of the seed and the step."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeAlias

import numpy as np

from hrm_arc.puzzles.augmented import AugmentedSet, Samples
from hrm_arc.puzzles.counter_rng import below, mix, permute
from hrm_arc.puzzles.fresh import FreshSet
from hrm_arc.puzzles.transforms import Transform, apply_transforms
from hrm_arc.puzzles.varied import VariedBoards
from hrm_arc.training.config import Sampling

# A set with a number of samples of each puzzle, and what a run learns from.
FiniteSet: TypeAlias = AugmentedSet | VariedBoards
TrainingSet: TypeAlias = FiniteSet | FreshSet

# Separates the random numbers of transforms from those that choose samples.
TRANSFORM_STREAM = 0x7F5
# Mean draws of a task in one round of a sampler with shares: enough to match them within a few percent.
DRAWS_PER_TASK = 64


class Sampler(Protocol):
    """Chooses the samples of an endless stream."""

    def indices(self, positions: np.ndarray) -> np.ndarray:
        """The indices of the samples at some positions of the stream, ``[n]`` each."""
        ...


class EndlessSampler:
    """Of a set without end, in its own order: no sample comes twice."""

    def indices(self, positions: np.ndarray) -> np.ndarray:
        return positions


class EpochSampler:
    """Every sample once an epoch, in a pseudorandom order.

    Args:
        data: the set.
    """

    def __init__(self, data: FiniteSet):
        self._length, self._seed = len(data), data.seed

    def indices(self, positions: np.ndarray) -> np.ndarray:
        return _shuffled(positions, self._length, self._seed)


class TaskSampler:
    """Every task as often as its share says, each time with a random sample of it.

    A round of draws is stratified: it has one draw in each of equally long parts of the interval from 0 to 1, on which
    every task has a piece as long as its share, and it takes these parts in a pseudorandom order.

    Args:
        data: the set.
        shares: of the tasks, ``[puzzles]``; None: every task once a round.
    """

    def __init__(self, data: FiniteSet, shares: np.ndarray | None = None):
        self._data = data
        self._ends = None if shares is None else np.cumsum(shares) / np.sum(shares)
        self._round = len(data.puzzles) * (1 if shares is None else DRAWS_PER_TASK)

    def indices(self, positions: np.ndarray) -> np.ndarray:
        puzzles = _shuffled(positions, self._round, self._data.seed)
        if self._ends is not None:
            puzzles = np.searchsorted(self._ends, (puzzles + 0.5) / self._round)
        return self._data.starts[puzzles] + below(self._data.counts[puzzles], self._data.seed, positions)


def _shuffled(positions: np.ndarray, length: int, seed: int) -> np.ndarray:
    """Positions of an endless stream that repeats the numbers below ``length``, each time in another order."""
    rounds, places = np.divmod(positions, length)
    shuffled = np.empty(len(positions), dtype=np.int64)
    for each in np.unique(rounds):
        here = rounds == each
        shuffled[here] = permute(places[here], length, seed, int(each))
    return shuffled


def sampler_of(data: TrainingSet, sampling: Sampling) -> Sampler:
    """The sampler of a set; see :class:`~hrm_arc.training.config.DataConfig` for ``sampling``."""
    if isinstance(data, FreshSet):
        return EndlessSampler()
    if sampling == "samples":
        return EpochSampler(data)
    return TaskSampler(data, data.cells**-0.5 if sampling == "inverse-size" else None)


class Batches:
    """The endless stream of training samples, cut into steps.

    Nothing is kept between steps: step ``n`` of a resumed run, or of another process, is the same as in a run
    that never stopped.

    Args:
        data: the set to draw from.
        batch_size: samples of one batch, over all processes; a multiple of ``world_size``.
        grad_accum_steps: batches of one step.
        sampling: see :func:`sampler_of`.
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
        self.rank, self.world_size = rank, world_size
        self.transforms = transforms
        self._sampler = sampler_of(data, sampling)

    @property
    def samples_per_step(self) -> int:
        """Samples of one step, over all processes."""
        return self.batch_size * self.grad_accum_steps

    def epoch(self, step: int) -> float:
        """The number of passes through the set after ``step`` steps."""
        return step * self.samples_per_step / len(self.data)

    def draw(self, step: int) -> list[list[Samples]]:
        """The samples of step ``step`` (from 0): for each forward pass, one batch for each canvas."""
        passes = self._positions(step).reshape(self.grad_accum_steps, -1)
        if not self.transforms:
            return [self.data.samples(self._sampler.indices(positions)) for positions in passes]
        return [self._transformed(positions) for positions in passes]

    def indices(self, step: int) -> np.ndarray:
        """The indices of this process's samples of a step, in order."""
        return self._sampler.indices(self._positions(step))

    def _positions(self, step: int) -> np.ndarray:
        """The positions in the endless stream of this process's samples of a step."""
        start = step * self.samples_per_step
        return np.arange(start + self.rank, start + self.samples_per_step, self.world_size)

    def _transformed(self, positions: np.ndarray) -> list[Samples]:
        """Transformed samples. Their random numbers depend on positions only, so any number of processes agrees."""
        return [
            apply_transforms(samples, self.transforms, mix(self.data.seed, TRANSFORM_STREAM, positions[rows]))
            for rows, samples in self.data.samples_with_rows(self._sampler.indices(positions))
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

    def draw(self, step: int) -> list[list[Samples]]:
        """As :meth:`Batches.draw`; quick where steps are requested in their order."""
        future = self._next[1] if self._next and self._next[0] == step else self._submit(step)
        samples = future.result()
        self._next = (step + 1, self._submit(step + 1))
        return samples

    def _submit(self, step: int) -> Future[list[list[Samples]]]:
        return self._thread.submit(self._batches.draw, step)
