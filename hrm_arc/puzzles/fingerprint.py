"""Fingerprints of tasks: a run knows its tasks by their grids, not by their names alone."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from hrm_arc.puzzles.task import Grid, Pair, Task

# A game may have millions of boards; beyond this number their digests are combined.
MOST_PAIRS = 20_000


def task_fingerprint(task: Task) -> dict[str, Any]:
    """What identifies a task's grids.

    Returns:
        ``pairs``: of each demonstration; ``tests``: of each test input; ``answers``: of each test output, None where
        it is not known: 16 hexadecimal digits each, or one for all of more than 20,000.
    """
    return {
        "pairs": _combined([pair_fingerprint(pair) for pair in task.demonstrations]),
        "tests": _combined([_digest(test.input) for test in task.tests]),
        "answers": _combined([None if test.output is None else _digest(test.output) for test in task.tests]),
    }


def pair_fingerprint(pair: Pair) -> str:
    """16 hexadecimal digits of an input with its output."""
    return _digest(pair.input) if pair.output is None else _digest(pair.input, pair.output)


@dataclass(frozen=True)
class GivenAnswers:
    """The outputs that a training was given, by digests, so that an answer is recognized under any name.

    Grids are compared cell by cell: a digest cannot be turned or recolored. Tasks of more than 20,000 pairs are
    known by their names only.

    Attributes:
        names: IDs of the tasks whose test outputs were given.
        pairs: digests of the demonstrations.
        tests: digests of test inputs whose outputs were given, each with the digest of the output.
    """

    names: frozenset[str] = frozenset()
    pairs: frozenset[str] = frozenset()
    tests: frozenset[tuple[str, str]] = frozenset()

    @classmethod
    def of(cls, fingerprints: Mapping[str, Any], names: Collection[str]) -> GivenAnswers:
        """What a training on tasks with these fingerprints was given.

        Args:
            fingerprints: of all its tasks; see :func:`task_fingerprint`.
            names: those of which it was also given the test outputs.
        """
        pairs = {each for known in fingerprints.values() for each in _digests(known, "pairs") if each is not None}
        answers = [
            zip(_digests(fingerprints.get(name), "tests"), _digests(fingerprints.get(name), "answers"), strict=False)
            for name in names
        ]
        return cls(
            frozenset(names),
            frozenset(pairs),
            frozenset((test, out) for tests in answers for test, out in tests if test is not None and out is not None),
        )

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> GivenAnswers:
        """The inverse of :meth:`as_json`."""
        tests = frozenset((test, answer) for test, answer in data.get("tests", ()))
        return cls(frozenset(data.get("names", ())), frozenset(data.get("pairs", ())), tests)

    def as_json(self) -> dict[str, Any]:
        """The digests as plain data."""
        return {"names": sorted(self.names), "pairs": sorted(self.pairs), "tests": sorted(map(list, self.tests))}

    def __or__(self, other: GivenAnswers) -> GivenAnswers:
        return GivenAnswers(self.names | other.names, self.pairs | other.pairs, self.tests | other.tests)

    def include(self, task: Task) -> bool:
        """Whether a test output of a task was given; one that is not known here counts if its input was."""
        return task.id in self.names or any(map(self._include_test, task.tests))

    def _include_test(self, test: Pair) -> bool:
        if test.output is None:
            return _digest(test.input) in {given for given, _ in self.tests}
        return (_digest(test.input), _digest(test.output)) in self.tests or pair_fingerprint(test) in self.pairs


def task_changes(task: Task, known: Mapping[str, Any] | None) -> list[str]:
    """How a task differs from the one with its name that a model was trained on, in words; nothing if it does not.

    Args:
        task: the task now.
        known: its fingerprint at training time; None if it was not in training.
    """
    if not isinstance(known, Mapping):
        return []
    now = task_fingerprint(task)
    learned = known.get("pairs")
    said = []
    if now["pairs"] != learned:
        said.append("its demonstrations have changed")
    if now["tests"] != known.get("tests"):
        said.append("its test inputs have changed")
    elif now["answers"] != known.get("answers") and not _only_hidden(now["answers"], known.get("answers")):
        said.append("its answers have changed")
    if isinstance(learned, list):
        shown = set(learned)
        for number, test in enumerate(task.tests, start=1):
            if test.output is not None and pair_fingerprint(test) in shown:
                said.append(f"its test {number} is a demonstration that was trained on")
    return said


def test_digests(known: Any) -> list[str]:
    """The digests of the test inputs in a task's fingerprint; of a game with very many boards, the one of all of them.

    Args:
        known: the fingerprint, from anywhere; None has none.
    """
    tests = known.get("tests") if isinstance(known, Mapping) else None
    return [each for each in (tests if isinstance(tests, list) else [tests]) if isinstance(each, str)]


def _only_hidden(now: Any, known: Any) -> bool:
    """Whether answers differ only in that some are known on one side."""
    if not isinstance(now, list) or not isinstance(known, list) or len(now) != len(known):
        return False
    return all(a is None or b is None or a == b for a, b in zip(now, known, strict=True))


def _digests(known: Any, part: str) -> list[str | None]:
    """The digests of a part of a task's fingerprint; none where they were combined."""
    values = known.get(part) if isinstance(known, Mapping) else None
    return values if isinstance(values, list) else []


def _combined(digests: list[str | None]) -> Any:
    if len(digests) <= MOST_PAIRS:
        return digests
    return hashlib.sha256(repr(digests).encode()).hexdigest()[:16]


def _digest(*grids: Grid) -> str:
    digest = hashlib.sha256()
    for grid in grids:
        digest.update(repr(grid.shape).encode() + grid.tobytes())
    return digest.hexdigest()[:16]
