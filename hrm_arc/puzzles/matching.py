"""Finds the symmetries that map one puzzle to another, with the pairs of each in any order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence

import numpy as np

from hrm_arc.puzzles.symmetry import DIHEDRALS, turn
from hrm_arc.puzzles.task import COLORS, Grid

# Grids that are transformed together, such as an input and its output.
Item = tuple[Grid, ...]


def mappings(items: Sequence[Item], onto: Sequence[Item], *, black_stays: bool) -> Iterator[tuple[int, np.ndarray]]:
    """Every symmetry that maps the items of one puzzle to the items of another, in any order.

    Args:
        items: the first puzzle, without repeated items.
        onto: the second puzzle, without repeated items.
        black_stays: whether color 0 has to stay 0, as in the symmetries that make variants.

    Yields:
        A dihedral transform, and a relation ``[10, 10]`` (bool): ``relation[a, b]`` is True if
        color a occurs and becomes b.
    """
    prints = [fingerprint(item) for item in items]
    # The items of ``onto`` that each item can become under any symmetry; there are few of them.
    targets = prints if items is onto else [fingerprint(item) for item in onto]
    if Counter(prints) != Counter(targets):
        return
    alike = [[n for n, target in enumerate(targets) if target == own] for own in prints]
    start = np.zeros((COLORS, COLORS), dtype=bool)
    start[0, 0] = black_stays
    for dihedral in range(DIHEDRALS):
        for relation in _match(items, onto, alike, dihedral, start):
            yield dihedral, relation


def fingerprint(item: Item) -> Hashable:
    """The invariants of an item under all symmetries: the sides of its grids and the sorted color counts."""
    return tuple(
        (min(grid.shape), max(grid.shape), *sorted(np.bincount(grid.reshape(-1), minlength=COLORS).tolist()))
        for grid in item
    )


def distinct(items: Sequence[Item]) -> list[Item]:
    """The items without repetitions."""
    return list({tuple((g.shape, g.tobytes()) for g in item): item for item in items}.values())


def _match(
    items: Sequence[Item], onto: Sequence[Item], alike: list[list[int]], dihedral: int, start: np.ndarray
) -> Iterator[np.ndarray]:
    """Color relations that extend ``start`` and map each item to a different item of ``onto``.

    Args:
        items, onto: as for :func:`mappings`.
        alike: for each item, the indices in ``onto`` of the items with the same fingerprint.
        dihedral: the dihedral transform of the items.
        start: the relation ``[10, 10]`` to begin with.
    """
    # Depth-first search. An entry: the targets of the first items, and the color relation that follows from them.
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
    """``relation`` extended so that ``item`` becomes ``target``, or None if colors would not map one to one."""
    if any(a.shape != b.shape for a, b in zip(item, target, strict=True)):
        return None
    wider = relation.copy()
    for a, b in zip(item, target, strict=True):
        wider[a.reshape(-1), b.reshape(-1)] = True
    return wider if wider.sum(axis=0).max() <= 1 and wider.sum(axis=1).max() <= 1 else None
