"""Voting: each test input is answered under many symmetries, the symmetry is undone, and each answer is a vote.

It works with any backend that turns samples into tokens, and needs no torch itself.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np

from hrm_arc.evaluation.backend import FORWARD_CELLS, Backend, SegmentsBackend, check_finite
from hrm_arc.evaluation.prediction import Candidate, Key, Prediction, keys, tally
from hrm_arc.puzzles.augmented import AugmentedSet, Samples
from hrm_arc.puzzles.canvas import Canvas, CanvasKind, placed, tokens_on_full, visible_canvas
from hrm_arc.puzzles.corpus import OTHER, UNSEEN, Corpus
from hrm_arc.puzzles.counter_rng import mix, name_key
from hrm_arc.puzzles.identity import Identity
from hrm_arc.puzzles.symmetry import DIHEDRALS, IDENTITY, Symmetry, swaps_sides
from hrm_arc.puzzles.task import COLORS, Grid, Task
from hrm_arc.puzzles.variant_names import read_symmetries

# Cells of the test inputs that are answered together: fewer, so that several processes have something to share.
GROUP_CELLS = 8_192
# Cells of one forward pass where votes are shown as they come in.
FOLLOWED_CELLS = 4_096
# voted(key, candidates so far, variants answered).
Voted: TypeAlias = Callable[[Key, tuple[Candidate, ...], int], None]


@dataclass(frozen=True)
class Variants:
    """The variants of tasks that have rows of their own in a model's table.

    Attributes:
        number: of each task, the original included; 1: no others. If there are more, only they are answered.
        seed: with which they were drawn.
        symmetries: of tasks whose variants were drawn by another program, see :class:`hrm_arc.runs.card.Card`.
    """

    number: int = 1
    seed: int = 0
    symmetries: Mapping[str, str] = field(default_factory=dict)

    def of(self, task: Task, votes: int, seed: int) -> tuple[list[Symmetry], list[int]]:
        """The symmetries under which a task is answered, and the variant that each of them is.

        Args:
            task: without test outputs.
            votes: how many, if there are so many.
            seed: of color permutations, where variants have no rows.
        """
        if task.id in self.symmetries:
            voting = read_symmetries(self.symmetries[task.id], votes)
            return voting, list(range(len(voting)))
        # The boards of a game that are answered were not in training, so none of them has a row.
        if self.number > 1 and not task.boards and not self.symmetries:
            return known_variants(task, min(votes, self.number), self.seed)
        voting = voting_symmetries(votes, seed, name_key(task.id))
        return voting, [0 if symmetry == IDENTITY else OTHER for symmetry in voting]


def predict(
    backend: Backend,
    tasks: Sequence[Task],
    rows: Mapping[str, int],
    *,
    votes: int,
    canvas: CanvasKind,
    ignores_padding: bool,
    variants: Variants = Variants(),
    seed: int = 0,
    refine: bool = False,
    only: Container[Key] | None = None,
    progress: Callable[[int], None] = lambda done: None,
    voted: Voted | None = None,
) -> Iterator[Prediction]:
    """Predict the test outputs of ``tasks``, in order.

    Args:
        backend: runs the model.
        tasks: their test outputs are removed before anything else.
        rows: the row of each task ID in the model's task table; a task without a row is answered as unseen.
        votes: number of variants of each test input that are answered. The first is the input as it is, the
            next seven are its other orientations, unless its variants have rows.
        canvas: the canvas that the model was trained on.
        ignores_padding: the model was not trained on padding.
        variants: those that have rows of their own.
        seed: of the color permutations.
        refine: also record the grid after each segment.
        only: the test inputs to answer; all of them if None.
        progress: called with the number of test inputs answered.
        voted: called with a test input, its candidates so far and the number of variants that were answered, as
            votes come in. Passes are small then, so that there is something to see.
    """
    done = itertools.count(1)
    for task in tasks:
        wanted = {key for key in keys([task]) if only is None or key in only}
        if not wanted:
            continue
        task = task.blind()
        place = placed(visible_canvas(task), canvas)
        voting, numbers = variants.of(task, votes, seed)
        row = rows.get(task.id, UNSEEN)
        for group in answered_together(task, votes, canvas) if voted is None else [[key] for key in keys([task])]:
            # A whole group or nothing: a batch of other samples may round differently, and a resumed evaluation differ.
            if wanted.isdisjoint(group):
                continue
            tests = [task.tests[index].input for _, index in group]
            follow = None if voted is None else functools.partial(voted, group[0])
            answers = _answer(backend, tests, place, voting, numbers, row, follow)
            refined = _refinements(backend, tests, place, row) if refine else [()] * len(tests)
            for key, answer, segments in zip(group, answers, refined, strict=True):
                if key not in wanted:
                    continue
                grids = [grid for grid, _ in answer.read]
                yield Prediction(
                    *key,
                    tally(grids, [confidence for _, confidence in answer.read]),
                    grids[0],
                    tokens_on_full(place, answer.first_tokens, complete=ignores_padding),
                    answer.segments,
                    segments,
                    len(voting),
                )
                progress(next(done))


def answered_together(task: Task, votes: int, canvas: CanvasKind) -> list[list[Key]]:
    """The test inputs of a task in groups that :func:`predict` answers at once: most tasks have one, a game many.

    Args:
        task, votes, canvas: see :func:`predict`.
    """
    at_once = max(1, GROUP_CELLS // (votes * placed(visible_canvas(task), canvas).cells))
    of_task = keys([task])
    return [of_task[first : first + at_once] for first in range(0, len(of_task), at_once)]


class SegmentGrid(NamedTuple):
    """A model's answer to a test input after one segment.

    Attributes:
        grid: None if its tokens are not a readable grid.
        confidence: halting probability.
        halted: whether the model would stop here.
    """

    grid: Grid | None
    confidence: float
    halted: bool


def segment_grids(
    backend: SegmentsBackend, task: Task, index: int, rows: Mapping[str, int], canvas: CanvasKind
) -> Iterator[SegmentGrid]:
    """The answer to a test input as it is, after each segment, as it is computed; every segment is run.

    Args:
        backend, rows, canvas: see :func:`predict`.
        task: its test outputs are removed before anything else.
        index: number of the test input, from 0.
    """
    task = task.blind()
    place = placed(visible_canvas(task), canvas)
    samples = _samples(place, [(task.tests[index].input, IDENTITY, 0)], rows.get(task.id, UNSEEN))
    for tokens, confidence, halted in backend.segment_answers(samples):
        yield SegmentGrid(place.decode(tokens[0]), float(confidence[0]), bool(halted[0]))


def voting_symmetries(votes: int, seed: int, key: int) -> list[Symmetry]:
    """The identity, the other seven orientations, then all eight under new colors, and so on."""
    symmetries = []
    for vote in range(votes):
        colors = IDENTITY.colors
        if vote >= DIHEDRALS:
            order = np.argsort(mix(seed, key, vote, np.arange(COLORS - 1)), kind="stable")
            colors = (0, *(order + 1).tolist())
        symmetries.append(Symmetry(vote % DIHEDRALS, colors))
    return symmetries


def known_variants(task: Task, votes: int, seed: int) -> tuple[list[Symmetry], list[int]]:
    """The first variants of a task in the augmented set of ``seed``, and their numbers in it."""
    (puzzle,) = Corpus(solve=(task,)).training_puzzles()
    data = AugmentedSet([puzzle], augment=votes - 1, seed=seed)
    numbers = np.arange(int(data.variants[0]))
    dihedrals, colors = data.symmetries(np.zeros_like(numbers), numbers)
    symmetries = [Symmetry(int(d), tuple(c.tolist())) for d, c in zip(dihedrals, colors, strict=True)]
    return symmetries, numbers.tolist()


class _Read(NamedTuple):
    """Grids with the symmetry undone and their confidences; tokens of the first pass; mean number of segments."""

    read: list[tuple[Grid | None, float]]
    first_tokens: np.ndarray
    segments: float


def _answer(
    backend: Backend,
    grids: Sequence[Grid],
    place: Canvas,
    symmetries: Sequence[Symmetry],
    numbers: Sequence[int],
    row: int,
    follow: Callable[[tuple[Candidate, ...], int], None] | None = None,
) -> list[_Read]:
    """Answer test inputs of one task under each symmetry, and undo the symmetry. ``follow`` is for a single one."""
    read: list[list[tuple[Grid | None, float]]] = [[(None, 0.0)] * len(symmetries) for _ in grids]
    segments = np.zeros((len(grids), len(symmetries)))
    first_tokens = [np.zeros(0, dtype=np.uint8)] * len(grids)
    by_canvas: dict[Canvas, list[tuple[int, int]]] = {}
    done, limit = 0, FORWARD_CELLS if follow is None else FOLLOWED_CELLS
    for n, v in itertools.product(range(len(grids)), range(len(symmetries))):
        turned = place.transposed() if swaps_sides(symmetries[v].dihedral) else place
        by_canvas.setdefault(turned, []).append((n, v))
    for turned, chosen in by_canvas.items():
        at_once = max(1, limit // turned.cells)
        for start in range(0, len(chosen), at_once):
            part = chosen[start : start + at_once]
            samples = _samples(turned, [(grids[n], symmetries[v], numbers[v]) for n, v in part], row)
            answers = check_finite(backend.answer(samples))
            for (n, v), tokens, confidence, taken in zip(part, *answers, strict=True):
                answer = turned.decode(tokens)
                back = None if answer is None else np.ascontiguousarray(symmetries[v].inverse().apply(answer))
                read[n][v] = (back, float(confidence))
                segments[n, v] = taken
                if v == 0:
                    first_tokens[n] = tokens
            done += len(part)
            if follow is not None:
                follow(tally([answered for answered, _ in read[0]], [given for _, given in read[0]]), done)
    return [_Read(*each) for each in zip(read, first_tokens, segments.mean(axis=1).tolist(), strict=True)]


def _refinements(backend: Backend, grids: Sequence[Grid], place: Canvas, row: int) -> list[tuple[Grid | None, ...]]:
    """For each test input, as it is, the grid after each segment."""
    tokens = backend.refine(_samples(place, [(grid, IDENTITY, 0) for grid in grids], row))
    return [tuple(place.decode(after) for after in tokens[:, n]) for n in range(len(grids))]


def _samples(canvas: Canvas, variants: Sequence[tuple[Grid, Symmetry, int]], row: int) -> Samples:
    """Samples of one task: each an input, the symmetry under which it is shown, and the variant's number."""
    identity: Identity[np.ndarray] = Identity(
        task=np.full(len(variants), row, dtype=np.int64),
        dihedral=np.array([symmetry.dihedral for _, symmetry, _ in variants], dtype=np.uint8),
        colors=np.array([symmetry.colors for _, symmetry, _ in variants], dtype=np.uint8),
        variant=np.array([number for *_, number in variants], dtype=np.int64),
    )
    inputs = np.stack([canvas.encode(symmetry.apply(grid)) for grid, symmetry, _ in variants])
    return Samples(canvas, inputs, None, identity)
