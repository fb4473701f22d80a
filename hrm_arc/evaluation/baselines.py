"""Baselines: scores of answers that need no learning. Every accuracy is printed beside them.

``pad_only`` is padding in every cell. ``position_mode`` is the best constant output: the most frequent label of
each cell, taken from the answers themselves, so no constant output scores higher. ``copy_input`` is the input.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from hrm_arc.puzzles.augmented import AugmentedSet, Samples
from hrm_arc.puzzles.canvas import FULL, PAD, VOCABULARY
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.task import Task

# name -> {"token_accuracy": ..., "exact_accuracy": ...}
Baselines = dict[str, dict[str, float]]
BASELINE_NAMES = ("pad_only", "position_mode", "copy_input")


def baselines(held_out: AugmentedSet, indices: np.ndarray | None = None) -> Baselines:
    """Baselines of a data set.

    Args:
        held_out: samples with inputs and labels on the full canvas.
        indices: the samples to score; all of them if None.

    Returns:
        for each baseline ``token_accuracy``, over all 900 cells, padding included, and ``exact_accuracy``, the
        share of samples with every cell right; nothing where there is no sample, because then none is known.
    """
    chosen = np.arange(len(held_out)) if indices is None else indices
    if not len(chosen):
        return {}
    mode = _position_mode(held_out, chosen)
    constants = {"pad_only": np.full(FULL.cells, PAD, dtype=np.uint8), "position_mode": mode}
    names = BASELINE_NAMES
    tokens, exact = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    for samples in _batches(held_out, chosen):
        assert samples.labels is not None
        assert samples.canvas == FULL
        for name in names:
            right = samples.labels == constants.get(name, samples.inputs)
            tokens[name] += int(right.sum())
            exact[name] += int(right.all(axis=1).sum())
    count = len(chosen)
    return {
        name: {"token_accuracy": tokens[name] / (count * FULL.cells), "exact_accuracy": exact[name] / count}
        for name in names
    }


def _batches(held_out: AugmentedSet, indices: np.ndarray) -> Iterator[Samples]:
    for start in range(0, len(indices), 4096):
        yield from held_out.samples(indices[start : start + 4096])


def _position_mode(held_out: AugmentedSet, indices: np.ndarray) -> np.ndarray:
    """The most frequent label of each cell, ``[900]``, uint8."""
    counts = np.zeros(FULL.cells * VOCABULARY, dtype=np.int64)
    places = np.arange(FULL.cells, dtype=np.int64) * VOCABULARY
    for samples in _batches(held_out, indices):
        assert samples.labels is not None
        counts += np.bincount((samples.labels + places).reshape(-1), minlength=counts.size)
    return counts.reshape(FULL.cells, VOCABULARY).argmax(axis=1).astype(np.uint8)


def task_baselines(tasks: Sequence[Task]) -> Baselines:
    """Baselines of the tasks' own test pairs, without augmentation."""
    return baselines(AugmentedSet(Corpus(solve=tuple(tasks)).held_out_puzzles()))
