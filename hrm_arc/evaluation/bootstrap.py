"""How far chance alone moves a figure: resampled tasks, drawn again as often as there are tasks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

RESAMPLES = 2000
# Resamples that are worked on at once: of ten thousand boards, all of them would fill the memory.
AT_ONCE = 50


def interval(figures: Callable[[np.ndarray], np.ndarray], tasks: int, seed: int) -> np.ndarray:
    """95% percentile bootstrap over tasks (Efron 1979).

    Args:
        figures: from numbers of tasks, ``[n, tasks]``, to the figures of each draw, ``[n, ...]``.
        tasks: how many there are, at least one.
        seed: of the draws.

    Returns:
        low and high ends, ``[2, ...]``.
    """
    random = np.random.default_rng(seed)
    sizes = [min(AT_ONCE, RESAMPLES - start) for start in range(0, RESAMPLES, AT_ONCE)]
    found = [figures(random.integers(tasks, size=(size, tasks))) for size in sizes]
    return np.percentile(np.concatenate(found), [2.5, 97.5], axis=0)


def ratio_interval(sums: np.ndarray, seed: int) -> list[float]:
    """The interval of the first column's sum over the second's, of ``[tasks, 2]``."""

    def ratio(draw: np.ndarray) -> np.ndarray:
        drawn = sums[draw].sum(axis=1)
        shares: np.ndarray = drawn[:, 0] / drawn[:, 1]
        return shares

    low, high = interval(ratio, len(sums), seed)
    return [float(low), float(high)]
