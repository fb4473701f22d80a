"""The symmetries of a puzzle: eight dihedral transforms times permutations of colours 1-9.

Colour 0 (black) stays. A dihedral transform is a number 0-7: numbers from 4 on transpose
first; then the grid is turned counter-clockwise by a quarter ``number % 4`` times.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hrm_arc.puzzles.task import COLOURS, Grid

DIHEDRALS = 8


def turn(grid: Grid, dihedral: int) -> Grid:
    """Apply a dihedral transform to a grid ``[height, width]`` (a view of it)."""
    return np.rot90(grid.T if dihedral >= 4 else grid, dihedral % 4)


def swaps_sides(dihedral: int) -> bool:
    """Whether the transform turns height into width."""
    return (dihedral >= 4) != (dihedral % 2 == 1)


_PROBE = np.arange(4).reshape(2, 2)


def _find(image: Grid) -> int:
    return next(d for d in range(DIHEDRALS) if np.array_equal(turn(_PROBE, d), image))


# COMPOSED[a, b]: the transform that does b first, then a.
COMPOSED = np.array([[_find(turn(turn(_PROBE, b), a)) for b in range(DIHEDRALS)] for a in range(DIHEDRALS)])
INVERSE = np.array([int(np.flatnonzero(row == 0)[0]) for row in COMPOSED])


@dataclass(frozen=True)
class Symmetry:
    """A dihedral transform and a permutation of colours.

    Attributes:
        dihedral: 0-7.
        colours: what each colour 0-9 becomes; ``colours[0]`` is 0.
    """

    dihedral: int = 0
    colours: tuple[int, ...] = tuple(range(COLOURS))

    def __post_init__(self) -> None:
        if not 0 <= self.dihedral < DIHEDRALS:
            raise ValueError(f"dihedral {self.dihedral}, expected 0 to 7")
        if sorted(self.colours) != list(range(COLOURS)) or self.colours[0] != 0:
            raise ValueError(f"colours {self.colours} do not permute 1-9")

    def apply(self, grid: Grid) -> Grid:
        return np.array(self.colours, dtype=np.uint8)[turn(grid, self.dihedral)]

    def inverse(self) -> Symmetry:
        return Symmetry(int(INVERSE[self.dihedral]), tuple(np.argsort(self.colours).tolist()))

    def __matmul__(self, first: Symmetry) -> Symmetry:
        """The symmetry that does ``first``, then this one."""
        colours = tuple(self.colours[colour] for colour in first.colours)
        return Symmetry(int(COMPOSED[self.dihedral, first.dihedral]), colours)


IDENTITY = Symmetry()


class Orbit:
    """The distinct images of a puzzle under all symmetries, counted and enumerated.

    Two images are the same when they hold the same set of items. The symmetries that
    map the puzzle to itself (its stabiliser) are found by matching items; one symmetry
    of each coset stands for each image, so none has to be generated and rejected.

    Args:
        items: the puzzle as tuples of grids that belong together, such as
            ``(input, output)``, or ``(input,)`` where the answer is not to be seen.

    Attributes:
        size: how many distinct images there are. Rank 0 is the puzzle itself.
    """

    def __init__(self, items: Sequence[tuple[Grid, ...]]):
        used = np.zeros(COLOURS, dtype=bool)
        for item in items:
            for grid in item:
                used[np.unique(grid)] = True
        used[0] = False
        self._used = np.flatnonzero(used)
        self._unused = np.flatnonzero(~used)[1:]
        stabiliser = _stabiliser(items)
        onto = {dihedral for dihedral, _ in stabiliser}
        self._dihedrals = _coset_representatives(onto)
        self._colourings = self._distinct_colourings([m for d, m in stabiliser if d == 0])
        self._per_dihedral = len(self._colourings) if self._colourings is not None else self._injections
        self.size = len(self._dihedrals) * self._per_dihedral

    @property
    def _injections(self) -> int:
        """How many ways there are to send the used colours to colours 1-9."""
        return math.perm(COLOURS - 1, len(self._used))

    def symmetries(self, ranks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The symmetries with the given ranks in ``range(size)``.

        Returns:
            dihedral numbers ``[n]`` and colour maps ``[n, 10]``, both uint8.
        """
        which, colouring = np.divmod(np.asarray(ranks, dtype=np.int64), self._per_dihedral)
        if self._colourings is not None:
            colouring = self._colourings[colouring]
        return self._dihedrals[which], self._unrank(colouring)

    def _unrank(self, ranks: np.ndarray) -> np.ndarray:
        """Colour maps ``[n, 10]`` in the order of their mixed-radix rank; 0 is the identity."""
        targets = np.concatenate([self._used, self._unused]).astype(np.uint8)
        left = np.repeat(targets[None], len(ranks), axis=0)
        maps = np.zeros((len(ranks), COLOURS), dtype=np.uint8)
        place = self._injections
        for colour in self._used:
            place //= left.shape[1]
            digit, ranks = np.divmod(ranks, place)
            maps[:, colour] = np.take_along_axis(left, digit[:, None], axis=1)[:, 0]
            keep = np.arange(left.shape[1]) != digit[:, None]
            left = left[keep].reshape(len(left), -1)
        # Colours that the puzzle does not use make no image differ; any bijection will do.
        maps[:, self._unused] = np.sort(left, axis=1)
        return maps

    def _distinct_colourings(self, kernel: list[np.ndarray]) -> np.ndarray | None:
        """The lowest rank of each class of colourings alike under ``kernel``; None: all."""
        if len(kernel) == 1:
            return None
        maps = self._unrank(np.arange(self._injections))
        weights = 10 ** np.arange(len(self._used), dtype=np.int64)
        least = np.min([maps[:, colours[self._used]] @ weights for colours in kernel], axis=0)
        return np.sort(np.unique(least, return_index=True)[1])


def _coset_representatives(subgroup: set[int]) -> np.ndarray:
    """The least element of each left coset of a subgroup of the dihedral transforms."""
    cosets = {min(int(COMPOSED[d, s]) for s in subgroup) for d in range(DIHEDRALS)}
    return np.array(sorted(cosets), dtype=np.uint8)


def _stabiliser(items: Sequence[tuple[Grid, ...]]) -> list[tuple[int, np.ndarray]]:
    """Every symmetry that maps the set of items to itself, as (dihedral, colour map)."""
    distinct = {tuple((g.shape, g.tobytes()) for g in item): item for item in items}
    targets = list(distinct.values())
    found: dict[tuple[int, bytes], np.ndarray] = {}
    for dihedral in range(DIHEDRALS):
        sources = [tuple(turn(grid, dihedral) for grid in item) for item in targets]
        for relation in _matchings(sources, targets, np.zeros((COLOURS, COLOURS), dtype=bool)):
            colours = np.where(relation.any(axis=1), relation.argmax(axis=1), np.arange(COLOURS))
            found[dihedral, colours.tobytes()] = colours
    return [(dihedral, colours) for (dihedral, _), colours in found.items()]


def _matchings(
    sources: list[tuple[Grid, ...]], targets: list[tuple[Grid, ...]], relation: np.ndarray
) -> Iterator[np.ndarray]:
    """Colour relations ``[10, 10]`` under which every source becomes another target."""
    if not sources:
        yield relation
        return
    for index, target in enumerate(targets):
        wider = _relate(sources[0], target, relation)
        if wider is not None:
            yield from _matchings(sources[1:], targets[:index] + targets[index + 1 :], wider)


def _relate(source: tuple[Grid, ...], target: tuple[Grid, ...], relation: np.ndarray) -> np.ndarray | None:
    """``relation`` with what sending source to target adds, or None if it is no bijection."""
    if len(source) != len(target):
        return None
    wider = relation.copy()
    for a, b in zip(source, target, strict=True):
        if a.shape != b.shape:
            return None
        wider[a.reshape(-1), b.reshape(-1)] = True
    bijective = (wider.sum(axis=0) <= 1).all() and (wider.sum(axis=1) <= 1).all()
    black_stays = not wider[0, 1:].any() and not wider[1:, 0].any()
    return wider if bijective and black_stays else None
