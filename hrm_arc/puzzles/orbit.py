"""How many distinct variants a puzzle has, and which symmetry makes each.

A variant is the puzzle's image under a symmetry. Those that map the puzzle to itself (its
stabiliser) are found by matching; one symmetry of each coset stands for each image, so no
variant has to be generated and rejected.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from hrm_arc.puzzles.matching import Item, distinct, mappings
from hrm_arc.puzzles.symmetry import COMPOSED, DIHEDRALS
from hrm_arc.puzzles.task import COLOURS

CHANGING = COLOURS - 1
# _PLACES[m, k]: how many ways there are to go on once k + 1 of m colours have their place.
_PLACES = np.array(
    [[math.perm(CHANGING - 1 - k, max(m - 1 - k, 0)) for k in range(CHANGING)] for m in range(CHANGING + 1)]
)


class Orbit:
    """The distinct images of a puzzle under all symmetries, counted and enumerated.

    Two images are the same when they hold the same set of items.

    Args:
        items: the puzzle as tuples of grids that belong together, such as
            ``(input, output)``, or ``(input,)`` where the answer is not to be seen.

    Attributes:
        size: how many distinct images there are. Rank 0 is the puzzle itself.
        order: colours 1-9, those that the puzzle uses first, ``[9]``, uint8.
        used: how many those are.
        dihedrals: one transform for each coset of the stabiliser's, uint8.
        per_dihedral: images for each of them.
        distinct_colourings: whether every colouring makes another image.
    """

    def __init__(self, items: Sequence[Item]):
        occurs = np.zeros(COLOURS, dtype=bool)
        for item in items:
            for grid in item:
                occurs[grid.reshape(-1)] = True
        occurs[0] = False
        used = np.flatnonzero(occurs)
        self.order = np.concatenate([used, np.flatnonzero(~occurs)[1:]]).astype(np.uint8)
        self.used = len(used)
        stabiliser = _stabiliser(items)
        self.dihedrals = _coset_representatives({dihedral for dihedral, _ in stabiliser})
        self._kernel = [colours for dihedral, colours in stabiliser if dihedral == 0]
        self.distinct_colourings = len(self._kernel) == 1
        # Of the ways to colour it, each image is made by as many as the kernel has elements.
        self.per_dihedral = math.perm(CHANGING, self.used) // len(self._kernel)
        self.size = len(self.dihedrals) * self.per_dihedral

    @cached_property
    def colourings(self) -> np.ndarray:
        """The lowest rank of each class of colourings alike under the stabiliser, in order."""
        count, used = math.perm(CHANGING, self.used), self.order[: self.used]
        maps = colour_maps(np.arange(count), np.tile(self.order, (count, 1)), np.full(count, self.used))
        weights = 10 ** np.arange(self.used, dtype=np.int64)
        # One after the other: a kernel may have thousands of elements, and there are 9! colourings.
        least = functools.reduce(np.minimum, (maps[:, colours[used]] @ weights for colours in self._kernel))
        return np.sort(np.unique(least, return_index=True)[1])


class Orbits:
    """The orbits of many puzzles as tables, so that images of all of them are found at once.

    Args:
        orbits: one for each puzzle.

    Attributes:
        sizes: of each orbit, ``[puzzles]``, int64.
    """

    def __init__(self, orbits: Sequence[Orbit]):
        self.sizes = np.array([orbit.size for orbit in orbits], dtype=np.int64)
        self._order = np.array([orbit.order for orbit in orbits], dtype=np.uint8).reshape(-1, CHANGING)
        self._used = np.array([orbit.used for orbit in orbits], dtype=np.int64)
        self._per_dihedral = np.array([orbit.per_dihedral for orbit in orbits], dtype=np.int64)
        self._dihedrals = np.zeros((len(orbits), DIHEDRALS), dtype=np.uint8)
        for row, orbit in zip(self._dihedrals, orbits, strict=True):
            row[: len(orbit.dihedrals)] = orbit.dihedrals
        self._listed = {n: orbit for n, orbit in enumerate(orbits) if not orbit.distinct_colourings}

    def symmetries(self, puzzle: np.ndarray, rank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The symmetries that make the images of puzzles with the given ranks, both ``[n]``.

        Returns:
            dihedral numbers ``[n]`` and colour maps ``[n, 10]``, both uint8.
        """
        which, colouring = np.divmod(rank, self._per_dihedral[puzzle])
        for each in self._listed.keys() & set(puzzle.tolist()):
            here = puzzle == each
            colouring[here] = self._listed[each].colourings[colouring[here]]
        return self._dihedrals[puzzle, which], colour_maps(colouring, self._order[puzzle], self._used[puzzle])


def colour_maps(rank: np.ndarray, order: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Colour maps ``[n, 10]`` (uint8) by mixed-radix rank; rank 0 is the identity.

    Args:
        rank: of each map among the ways to send its used colours to colours 1-9, ``[n]``.
        order: colours 1-9, those in use first, ``[n, 9]``.
        used: how many are in use, ``[n]``. The others are sent to what is left, in order.
    """
    maps = np.zeros((len(rank), COLOURS), dtype=np.uint8)
    rows, left = np.arange(len(rank)), order
    for k in range(CHANGING):
        digit, rank = np.divmod(rank, _PLACES[used, k])
        digit = np.where(k < used, digit, left.argmin(axis=1))
        maps[rows, order[:, k]] = left[rows, digit]
        left = left[np.arange(left.shape[1]) != digit[:, None]].reshape(len(rank), -1)
    return maps


def _coset_representatives(subgroup: set[int]) -> np.ndarray:
    """The least element of each left coset of a subgroup of the dihedral transforms."""
    cosets = {min(int(COMPOSED[d, s]) for s in subgroup) for d in range(DIHEDRALS)}
    return np.array(sorted(cosets), dtype=np.uint8)


def _stabiliser(items: Sequence[Item]) -> list[tuple[int, np.ndarray]]:
    """Every symmetry that maps the set of items to itself, as (dihedral, colour map)."""
    items = distinct(items)
    found: dict[tuple[int, bytes], tuple[int, np.ndarray]] = {}
    for dihedral, relation in mappings(items, items, black_stays=True):
        colours = np.where(relation.any(axis=1), relation.argmax(axis=1), np.arange(COLOURS))
        found[dihedral, colours.tobytes()] = (dihedral, colours)
    return list(found.values())
