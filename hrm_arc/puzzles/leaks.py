"""Answers that one set of tasks gives away about another: the same puzzle, perhaps in disguise.

ARC-AGI-2's training set holds 376 of the 400 tasks that ARC-AGI-1 is evaluated on; a score of
a model that was trained on the one says nothing on the other.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.matching import Item, distinct, fingerprint, mappings
from hrm_arc.puzzles.task import Pair, Task


@dataclass(frozen=True)
class Shared:
    """Two tasks with pairs in common, up to a dihedral transform and a permutation of colours.

    Attributes:
        task, other: their names.
        pairs: how many pairs of ``other`` are among those of ``task``.
        answers: how many of them are answers to its tests.
        whole: whether one symmetry makes all of one task's pairs all of the other's.
        unanswered: whether a test of ``other`` has no known answer, while every demonstration of
            it is among those pairs: most likely the same task, whose answers lie elsewhere for now.
    """

    task: str
    other: str
    pairs: int
    answers: int
    whole: bool
    unanswered: bool = False

    def __str__(self) -> str:
        if self.whole:
            return f"{self.task} is {self.other}"
        if self.unanswered:
            return f"{self.task} has every demonstration of {self.other}, and may have its unknown answers"
        of_tests = f", {self.answers} of its test answers among them" if self.answers else ""
        return f"{self.task} has {self.pairs} pairs of {self.other}{of_tests}"


def shared(tasks: Sequence[Task], others: Sequence[Task]) -> list[Shared]:
    """Pairs of tasks, one of each side, that tell each other's answers.

    They are the same puzzle, show the same demonstrations, or one has an answer to the other's
    test, perhaps one that is not known to the other. The order of pairs, a turn or reflection and
    the colours' names make no difference.
    """
    found = _common_pairs(tasks, others)
    rows = []
    for (t, o), numbers in sorted(found.items()):
        task, other = tasks[t], others[o]
        answers = sum(number >= len(other.demonstrations) for number in numbers)
        answered_here = any(number >= len(task.demonstrations) for number in _common_pairs([other], [task])[0, 0])
        whole = _same(_known(task), _known(other))
        asks = any(test.output is None for test in other.tests)
        unanswered = asks and set(numbers) >= set(range(len(other.demonstrations)))
        if whole or answers or answered_here or unanswered or _same(task.demonstrations, other.demonstrations):
            rows.append(Shared(task.id, other.id, len(numbers), answers, whole, unanswered))
    return rows


@lru_cache(maxsize=4)
def leaks(corpus: Corpus) -> tuple[Shared, ...]:
    """Tasks that are learned from and hold an answer that is to be found, or most likely do.

    Tasks that are given away are looked at in every disguise. Among tasks to be solved, and
    boards of a game, only a pair that is the same cell by cell counts: small puzzles of one
    kind are alike in some disguise or other.
    """
    asked = [task for task in corpus.solve if not task.boards]
    given = [task for task in corpus.study if not task.boards]
    rows = [row for row in shared(given, asked) if row.answers or row.whole or row.unanswered]
    rows += _answers_seen(asked)
    return (*rows, *_boards_seen(corpus))


def _answers_seen(asked: Sequence[Task]) -> list[Shared]:
    """Test pairs of tasks that are demonstrations of others."""
    shown: dict[bytes, set[str]] = defaultdict(set)
    for task in asked:
        for pair in task.demonstrations:
            shown[_cells(pair)].add(task.id)
    counts: Counter[tuple[str, str]] = Counter()
    for task in asked:
        for test in task.tests:
            if test.output is not None:
                counts.update((other, task.id) for other in shown[_cells(test)] - {task.id})
    return [Shared(task, other, count, count, False) for (task, other), count in sorted(counts.items())]


def _cells(pair: Pair) -> bytes:
    return repr([(grid.shape, grid.tobytes()) for grid in _item(pair)]).encode()


def _boards_seen(corpus: Corpus) -> Iterator[Shared]:
    """Boards to be solved that are learned from, in their own game or in one that is given away."""
    for game in (task for task in corpus.solve if task.boards):
        learned = [(task.id, task.demonstrations) for task in corpus.solve if task.boards]
        learned += [(task.id, task.demonstrations + task.tests) for task in corpus.study if task.boards]
        for name, pairs in learned:
            seen = {(pair.input.shape, pair.input.tobytes()) for pair in pairs}
            count = sum((test.input.shape, test.input.tobytes()) in seen for test in game.tests)
            if count:
                yield Shared(name, game.id, count, count, False)


def _known(task: Task) -> tuple[Pair, ...]:
    return tuple(pair for pair in task.demonstrations + task.tests if pair.output is not None)


def _same(one: Sequence[Pair], other: Sequence[Pair]) -> bool:
    return _alike(distinct([_item(pair) for pair in one]), distinct([_item(pair) for pair in other]))


def _alike(items: Sequence[Item], others: Sequence[Item]) -> bool:
    return any(True for _ in mappings(items, others, black_stays=False))


def _common_pairs(tasks: Sequence[Task], others: Sequence[Task]) -> dict[tuple[int, int], list[int]]:
    """For each two tasks with a pair in common: which pairs of the other, by number."""
    by_print: dict[Hashable, list[tuple[int, Item]]] = defaultdict(list)
    for t, task in enumerate(tasks):
        for pair in _known(task):
            by_print[fingerprint(_item(pair))].append((t, _item(pair)))
    found: dict[tuple[int, int], list[int]] = defaultdict(list)
    for o, other in enumerate(others):
        for number, pair in enumerate(other.demonstrations + other.tests):
            if pair.output is None:
                continue
            item = _item(pair)
            for t in {t for t, known in by_print[fingerprint(item)] if _alike([known], [item])}:
                found[t, o].append(number)
    return found


def _item(pair: Pair) -> Item:
    assert pair.output is not None
    return (pair.input, pair.output)
