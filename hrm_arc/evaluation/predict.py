"""Augment, think, undo, vote: from a task as a solver may see it to attempts at its answers.

It takes any backend that turns samples into tokens, and needs no torch itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from hrm_arc.puzzles.augmented import AugmentedSet, Samples
from hrm_arc.puzzles.canvas import FULL, VOCABULARY, Canvas, CanvasKind, placed, tokens_on_full, visible_canvas
from hrm_arc.puzzles.corpus import OTHER, UNSEEN, Corpus
from hrm_arc.puzzles.keyed import mix, name_key
from hrm_arc.puzzles.symmetry import DIHEDRALS, IDENTITY, Symmetry, swaps_sides
from hrm_arc.puzzles.task import ATTEMPTS, COLOURS, Grid, Task, make_grid

# Samples of one forward pass; more bring no speed and cost memory.
FORWARD_CELLS = 65_536
# A test input: its task's ID, and which of the task's it is, from 0.
Key = tuple[str, int]


class Answers(NamedTuple):
    """A backend's answers to a batch of samples.

    Attributes:
        tokens: ``[n, cells]``, uint8.
        confidence: halting probability at the end of thought, ``[n]``.
        segments: segments of thought each sample took, ``[n]``.
    """

    tokens: np.ndarray
    confidence: np.ndarray
    segments: np.ndarray


class Backend(Protocol):
    """Whatever runs a model: torch here, ONNX Runtime on a small machine."""

    def answer(self, samples: Samples) -> Answers: ...

    def refine(self, samples: Samples) -> np.ndarray:
        """Tokens after each segment, whether or not a sample would halt, ``[segments, n, cells]``."""
        ...


@dataclass(frozen=True)
class Candidate:
    """One answer that votes were cast for, ranked by count, then by mean confidence."""

    grid: Grid
    votes: int
    confidence: float


@dataclass(frozen=True)
class Prediction:
    """What a model says to one test input.

    Attributes:
        task: the task's ID.
        test: which of its test inputs, from 0.
        candidates: every answer that got a vote, best first.
        single: the readable grid of the one pass over the input as it is, without votes.
        tokens: that pass's tokens on the full canvas, ``[900]``, uint8.
        segments: mean segments of thought over all passes.
        refinement: that pass's readable grid after each segment, to the last one, whether or
            not the model would halt; empty if nobody asked for it.
    """

    task: str
    test: int
    candidates: tuple[Candidate, ...]
    single: Grid | None
    tokens: np.ndarray
    segments: float
    refinement: tuple[Grid | None, ...] = ()

    def attempts(self, count: int = ATTEMPTS) -> list[Grid]:
        """The best ``count`` candidates, or as many as there are."""
        return [grid for grid, _ in self.shares(count)]

    def shares(self, count: int = ATTEMPTS) -> list[tuple[Grid, float]]:
        """The same, each with its share of the votes that were cast."""
        cast = sum(candidate.votes for candidate in self.candidates)
        return [(candidate.grid, candidate.votes / cast) for candidate in self.candidates[:count]]

    def as_row(self) -> dict[str, Any]:
        """The prediction as one JSON object.

        Tokens are 900 hexadecimal digits; the refinement is a list of grids, each with the number
        of segments for which it stood.
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
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Prediction:
        """The inverse of :meth:`as_row`.

        Raises:
            KeyError, TypeError, ValueError: the row is something else.
        """
        candidates = tuple(Candidate(make_grid(c["grid"]), c["votes"], c["confidence"]) for c in row["candidates"])
        tokens = np.array([int(digit, 16) for digit in row["tokens"]], dtype=np.uint8)
        if tokens.shape != (FULL.cells,) or tokens.max() >= VOCABULARY:
            raise ValueError(f"expected {FULL.cells} tokens below {VOCABULARY}")
        refinement = tuple(_made(grid) for grid, count in row["refinement"] for _ in range(count))
        single = _made(row["single"])
        return cls(row["task"], row["test"], candidates, single, tokens, row["segments"], refinement)


def keys(tasks: Sequence[Task]) -> list[Key]:
    """Every test input, in order."""
    return [(task.id, index) for task in tasks for index in range(len(task.tests))]


def predict(
    backend: Backend,
    tasks: Sequence[Task],
    rows: Mapping[str, int],
    *,
    votes: int,
    canvas: CanvasKind,
    ignores_padding: bool,
    variants: int = 1,
    variants_seed: int = 0,
    seed: int = 0,
    refine: bool = False,
    only: Container[Key] | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Iterator[Prediction]:
    """Predict the test outputs of ``tasks``, in order.

    Args:
        backend: what runs the model.
        tasks: their test outputs are removed before anything looks at them.
        rows: the model's row for each task ID; a task without one is unseen.
        votes: variants of each test input that are answered; the first is the input as
            it is, the next seven are its other orientations.
        canvas: as the model was trained.
        ignores_padding: the model was not trained on padding.
        variants: of how many variants of a task the model has a row; if there are more than
            the original, it is asked about those and no others.
        variants_seed: with which they were drawn.
        seed: which colour permutations are used.
        refine: whether to look at the answer after each segment of thought.
        only: of which test inputs; of all of them if None.
        progress: called with the number of test inputs answered.
    """
    done = itertools.count(1)
    for task in tasks:
        asked = [index for name, index in keys([task]) if only is None or (name, index) in only]
        if not asked:
            continue
        task = task.blind()
        place = placed(visible_canvas(task), canvas)
        # Of a game no board that is asked has a row: none of them was in training.
        if variants > 1 and not task.boards:
            symmetries, numbers = known_variants(task, min(votes, variants), variants_seed)
        else:
            symmetries = voting_symmetries(votes, seed, name_key(task.id))
            numbers = [0 if symmetry == IDENTITY else OTHER for symmetry in symmetries]
        row = rows.get(task.id, UNSEEN)
        for index in asked:
            test = task.tests[index].input
            answers = _answer(backend, test, place, symmetries, numbers, row)
            grids = [grid for grid, _ in answers.read]
            yield Prediction(
                task.id,
                index,
                tally(grids, [confidence for _, confidence in answers.read]),
                grids[0],
                tokens_on_full(place, answers.first_tokens, complete=ignores_padding),
                answers.segments,
                _refinement(backend, test, place, row) if refine else (),
            )
            progress(next(done))


def voting_symmetries(votes: int, seed: int, key: int) -> list[Symmetry]:
    """The identity, the other seven orientations, then all eight under new colours, and so on."""
    symmetries = []
    for vote in range(votes):
        colours = IDENTITY.colours
        if vote >= DIHEDRALS:
            order = np.argsort(mix(seed, key, vote, np.arange(COLOURS - 1)), kind="stable")
            colours = (0, *(order + 1).tolist())
        symmetries.append(Symmetry(vote % DIHEDRALS, colours))
    return symmetries


def known_variants(task: Task, votes: int, seed: int) -> tuple[list[Symmetry], list[int]]:
    """The first variants of a task in the augmented set that was drawn with ``seed``, with their numbers."""
    (puzzle,) = Corpus(solve=(task,)).training_puzzles()
    data = AugmentedSet([puzzle], augment=votes - 1, seed=seed)
    numbers = np.arange(int(data.variants[0]))
    dihedrals, colours = data.symmetries(np.zeros_like(numbers), numbers)
    symmetries = [Symmetry(int(d), tuple(c.tolist())) for d, c in zip(dihedrals, colours, strict=True)]
    return symmetries, numbers.tolist()


def tally(grids: Sequence[Grid | None], confidences: Sequence[float]) -> tuple[Candidate, ...]:
    """Rank answers by how many votes they got, then by the mean confidence of those votes.

    Ties beyond that go to the answer that was given first. None casts no vote.
    """
    cast: dict[tuple[tuple[int, ...], bytes], tuple[Grid, list[float]]] = {}
    for grid, confidence in zip(grids, confidences, strict=True):
        if grid is not None:
            cast.setdefault((grid.shape, grid.tobytes()), (grid, []))[1].append(confidence)
    candidates = [Candidate(grid, len(given), float(np.mean(given))) for grid, given in cast.values()]
    return tuple(sorted(candidates, key=lambda c: (-c.votes, -c.confidence)))


class _Read(NamedTuple):
    """Grids, turned back, with their confidences; the first pass's tokens; mean segments."""

    read: list[tuple[Grid | None, float]]
    first_tokens: np.ndarray
    segments: float


def _answer(
    backend: Backend, grid: Grid, place: Canvas, symmetries: Sequence[Symmetry], numbers: Sequence[int], row: int
) -> _Read:
    """Answer one test input under each symmetry and undo it."""
    read: list[tuple[Grid | None, float]] = [(None, 0.0)] * len(symmetries)
    segments = np.zeros(len(symmetries))
    first_tokens = np.zeros(0, dtype=np.uint8)
    for swapped in (False, True):
        turned = place.transposed() if swapped else place
        chosen = [v for v, s in enumerate(symmetries) if swaps_sides(s.dihedral) == swapped]
        at_once = max(1, FORWARD_CELLS // turned.cells)
        for start in range(0, len(chosen), at_once):
            part = chosen[start : start + at_once]
            samples = _samples(grid, turned, [symmetries[v] for v in part], [numbers[v] for v in part], row)
            answers = backend.answer(samples)
            for v, tokens, confidence, taken in zip(part, *answers, strict=True):
                answer = turned.decode(tokens)
                back = None if answer is None else np.ascontiguousarray(symmetries[v].inverse().apply(answer))
                read[v] = (back, float(confidence))
                segments[v] = taken
                if v == 0:
                    first_tokens = tokens
    return _Read(read, first_tokens, float(segments.mean()))


def _refinement(backend: Backend, grid: Grid, place: Canvas, row: int) -> tuple[Grid | None, ...]:
    """The answer to the input as it is after each segment."""
    tokens = backend.refine(_samples(grid, place, [IDENTITY], [0], row))
    return tuple(place.decode(after[0]) for after in tokens)


def _samples(grid: Grid, canvas: Canvas, symmetries: Sequence[Symmetry], numbers: Sequence[int], row: int) -> Samples:
    return Samples(
        canvas,
        np.stack([canvas.encode(symmetry.apply(grid)) for symmetry in symmetries]),
        None,
        np.full(len(symmetries), row, dtype=np.int64),
        np.array([symmetry.dihedral for symmetry in symmetries], dtype=np.uint8),
        np.array([symmetry.colours for symmetry in symmetries], dtype=np.uint8),
        np.array(numbers, dtype=np.int64),
    )


def _listed(grid: Grid | None) -> list[list[int]] | None:
    return None if grid is None else grid.tolist()


def _made(rows: list[list[int]] | None) -> Grid | None:
    return None if rows is None else make_grid(rows)
