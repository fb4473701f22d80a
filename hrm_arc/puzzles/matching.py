"""Whether one puzzle is another in disguise: turned, recoloured, its pairs in another order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence

import numpy as np

from hrm_arc.puzzles.symmetry import DIHEDRALS, turn
from hrm_arc.puzzles.task import COLOURS, Grid

# Grids that belong together, such as an input with its output.
Item = tuple[Grid, ...]


def mappings(items: Sequence[Item], onto: Sequence[Item], *, black_stays: bool) -> Iterator[tuple[int, np.ndarray]]:
    """Every symmetry that turns ``items`` into ``onto``, in some order.

    Args:
        items, onto: two puzzles, each without an item that comes twice.
        black_stays: colour 0 has to remain 0, as in the symmetries that variants are made by.

    Yields:
        a dihedral transform, and a relation ``[10, 10]`` (bool) that says what each colour
        that occurs becomes.
    """
    prints = [fingerprint(item) for item in items]
    # Which of ``onto`` each item may become: few, whatever the symmetry.
    targets = prints if items is onto else [fingerprint(item) for item in onto]
    if Counter(prints) != Counter(targets):
        return
    alike = [[n for n, target in enumerate(targets) if target == own] for own in prints]
    start = np.zeros((COLOURS, COLOURS), dtype=bool)
    start[0, 0] = black_stays
    for dihedral in range(DIHEDRALS):
        for relation in _match(items, onto, alike, dihedral, start):
            yield dihedral, relation


def fingerprint(item: Item) -> Hashable:
    """What no symmetry changes about an item: the sides of its grids and how often colours occur."""
    return tuple(
        (min(grid.shape), max(grid.shape), *sorted(np.bincount(grid.reshape(-1), minlength=COLOURS).tolist()))
        for grid in item
    )


def distinct(items: Sequence[Item]) -> list[Item]:
    """The items without those that come a second time."""
    return list({tuple((g.shape, g.tobytes()) for g in item): item for item in items}.values())


def _match(
    items: Sequence[Item], onto: Sequence[Item], alike: list[list[int]], dihedral: int, start: np.ndarray
) -> Iterator[np.ndarray]:
    """Relations that extend ``start`` and turn each item into a different one of those ``alike``."""
    # Each entry: which of ``onto`` the first items became, and what that asks of the colours.
    waiting: list[tuple[tuple[int, ...], np.ndarray]] = [((), start)]
    while waiting:
        taken, relation = waiting.pop()
        if len(taken) == len(items):
            yield relation
            continue
        item = [turn(grid, dihedral) for grid in items[len(taken)]]
        for target in reversed(alike[len(taken)]):
            if target not in taken:
                wider = _relate(item, onto[target], relation)
                if wider is not None:
                    waiting.append(((*taken, target), wider))


def _relate(item: Sequence[Grid], target: Item, relation: np.ndarray) -> np.ndarray | None:
    """``relation`` with what turning item into target adds, or None if it is no bijection."""
    if any(a.shape != b.shape for a, b in zip(item, target, strict=True)):
        return None
    wider = relation.copy()
    for a, b in zip(item, target, strict=True):
        wider[a.reshape(-1), b.reshape(-1)] = True
    return wider if wider.sum(axis=0).max() <= 1 and wider.sum(axis=1).max() <= 1 else None
