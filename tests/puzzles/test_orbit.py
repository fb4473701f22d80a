from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrm_arc.puzzles import matching
from hrm_arc.puzzles.orbit import Orbit, Orbits
from hrm_arc.puzzles.symmetry import DIHEDRALS, IDENTITY, Symmetry
from hrm_arc.puzzles.task import Grid, make_grid
from tests.strategies import grids


def image(items: list[tuple[Grid, ...]], symmetry: Symmetry) -> frozenset[tuple[tuple[tuple[int, ...], bytes], ...]]:
    """The image of a puzzle as a set of items; two variants are equal if their sets are."""
    moved = [tuple(symmetry.apply(grid) for grid in item) for item in items]
    return frozenset(tuple((g.shape, np.ascontiguousarray(g).tobytes()) for g in item) for item in moved)


def every_image(items: list[tuple[Grid, ...]]) -> set[object]:
    """All images by brute force: every dihedral transform with every injection of the used colors."""
    used = sorted({int(v) for item in items for grid in item for v in np.unique(grid)} - {0})
    unused = [c for c in range(1, 10) if c not in used]
    images: set[object] = set()
    for targets in itertools.permutations(range(1, 10), len(used)):
        rest = [c for c in range(1, 10) if c not in targets]
        colors = [0] * 10
        for source, target in zip([*used, *unused], [*targets, *rest], strict=True):
            colors[source] = target
        images |= {image(items, Symmetry(d, tuple(colors))) for d in range(DIHEDRALS)}
    return images


def check_against_every_image(items: list[tuple[Grid, ...]]) -> None:
    orbit = Orbit(items)
    dihedrals, maps = Orbits([orbit]).symmetries(np.zeros(orbit.size, dtype=np.int64), np.arange(orbit.size))
    drawn = [image(items, Symmetry(int(d), tuple(m.tolist()))) for d, m in zip(dihedrals, maps, strict=True)]
    assert len(set(drawn)) == orbit.size, "no image comes twice"
    assert set(drawn) == every_image(items), "and none is missing"
    assert drawn[0] == image(items, IDENTITY), "rank 0 is the puzzle itself"


@settings(max_examples=30)
@given(st.lists(st.tuples(grids(3, 3), grids(3, 3)), min_size=1, max_size=3))
def test_an_orbit_is_exactly_the_distinct_images(items: list[tuple[Grid, ...]]) -> None:
    check_against_every_image(items)


ONE, TWO = make_grid([[1]]), make_grid([[2]])
SYMMETRIC = {
    "black": [(make_grid([[0]]), make_grid([[0]]))],
    "one color": [(ONE, ONE)],
    "two pairs that a color swap exchanges": [(ONE, ONE), (TWO, TWO)],
    "two pairs that a turn exchanges": [(make_grid([[1, 0]]),), (make_grid([[0, 1]]),)],
    "a turn with a swap": [(make_grid([[1, 2], [2, 1]]), make_grid([[1, 2]]))],
    "the same pair twice": [(ONE, TWO), (ONE, TWO)],
    "input without its output": [(make_grid([[1, 0], [0, 2]]),)],
}


@pytest.mark.parametrize("name", SYMMETRIC)
def test_symmetric_puzzles_have_fewer_images(name: str) -> None:
    check_against_every_image(SYMMETRIC[name])


def test_pairs_that_are_alike_are_not_tried_in_every_order() -> None:
    # A row with one color in place 0, 1, 2 or 3, and that many colors further on beside a black cell: thirty-six pairs
    # that differ in nothing but colors and places. What maps them to themselves moves every color by as many (nine
    # ways), and leaves them as they lie or turns a row of one cell's height upside down.
    items = [
        (
            make_grid([[0] * place + [1 + color] + [0] * (3 - place)]),
            make_grid([[1 + (color + place) % 9, 0]]),
        )
        for place in range(4)
        for color in range(9)
    ]
    assert Orbit(items).size == 8 * math.factorial(9) // (9 * 2)


def test_many_pairs_with_equal_counts_of_colors_are_not_compared_with_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = np.random.default_rng(0)
    items = [
        tuple(random.permutation(np.arange(1, 10, dtype=np.uint8)).reshape(3, 3) for _ in range(2)) for _ in range(60)
    ]
    compared = 0
    relation = matching._relation

    def counted(*pair: Any) -> int | None:
        nonlocal compared
        compared += 1
        return relation(*pair)

    monkeypatch.setattr(matching, "_relation", counted)
    orbit = Orbit(items)
    assert orbit.size == 8 * math.factorial(9)
    assert compared <= 9 * len(items)


def test_colors_that_are_all_alike_leave_one_image() -> None:
    # Eight pairs of one cell, one for each of eight colors: any permutation of the colors maps them to themselves.
    items = [(make_grid([[color]]), make_grid([[color, color]])) for color in range(1, 9)]
    orbit = Orbit(items)
    # All ordered pairs of nine colors: 9! permutations map them to themselves.
    rows = [make_grid([list(pair)]) for pair in itertools.permutations(range(1, 10), 2)]
    assert Orbit([(row, row) for row in rows]).size == 2
    # What tells images apart is the color that does not occur, and whether two cells lie beside or above each other.
    assert orbit.size == 2 * 9
    dihedrals, maps = Orbits([orbit]).symmetries(np.zeros(18, dtype=np.int64), np.arange(18))
    images = {image(items, Symmetry(int(d), tuple(m.tolist()))) for d, m in zip(dihedrals, maps, strict=True)}
    assert len(images) == 18


def test_counts_by_hand() -> None:
    assert Orbit(SYMMETRIC["black"]).size == 1
    assert Orbit(SYMMETRIC["one color"]).size == 9
    assert Orbit(SYMMETRIC["two pairs that a color swap exchanges"]).size == 36
    everything = make_grid([[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]])
    assert Orbit([(everything, everything)]).size == 8 * math.factorial(9)


def test_many_puzzles_at_once_are_the_same_as_one_by_one() -> None:
    orbits = [Orbit(items) for items in SYMMETRIC.values()]
    together = Orbits(orbits)
    puzzle = np.repeat(np.arange(len(orbits)), 40)
    rank = np.random.default_rng(0).integers(0, together.sizes[puzzle])
    dihedrals, maps = together.symmetries(puzzle, rank)
    for n, orbit in enumerate(orbits):
        here = puzzle == n
        alone = Orbits([orbit]).symmetries(np.zeros(40, dtype=np.int64), rank[here])
        assert np.array_equal(dihedrals[here], alone[0])
        assert np.array_equal(maps[here], alone[1])
