"""Bootstrap intervals: the spread of a score over resampled tasks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

RESAMPLES = 2000
# Resamples that are computed at once; all of them at once would need too much memory for 10,000 boards.
AT_ONCE = 50


def interval(figures: Callable[[np.ndarray], np.ndarray], tasks: int, seed: int) -> np.ndarray:
    """95% percentile bootstrap over tasks (Efron 1979).

    Args:
        figures: from the numbers of the tasks in each resample, ``[n, tasks]``, to its scores, ``[n, ...]``.
        tasks: the number of tasks, at least one.
        seed: of the resamples.

    Returns:
        low and high ends of the intervals, ``[2, ...]``.
    """
    random = np.random.default_rng(seed)
    sizes = [min(AT_ONCE, RESAMPLES - start) for start in range(0, RESAMPLES, AT_ONCE)]
    found = [figures(random.integers(tasks, size=(size, tasks))) for size in sizes]
    return np.percentile(np.concatenate(found), [2.5, 97.5], axis=0)


def ratio_interval(sums: np.ndarray, seed: int) -> list[float]:
    """The interval of a ratio of sums over tasks: the first column over the second, ``[tasks, 2]``."""

    def ratio(draw: np.ndarray) -> np.ndarray:
        drawn = sums[draw].sum(axis=1)
        shares: np.ndarray = drawn[:, 0] / drawn[:, 1]
        return shares

    low, high = interval(ratio, len(sums), seed)
    return [float(low), float(high)]
