"""The orbit of a puzzle: the number of its distinct variants, and a symmetry for each of them.

A variant is the image of a puzzle under a symmetry. The symmetries that map the puzzle to itself
(its stabilizer) are found by matching. Each coset of the stabilizer gives one distinct image, so no
variant has to be generated and rejected.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from itertools import islice

import numpy as np

from hrm_arc.puzzles.matching import Item, color_group, distinct, mappings
from hrm_arc.puzzles.symmetry import COMPOSED, DIHEDRALS
from hrm_arc.puzzles.task import COLORS

# Colors 1 to 9; black stays.
PERMUTED_COLORS = COLORS - 1
# _PLACES[m, k]: the number of ways to place the remaining colors when k + 1 of m colors are placed.
_PLACES = np.array(
    [
        [math.perm(PERMUTED_COLORS - 1 - k, max(m - 1 - k, 0)) for k in range(PERMUTED_COLORS)]
        for m in range(PERMUTED_COLORS + 1)
    ]
)


class Orbit:
    """The distinct images of a puzzle under all symmetries, counted and enumerated.

    Two images are equal if they have the same set of items.

    Args:
        items: the puzzle as tuples of grids that are transformed together: ``(input, output)``,
            or ``(input,)`` where the output is held out.

    Attributes:
        size: the number of distinct images. The image of rank 0 is the puzzle itself.
        order: colors 1-9, the colors that the puzzle uses first, ``[9]``, uint8.
        used: the number of colors that the puzzle uses.
        dihedrals: one dihedral transform for each coset of the stabilizer's transforms, uint8.
        per_dihedral: the number of images for each of these transforms.
        distinct_colorings: whether different colorings always make different images.
    """

    def __init__(self, items: Sequence[Item]):
        occurs = np.zeros(COLORS, dtype=bool)
        for item in items:
            for grid in item:
                occurs[grid.reshape(-1)] = True
        occurs[0] = False
        used = np.flatnonzero(occurs)
        self.order = np.concatenate([used, np.flatnonzero(~occurs)[1:]]).astype(np.uint8)
        self.used = len(used)
        items = distinct(items)
        self.dihedrals = _coset_representatives(_dihedrals(items))
        # Each image comes from as many colorings as there are permutations of colors that change nothing.
        kernel, self._generators = color_group(items)
        self.distinct_colorings = kernel == 1
        self.per_dihedral = math.perm(PERMUTED_COLORS, self.used) // kernel
        self.size = len(self.dihedrals) * self.per_dihedral

    @cached_property
    def colorings(self) -> np.ndarray:
        """The lowest rank of each class of colorings that make the same image, in ascending order."""
        count, used = math.perm(PERMUTED_COLORS, self.used), self.order[: self.used]
        ranks = np.arange(count)
        maps = color_maps(ranks, np.tile(self.order, (count, 1)), np.full(count, self.used))
        weights = 10 ** np.arange(self.used, dtype=np.int64)
        keys = maps[:, used] @ weights
        ascending = np.argsort(keys)
        # The colorings that each generator leads to; lower ranks pass on from one to the other.
        moved = [maps[:, colors[used]] @ weights for colors in self._generators]
        places = [ascending[np.searchsorted(keys, each, sorter=ascending)] for each in moved]
        lowest = ranks
        while np.count_nonzero(lowest == ranks) > self.per_dihedral:
            for each in places:
                lowest = np.minimum(lowest, lowest[each])
        return np.flatnonzero(lowest == ranks)


class Orbits:
    """The orbits of many puzzles as tables, to find the symmetries of many images in one call.

    Args:
        orbits: one orbit for each puzzle.

    Attributes:
        sizes: the number of distinct images of each puzzle, ``[puzzles]``, int64.
    """

    def __init__(self, orbits: Sequence[Orbit]):
        self.sizes = np.array([orbit.size for orbit in orbits], dtype=np.int64)
        self._order = np.array([orbit.order for orbit in orbits], dtype=np.uint8).reshape(-1, PERMUTED_COLORS)
        self._used = np.array([orbit.used for orbit in orbits], dtype=np.int64)
        self._per_dihedral = np.array([orbit.per_dihedral for orbit in orbits], dtype=np.int64)
        self._dihedrals = np.zeros((len(orbits), DIHEDRALS), dtype=np.uint8)
        for row, orbit in zip(self._dihedrals, orbits, strict=True):
            row[: len(orbit.dihedrals)] = orbit.dihedrals
        self._listed = {n: orbit for n, orbit in enumerate(orbits) if not orbit.distinct_colorings}

    def symmetries(self, puzzle: np.ndarray, rank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The symmetries that make the images with the given ranks.

        Args:
            puzzle: the index of each puzzle, ``[n]``.
            rank: the rank of each image in the puzzle's orbit, ``[n]``.

        Returns:
            Dihedral transforms ``[n]`` and color maps ``[n, 10]``, both uint8.
        """
        which, coloring = np.divmod(rank, self._per_dihedral[puzzle])
        for each in self._listed.keys() & set(puzzle.tolist()):
            here = puzzle == each
            coloring[here] = self._listed[each].colorings[coloring[here]]
        return self._dihedrals[puzzle, which], color_maps(coloring, self._order[puzzle], self._used[puzzle])


def color_maps(rank: np.ndarray, order: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Color maps by rank, in a mixed-radix numbering; rank 0 is the identity.

    Args:
        rank: the rank of each map among the injections of its used colors into colors 1-9, ``[n]``.
        order: colors 1-9, the used colors first, ``[n, 9]``.
        used: the number of used colors, ``[n]``. The other colors get the remaining places, in order.

    Returns:
        The new color of each color, ``[n, 10]``, uint8.
    """
    maps = np.zeros((len(rank), COLORS), dtype=np.uint8)
    rows, left = np.arange(len(rank)), order
    for k in range(PERMUTED_COLORS):
        digit, rank = np.divmod(rank, _PLACES[used, k])
        digit = np.where(k < used, digit, left.argmin(axis=1))
        maps[rows, order[:, k]] = left[rows, digit]
        left = left[np.arange(left.shape[1]) != digit[:, None]].reshape(len(rank), -1)
    return maps


def _coset_representatives(subgroup: set[int]) -> np.ndarray:
    """The least element of each left coset of a subgroup of the dihedral transforms."""
    cosets = {min(int(COMPOSED[d, s]) for s in subgroup) for d in range(DIHEDRALS)}
    return np.array(sorted(cosets), dtype=np.uint8)


def _dihedrals(items: Sequence[Item]) -> set[int]:
    """The dihedral transforms that, with some permutation of colors, map the set of items to itself."""
    return {dihedral for dihedral, relations in mappings(items, items, black_stays=True) for _ in islice(relations, 1)}
