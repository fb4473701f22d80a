"""Hypothesis strategies for puzzles."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from hrm_arc.puzzles.symmetry import Symmetry
from hrm_arc.puzzles.task import Grid, Pair, Task, make_grid


def grids(most: int = 30, colors: int = 10) -> st.SearchStrategy[Grid]:
    shapes = st.tuples(st.integers(1, most), st.integers(1, most))
    cells = st.integers(0, colors - 1)
    return shapes.flatmap(lambda shape: npst.arrays(np.uint8, shape, elements=cells)).map(make_grid)


def pairs(most: int = 6, colors: int = 10) -> st.SearchStrategy[Pair]:
    return st.builds(Pair, grids(most, colors), grids(most, colors))


def tasks(most: int = 6, colors: int = 10) -> st.SearchStrategy[Task]:
    some = st.lists(pairs(most, colors), min_size=1, max_size=3).map(tuple)
    return st.builds(Task, st.just("made"), some, some)


symmetries = st.builds(Symmetry, st.integers(0, 7), st.permutations(range(1, 10)).map(lambda order: (0, *order)))
