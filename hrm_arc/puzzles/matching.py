"""Finds the symmetries that map one puzzle to another, with the pairs of each in any order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from hrm_arc.puzzles.symmetry import DIHEDRALS, turn
from hrm_arc.puzzles.task import COLORS, Grid

# From so many items on, exact keys save more time than they take.
MANY = 16
# Grids that are transformed together, such as an input and its output.
Item = tuple[Grid, ...]


def mappings(
    items: Sequence[Item], onto: Sequence[Item], *, black_stays: bool
) -> Iterator[tuple[int, Iterator[np.ndarray]]]:
    """The symmetries that map the items of one puzzle to the items of another, in any order.

    Args:
        items: the first puzzle, without repeated items.
        onto: the second puzzle, without repeated items.
        black_stays: whether color 0 has to stay 0, as in the symmetries that make variants.

    Yields:
        Each dihedral transform with its color relations ``[10, 10]`` (bool), which are found when they are asked
        for: ``relation[a, b]`` is True if color a occurs and becomes b.
    """
    if len(items) != len(onto):
        return
    prints = _keys(items)
    targets = prints if items is onto else _keys(onto)
    if Counter(prints) != Counter(targets):
        return
    alike = _alike(prints, targets)
    start = int(black_stays)
    for dihedral in range(DIHEDRALS):
        yield dihedral, map(_as_matrix, _search(_options(items, onto, alike, dihedral, start), start))


def color_group(items: Sequence[Item]) -> tuple[int, list[np.ndarray]]:
    """The permutations of colors that map a puzzle to itself, with its items in any order, and black to black.

    There can be 9! of them, so they are not listed. One color after the other is fixed, and permutations are found that
    take it to every color that it can become: these generate the group, and its order is the product of the numbers of
    these colors (a stabilizer chain; C. Sims, Computational methods in the study of permutation groups, 1970).

    Args:
        items: the puzzle, without repeated items.

    Returns:
        the number of permutations of the colors that occur, and generators: the new color of each color, ``[10]``.
    """
    prints = _keys(items)
    alike = _alike(prints, prints)
    used = sorted({color for item in items for grid in item for color in np.unique(grid).tolist()} - {0})
    fixed, order, generators = 1, 1, list[np.ndarray]()
    options = _options(items, items, alike, 0, fixed)
    for place, color in enumerate(used):
        orbit, here = {color}, list[np.ndarray]()
        for target in used[place + 1 :]:
            if target in orbit:
                continue
            start = fixed | 1 << COLORS * color + target
            relation = next(_search(_suiting(options, start), start), None)
            if relation is not None:
                matrix = _as_matrix(relation)
                here.append(np.where(matrix.any(axis=1), matrix.argmax(axis=1), np.arange(COLORS)))
                orbit = _reached(orbit, here)
        order *= len(orbit)
        generators += here
        fixed |= 1 << COLORS * color + color
        options = _suiting(options, fixed)
    return order, generators


def _reached(colors: set[int], maps: Sequence[np.ndarray]) -> set[int]:
    """The colors that some colors become under any sequence of maps."""
    while more := {int(each[color]) for each in maps for color in colors} - colors:
        colors = colors | more
    return colors


def canonical(item: Item) -> bytes:
    """Bytes that two items share exactly if they are the same under a dihedral transform and a permutation of all ten
    colors.
    """
    found = []
    for dihedral in range(DIHEDRALS):
        turned = [turn(grid, dihedral) for grid in item]
        cells = np.concatenate([grid.reshape(-1) for grid in turned])
        _, first, numbers = np.unique(cells, return_index=True, return_inverse=True)
        # Colors are numbered in the order in which they come.
        numbers = np.argsort(np.argsort(first))[numbers].astype(np.uint8)
        found.append(repr([grid.shape for grid in turned]).encode() + numbers.tobytes())
    return min(found)


def fingerprint(item: Item) -> Hashable:
    """The invariants of an item under all symmetries: the sides of its grids and the sorted color counts."""
    return tuple(
        (min(grid.shape), max(grid.shape), *sorted(np.bincount(grid.reshape(-1), minlength=COLORS).tolist()))
        for grid in item
    )


def _keys(items: Sequence[Item]) -> list[Hashable]:
    """A key of each item: items that a symmetry maps to each other have the same.

    The comparisons that follow grow with the square of the items of one key, so for many items it is the exact one.
    """
    return [canonical(item) if len(items) >= MANY else fingerprint(item) for item in items]


def _alike(keys: Sequence[Hashable], targets: Sequence[Hashable]) -> list[list[int]]:
    """For each key the places of the targets that equal it."""
    places: dict[Hashable, list[int]] = {}
    for place, target in enumerate(targets):
        places.setdefault(target, []).append(place)
    return [places.get(key, []) for key in keys]


def distinct(items: Sequence[Item]) -> list[Item]:
    """The items without repetitions."""
    return list({tuple((g.shape, g.tobytes()) for g in item): item for item in items}.values())


# A relation of colors is an integer: bit 10a + b is set if color a becomes b.
_FROM = [sum(1 << COLORS * a + b for b in range(COLORS)) for a in range(COLORS)]
_TO = [sum(1 << COLORS * a + b for a in range(COLORS)) for b in range(COLORS)]


class Option(NamedTuple):
    """One item of the second puzzle that an item of the first can become.

    Attributes:
        target: its index.
        relation: of the colors, as bits.
        forbidden: pairs of colors that contradict this relation, as bits.
    """

    target: int
    relation: int
    forbidden: int

    def suits(self, forbidden: int) -> bool:
        """Whether its colors map one to one, and agree with the relation that forbids these bits."""
        return not self.relation & (self.forbidden | forbidden)


def _options(
    items: Sequence[Item], onto: Sequence[Item], alike: list[list[int]], dihedral: int, start: int
) -> list[list[Option]]:
    """What each item can become under a dihedral transform; after one that can become nothing, the rest is left out.

    Args:
        items, onto: as for :func:`mappings`.
        alike: for each item, the indices in ``onto`` of the items with the same key.
        dihedral: the dihedral transform of the items.
        start: the relation to begin with, as bits.
    """
    found: list[list[Option]] = []
    for item, possible in zip(items, alike, strict=True):
        turned = [turn(grid, dihedral) for grid in item]
        related = [(n, _relation(turned, onto[n])) for n in possible]
        options = [Option(n, bits, _forbidden(bits)) for n, bits in related if bits is not None]
        found += _suiting([options], start)
        if not found[-1]:
            break
    return found


def _suiting(options: list[list[Option]], start: int) -> list[list[Option]]:
    """The options that agree with a relation, given as bits."""
    forbidden = _forbidden(start)
    return [[option for option in own if option.suits(forbidden)] for own in options]


def _search(options: list[list[Option]], start: int) -> Iterator[int]:
    """The relations, as bits, that extend ``start`` and take each item to another target.

    A depth-first search that goes on with the item that has the fewest targets left: a color that is settled leaves
    few targets to the items in which it occurs, and all items with one target are settled together. In the order of the
    items, those that differ in little more than their colors would be tried in every order.
    """
    # An entry: the targets that are left to each remaining item, and the relation so far.
    waiting = [(options, start)]
    while waiting:
        left, relation = waiting.pop()
        if not all(left):
            continue
        settled = [own[0] for own in left if len(own) == 1]
        targets = {option.target for option in settled}
        for option in settled:
            relation |= option.relation
        forbidden = _forbidden(relation)
        if relation & forbidden or len(targets) < len(settled):
            continue
        if settled:
            others = [own for own in left if len(own) > 1]
            left = [[o for o in own if o.target not in targets and o.suits(forbidden)] for own in others]
            waiting.append((left, relation))
        elif left:
            # The others' options are compared with the choice when it has become the only one.
            least = min(range(len(left)), key=lambda n: len(left[n]))
            waiting += [([*left[:least], [each], *left[least + 1 :]], relation) for each in reversed(left[least])]
        else:
            yield relation


def _relation(item: Sequence[Grid], target: Item) -> int | None:
    """The relation of the colors of two items that lie on each other; None: their shapes differ."""
    if any(a.shape != b.shape for a, b in zip(item, target, strict=True)):
        return None
    found = np.zeros((COLORS, COLORS), dtype=bool)
    for a, b in zip(item, target, strict=True):
        found[a.reshape(-1), b.reshape(-1)] = True
    return sum(1 << bit for bit in np.flatnonzero(found).tolist())


@lru_cache(maxsize=4096)
def _forbidden(relation: int) -> int:
    """What contradicts a relation, as bits: the same color becoming another, another becoming the same."""
    rest, found = relation, 0
    while rest:
        lowest = rest & -rest
        a, b = divmod(lowest.bit_length() - 1, COLORS)
        found |= (_FROM[a] | _TO[b]) & ~lowest
        rest ^= lowest
    return found


def _as_matrix(relation: int) -> np.ndarray:
    """A relation ``[10, 10]`` (bool) of its bits."""
    return np.array([relation >> bit & 1 for bit in range(COLORS * COLORS)], dtype=bool).reshape(COLORS, COLORS)
