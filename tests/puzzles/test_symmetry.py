from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from hrm_arc.puzzles.symmetry import COMPOSED, DIHEDRALS, IDENTITY, INVERSE, Symmetry, swaps_sides, turn
from hrm_arc.puzzles.task import Grid
from tests.strategies import grids, symmetries


@given(symmetries, symmetries, symmetries)
def test_symmetries_form_a_group(a: Symmetry, b: Symmetry, c: Symmetry) -> None:
    assert (a @ b) @ c == a @ (b @ c)
    assert a @ IDENTITY == IDENTITY @ a == a
    assert a @ a.inverse() == a.inverse() @ a == IDENTITY


@given(symmetries, symmetries, grids())
def test_composition_acts_right_to_left(a: Symmetry, b: Symmetry, grid: Grid) -> None:
    assert np.array_equal((a @ b).apply(grid), a.apply(b.apply(grid)))


@given(symmetries, grids())
def test_apply_then_invert_is_the_identity(symmetry: Symmetry, grid: Grid) -> None:
    assert np.array_equal(symmetry.inverse().apply(symmetry.apply(grid)), grid)


@given(symmetries, grids())
def test_swaps_sides_agrees_with_the_transform(symmetry: Symmetry, grid: Grid) -> None:
    shape = symmetry.apply(grid).shape
    assert shape == (grid.shape[::-1] if swaps_sides(symmetry.dihedral) else grid.shape)


def test_the_eight_transforms_are_distinct_and_their_tables_latin_squares() -> None:
    probe = np.arange(6).reshape(2, 3)
    assert len({turn(probe, d).tobytes() + bytes(turn(probe, d).shape) for d in range(DIHEDRALS)}) == 8
    assert all(sorted(row) == list(range(8)) for row in COMPOSED.tolist() + COMPOSED.T.tolist())
    assert all(COMPOSED[d, INVERSE[d]] == 0 for d in range(DIHEDRALS))


@pytest.mark.parametrize("bad", [{"dihedral": 8}, {"colors": (1, 0, *range(2, 10))}, {"colors": (0,) * 10}])
def test_values_that_are_not_a_symmetry_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"dihedral 8|expected 0 and then a permutation"):
        Symmetry(**bad)  # type: ignore[arg-type]
