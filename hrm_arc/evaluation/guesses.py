"""Answers that need no learning, for test inputs that no model can answer: better than nothing."""

from __future__ import annotations

from collections import Counter

import numpy as np

from hrm_arc.puzzles.selection import keeps_size
from hrm_arc.puzzles.task import ATTEMPTS, Grid, Task


def guesses(task: Task, test: int) -> list[Grid]:
    """The grids to hand in for a test input where nothing better is known, best first, at most two.

    A demonstration's output that all demonstrations share is such a guess; the input itself, where outputs keep the
    input's size; else a grid of the most frequent size of an output, in the most frequent color. Only what a solver may
    see is read.

    Args:
        task: its test outputs are not read.
        test: the number of the test input, from 0.
    """
    outputs = [pair.output for pair in task.demonstrations if pair.output is not None]
    given = task.tests[test].input
    found: list[Grid] = []
    if outputs and all(np.array_equal(output, outputs[0]) for output in outputs):
        found.append(outputs[0])
    if keeps_size(task):
        found.append(given)
    if outputs:
        shape = Counter(output.shape for output in outputs).most_common(1)[0][0]
        color = Counter(color for output in outputs for color in output.ravel().tolist()).most_common(1)[0][0]
        found.append(np.full(given.shape if keeps_size(task) else shape, color, dtype=np.uint8))
    return (found or [given])[:ATTEMPTS]
