"""A model's answers to a test input: candidates ranked by votes, and the row of predictions.jsonl that holds them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hrm_arc.checks import number, text, whole
from hrm_arc.puzzles.canvas import FULL, VOCABULARY
from hrm_arc.puzzles.html import table_html
from hrm_arc.puzzles.task import ATTEMPTS, Grid, Task, make_grid

# The most segments that a model can have; a prediction with more was not made here.
MOST_SEGMENTS = 65_536
# The most votes: there are not many more variants that differ.
MOST_VOTES = 1_000_000
# Votes where neither a recipe nor a flag says how many.
DEFAULT_VOTES = 64
# A test input: its task's ID, and which of the task's it is, from 0.
Key = tuple[str, int]


@dataclass(frozen=True)
class Candidate:
    """An answer with at least one vote.

    Attributes:
        grid: the answer, turned back into the orientation and colors of the task.
        votes: the number of variants with this answer.
        confidence: mean halting probability of those variants.
    """

    grid: Grid
    votes: int
    confidence: float


@dataclass(frozen=True, repr=False)
class Prediction:
    """A model's answers to one test input.

    Attributes:
        task: ID of the task.
        test: number of the test input in its task, from 0.
        candidates: all answers with a vote, best first: by votes, then by mean confidence.
        single: the grid of the single pass over the test input as it is, without votes; None if its tokens are
            not a readable grid.
        tokens: tokens of the single pass on the full canvas, ``[900]``, uint8.
        segments: mean number of segments over all passes; 0 if it is not known.
        refinement: the grid of the single pass after each segment, without early exit; empty if it was not
            requested.
        limit: the most candidates that there can be: the number of variants that voted, or the two attempts of a
            submission. What more attempts would have solved is not known. None: no limit.
    """

    task: str
    test: int
    candidates: tuple[Candidate, ...]
    single: Grid | None
    tokens: np.ndarray
    segments: float
    refinement: tuple[Grid | None, ...] = ()
    limit: int | None = None

    @property
    def key(self) -> Key:
        """The test input that it answers."""
        return self.task, self.test

    def __repr__(self) -> str:
        best = "no readable grid"
        if self.candidates:
            height, width = self.candidates[0].grid.shape
            cast = sum(candidate.votes for candidate in self.candidates)
            best = f"best {height} x {width} with {self.candidates[0].votes} of {cast} votes"
        return f"Prediction({self.task}, test {self.test}, {len(self.candidates)} candidates, {best})"

    def _repr_html_(self) -> str:
        """The attempts in a notebook, each with its share of the votes."""
        shown: list[tuple[str, Grid | None]] = [
            (f"attempt {n}: {share:.0%} of the votes", grid) for n, (grid, share) in enumerate(self.shares(), start=1)
        ]
        return table_html(f"{self.task}, test {self.test + 1}", [("", shown or [("no readable grid", None)])])

    def attempts(self, count: int = ATTEMPTS) -> list[Grid]:
        """The grids of the best ``count`` candidates; fewer if there are fewer."""
        return [grid for grid, _ in self.shares(count)]

    def shares(self, count: int = ATTEMPTS) -> list[tuple[Grid, float]]:
        """The attempts, each with its share of all votes."""
        cast = sum(candidate.votes for candidate in self.candidates)
        return [(candidate.grid, candidate.votes / cast) for candidate in self.candidates[:count]]

    def as_row(self) -> dict[str, Any]:
        """The prediction as one JSON object.

        Tokens are 900 hexadecimal digits. The refinement is a list of [grid, number of consecutive segments
        with this grid].
        """
        return {
            "task": self.task,
            "test": self.test,
            "candidates": [
                {"grid": c.grid.tolist(), "votes": c.votes, "confidence": round(c.confidence, 6)}
                for c in self.candidates
            ],
            "single": _listed(self.single),
            "tokens": "".join(f"{token:x}" for token in self.tokens),
            "segments": self.segments,
            "refinement": [[grid, len(list(same))] for grid, same in itertools.groupby(map(_listed, self.refinement))],
            "limit": self.limit,
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Prediction:
        """The inverse of :meth:`as_row`, for rows from anywhere.

        Raises:
            KeyError, TypeError, ValueError: the row is not a prediction.
            PuzzleError: a grid is none.
        """
        tokens = np.array([int(digit, 16) for digit in text("tokens", row["tokens"], FULL.cells)], dtype=np.uint8)
        if tokens.shape != (FULL.cells,) or tokens.max() >= VOCABULARY:
            raise ValueError(f"expected {FULL.cells} tokens below {VOCABULARY}")
        return cls(
            text("task", row["task"]),
            whole("test", row["test"]),
            tuple(_candidate(each) for each in row["candidates"]),
            _made(row["single"]),
            tokens,
            number("segments", row["segments"], 0, MOST_SEGMENTS),
            _refinement_from(row["refinement"]),
            None if row.get("limit") is None else whole("limit", row["limit"], 1, MOST_VOTES),
        )


def keys(tasks: Sequence[Task]) -> list[Key]:
    """The keys of all test inputs, in order."""
    return [(task.id, index) for task in tasks for index in range(len(task.tests))]


def by_key(predictions: Sequence[Prediction]) -> dict[Key, Prediction]:
    """Predictions by the test input that they answer."""
    return {prediction.key: prediction for prediction in predictions}


def truths(tasks: Sequence[Task]) -> dict[Key, Grid | None]:
    """The test outputs by their test input; None where one is not known."""
    return {(task.id, index): test.output for task in tasks for index, test in enumerate(task.tests)}


def tally(grids: Sequence[Grid | None], confidences: Sequence[float]) -> tuple[Candidate, ...]:
    """Rank answers by their number of votes, then by the mean confidence of those votes.

    If both are equal, the answer that was given first is better. None is not a vote.
    """
    cast: dict[tuple[tuple[int, ...], bytes], tuple[Grid, list[float]]] = {}
    for grid, confidence in zip(grids, confidences, strict=True):
        if grid is not None:
            cast.setdefault((grid.shape, grid.tobytes()), (grid, []))[1].append(confidence)
    candidates = [Candidate(grid, len(given), float(np.mean(given))) for grid, given in cast.values()]
    return tuple(sorted(candidates, key=lambda c: (-c.votes, -c.confidence)))


def _listed(grid: Grid | None) -> list[list[int]] | None:
    return None if grid is None else grid.tolist()


def _made(rows: list[list[int]] | None) -> Grid | None:
    return None if rows is None else make_grid(rows)


def _candidate(row: Mapping[str, Any]) -> Candidate:
    votes = whole("votes", row["votes"], 1)
    return Candidate(make_grid(row["grid"]), votes, number("confidence", row["confidence"], 0, 1))


def _refinement_from(parts: Any) -> tuple[Grid | None, ...]:
    """The grids of [grid, number of segments with it]."""
    if not isinstance(parts, list) or not all(isinstance(part, list) and len(part) == 2 for part in parts):
        raise TypeError("refinement is no list of grids with their numbers of segments")
    counts = [whole("segments", count, 1, MOST_SEGMENTS) for _, count in parts]
    if sum(counts) > MOST_SEGMENTS:
        raise ValueError(f"refinement has more than {MOST_SEGMENTS} segments")
    grids = [_made(grid) for grid, _ in parts]
    return tuple(grid for grid, count in zip(grids, counts, strict=True) for _ in range(count))
