"""What a model scores that has understood nothing; no accuracy is printed without these.

``pad_only`` answers padding everywhere: the log's plateau. ``position_mode`` is the best
constant there is, chosen cell by cell with the answers in hand, so no constant output can
score higher. ``copy_input`` hands the input back.
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


def baselines(held_back: AugmentedSet, indices: np.ndarray | None = None) -> Baselines:
    """Baselines of a set whose inputs and labels lie on the full canvas, or of some of its samples.

    Token accuracy counts all 900 cells, padding included: the log's metric. Exact
    accuracy is the share of samples with every cell right.
    """
    chosen = np.arange(len(held_back)) if indices is None else indices
    mode = _position_mode(held_back, chosen)
    constants = {"pad_only": np.full(FULL.cells, PAD, dtype=np.uint8), "position_mode": mode}
    names = (*constants, "copy_input")
    tokens, exact = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    for samples in _batches(held_back, chosen):
        assert samples.labels is not None
        assert samples.canvas == FULL
        for name in names:
            right = samples.labels == constants.get(name, samples.inputs)
            tokens[name] += int(right.sum())
            exact[name] += int(right.all(axis=1).sum())
    count = max(1, len(chosen))
    return {
        name: {"token_accuracy": tokens[name] / (count * FULL.cells), "exact_accuracy": exact[name] / count}
        for name in names
    }


def _batches(held_back: AugmentedSet, indices: np.ndarray) -> Iterator[Samples]:
    for start in range(0, len(indices), 4096):
        yield from held_back.samples(indices[start : start + 4096])


def _position_mode(held_back: AugmentedSet, indices: np.ndarray) -> np.ndarray:
    """The commonest label of each cell, ``[900]``, uint8."""
    counts = np.zeros(FULL.cells * VOCABULARY, dtype=np.int64)
    places = np.arange(FULL.cells, dtype=np.int64) * VOCABULARY
    for samples in _batches(held_back, indices):
        assert samples.labels is not None
        counts += np.bincount((samples.labels + places).reshape(-1), minlength=counts.size)
    return counts.reshape(FULL.cells, VOCABULARY).argmax(axis=1).astype(np.uint8)


def task_baselines(tasks: Sequence[Task]) -> Baselines:
    """Baselines of the tasks' own test pairs, unaugmented."""
    return baselines(AugmentedSet(Corpus(solve=tuple(tasks)).held_back_puzzles()))
