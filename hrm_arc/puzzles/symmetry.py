"""The symmetries of a puzzle: eight dihedral transforms times permutations of colors 1-9.

Color 0 (black) is never changed. A dihedral transform is a number 0-7: 4-7 transpose the grid
first; then the grid is rotated counterclockwise by ``number % 4`` quarter turns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hrm_arc.puzzles.task import COLORS, Grid

DIHEDRALS = 8


def turn(grid: Grid, dihedral: int) -> Grid:
    """Apply a dihedral transform 0-7 to a grid ``[height, width]``; the result is a view of it."""
    quarters = dihedral % 4
    if (dihedral >= 4) != (quarters % 2 == 1):
        grid = grid.T
    # Equal to np.rot90(grid, quarters), at a tenth of the cost.
    return grid[:: -1 if quarters in (1, 2) else 1, :: -1 if quarters in (2, 3) else 1]


def swaps_sides(dihedral: int) -> bool:
    """Whether the dihedral transform exchanges height and width."""
    return (dihedral >= 4) != (dihedral % 2 == 1)


_PROBE = np.arange(4).reshape(2, 2)


def _find(image: Grid) -> int:
    return next(d for d in range(DIHEDRALS) if np.array_equal(turn(_PROBE, d), image))


# COMPOSED[a, b] is the transform that applies b first, then a; INVERSE[a] is the transform that undoes a.
COMPOSED = np.array([[_find(turn(turn(_PROBE, b), a)) for b in range(DIHEDRALS)] for a in range(DIHEDRALS)])
INVERSE = np.array([int(np.flatnonzero(row == 0)[0]) for row in COMPOSED])


@dataclass(frozen=True)
class Symmetry:
    """A symmetry of a puzzle: a dihedral transform and a permutation of the colors 1-9.

    ``a @ b`` is the symmetry that applies ``b`` first, then ``a``.

    Attributes:
        dihedral: the dihedral transform, 0-7; 0 is the identity.
        colors: the new color of each color 0-9; ``colors[0]`` is 0.

    Raises:
        ValueError: the transform is not 0-7, or the colors are not a permutation of 1-9.
    """

    dihedral: int = 0
    colors: tuple[int, ...] = tuple(range(COLORS))

    def __post_init__(self) -> None:
        if not 0 <= self.dihedral < DIHEDRALS:
            raise ValueError(f"dihedral {self.dihedral}, expected 0 to 7")
        if sorted(self.colors) != list(range(COLORS)) or self.colors[0] != 0:
            raise ValueError(f"colors {self.colors}, expected 0 and then a permutation of 1-9")

    def apply(self, grid: Grid) -> Grid:
        """The image of a grid ``[height, width]`` under the symmetry; a new array."""
        return np.array(self.colors, dtype=np.uint8)[turn(grid, self.dihedral)]

    def inverse(self) -> Symmetry:
        """The symmetry that undoes this one."""
        return Symmetry(int(INVERSE[self.dihedral]), tuple(np.argsort(self.colors).tolist()))

    def __matmul__(self, first: Symmetry) -> Symmetry:
        """The symmetry that applies ``first``, then this one."""
        colors = tuple(self.colors[color] for color in first.colors)
        return Symmetry(int(COMPOSED[self.dihedral, first.dihedral]), colors)


IDENTITY = Symmetry()
