"""Finds leaks: tasks of one set that contain test outputs of another, perhaps under a symmetry.

ARC-AGI-2's training set contains 376 of the 400 evaluation tasks of ARC-AGI-1. A model that was
trained on the first cannot be evaluated on the second.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.matching import Item, canonical, distinct, fingerprint, mappings
from hrm_arc.puzzles.task import Pair, Task


@dataclass(frozen=True)
class Shared:
    """Two tasks with common pairs, up to a dihedral transform and a permutation of colors.

    Attributes:
        task: the id of the first task.
        other: the id of the second task.
        pairs: the number of pairs of ``other`` that are also in ``task``.
        answers: how many of these are test pairs of ``other``.
        whole: whether one symmetry maps all pairs of one task to all pairs of the other.
        unanswered: whether a test output of ``other`` is not known and every demonstration of
            ``other`` is in ``task``. Most likely it is the same task, and the output is published later.
    """

    task: str
    other: str
    pairs: int
    answers: int
    whole: bool
    unanswered: bool = False

    def __str__(self) -> str:
        if self.whole:
            return f"{self.task} is the same task as {self.other}"
        if self.unanswered:
            return f"{self.task} has every demonstration of {self.other}, and may have its unknown test outputs"
        of_tests = f", including {self.answers} of its test outputs" if self.answers else ""
        pairs = "1 pair" if self.pairs == 1 else f"{self.pairs} pairs"
        return f"{self.task} has {pairs} of {self.other}{of_tests}"


def shared(tasks: Sequence[Task], others: Sequence[Task]) -> list[Shared]:
    """Find pairs of tasks, one of each set, of which one contains an answer of the other.

    They are the same task, have the same demonstrations, or one contains a test pair of the other,
    perhaps one whose output the other does not have. Tasks are compared up to the order of their pairs,
    a dihedral transform and a permutation of colors.

    Args:
        tasks: the first set.
        others: the second set.
    """
    found = _common_pairs(tasks, others)
    rows = []
    for (t, o), numbers in sorted(found.items()):
        task, other = tasks[t], others[o]
        answers = sum(number >= len(other.demonstrations) for number in numbers)
        answered_here = any(number >= len(task.demonstrations) for number in _common_pairs([other], [task])[0, 0])
        whole = _same(_known(task), _known(other))
        incomplete = any(test.output is None for test in other.tests)
        unanswered = incomplete and set(numbers) >= set(range(len(other.demonstrations)))
        if whole or answers or answered_here or unanswered or _same(task.demonstrations, other.demonstrations):
            rows.append(Shared(task.id, other.id, len(numbers), answers, whole, unanswered))
    return rows


@lru_cache(maxsize=4)
def leaks(corpus: Corpus) -> tuple[Shared, ...]:
    """Find tasks in the training data that contain, or most likely contain, a held-out test output.

    Study tasks are compared with solve tasks under every symmetry. Solve tasks among each other, and
    boards of a game, are compared cell by cell: small puzzles of one kind are often equal under some
    symmetry by chance.
    """
    solve = [task for task in corpus.solve if not task.boards]
    study = [task for task in corpus.study if not task.boards]
    rows = [row for row in shared(study, solve) if row.answers or row.whole or row.unanswered]
    rows += _answers_seen(solve)
    return (*rows, *_boards_seen(corpus))


def _answers_seen(solve: Sequence[Task]) -> list[Shared]:
    """Solve tasks that have a test pair of another solve task as a demonstration."""
    shown: dict[bytes, set[str]] = defaultdict(set)
    for task in solve:
        for pair in task.demonstrations:
            shown[_cells(pair)].add(task.id)
    counts: Counter[tuple[str, str]] = Counter()
    for task in solve:
        for test in task.tests:
            if test.output is not None:
                counts.update((other, task.id) for other in shown[_cells(test)] - {task.id})
    return [Shared(task, other, count, count, False) for (task, other), count in sorted(counts.items())]


def _cells(pair: Pair) -> bytes:
    return repr([(grid.shape, grid.tobytes()) for grid in _item(pair)]).encode()


def _boards_seen(corpus: Corpus) -> Iterator[Shared]:
    """Games with boards to train on that are held-out boards of the same game or of another."""
    for game in (task for task in corpus.solve if task.boards):
        training = [(task.id, task.demonstrations) for task in corpus.solve if task.boards]
        training += [(task.id, task.demonstrations + task.tests) for task in corpus.study if task.boards]
        for name, pairs in training:
            seen = {(pair.input.shape, pair.input.tobytes()) for pair in pairs}
            count = sum((test.input.shape, test.input.tobytes()) in seen for test in game.tests)
            if count:
                yield Shared(name, game.id, count, count, False)


def _known(task: Task) -> tuple[Pair, ...]:
    return tuple(pair for pair in task.demonstrations + task.tests if pair.output is not None)


def _same(one: Sequence[Pair], other: Sequence[Pair]) -> bool:
    return _alike(distinct([_item(pair) for pair in one]), distinct([_item(pair) for pair in other]))


def _alike(items: Sequence[Item], others: Sequence[Item]) -> bool:
    return any(any(True for _ in found) for _, found in mappings(items, others, black_stays=False))


def _common_pairs(tasks: Sequence[Task], others: Sequence[Task]) -> dict[tuple[int, int], list[int]]:
    """For each two tasks with common pairs, by their indices: the indices of the pairs in the second task."""
    pairs = [(t, _item(pair)) for t, task in enumerate(tasks) for pair in _known(task)]
    asked = [
        (o, number, _item(pair))
        for o, other in enumerate(others)
        for number, pair in enumerate(other.demonstrations + other.tests)
        if pair.output is not None
    ]
    # The exact key takes longer, and few fingerprints occur on both sides.
    prints = [[fingerprint(item) for *_, item in side] for side in (pairs, asked)]
    both = set(prints[0]) & set(prints[1])
    known: dict[bytes, set[int]] = defaultdict(set)
    for (t, item), own in zip(pairs, prints[0], strict=True):
        if own in both:
            known[canonical(item)].add(t)
    found: dict[tuple[int, int], list[int]] = defaultdict(list)
    for (o, number, item), own in zip(asked, prints[1], strict=True):
        for t in known.get(canonical(item), ()) if own in both else ():
            found[t, o].append(number)
    return found


def _item(pair: Pair) -> Item:
    assert pair.output is not None
    return (pair.input, pair.output)
