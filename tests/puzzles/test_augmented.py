from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hrm_arc.puzzles.augmented import AugmentedSet, Samples
from hrm_arc.puzzles.canvas import FULL, SIDES
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.sources import load_corpus, load_tasks
from hrm_arc.puzzles.symmetry import Symmetry
from hrm_arc.puzzles.task import Pair, Task, make_grid
from tests.strategies import grids, tasks

SOME = load_tasks("arc-agi-1/training")[:20]


def noisy(task: Task) -> Task:
    """The task with other test outputs."""
    return replace(task, tests=tuple(Pair(test.input, make_grid([[9] * 30] * 30)) for test in task.tests))


def as_rows(batches: list[Samples]) -> list[bytes]:
    return sorted(
        bytes([s.canvas.height, s.canvas.width]) + s.inputs[n].tobytes() + s.labels[n].tobytes()
        for s in batches
        if s.labels is not None
        for n in range(len(s))
    )


def whole(data: AugmentedSet) -> list[bytes]:
    return as_rows(list(data))


@settings(max_examples=25)
@given(tasks(most=4, colors=4), st.sampled_from(["full", "cropped"]))
def test_every_sample_is_its_pair_under_its_symmetry(task: Task, canvas: str) -> None:
    data = AugmentedSet(Corpus(solve=(task,)).training_puzzles(), augment=30, canvas=canvas)  # type: ignore[arg-type]
    for index in range(len(data)):
        _, _, pair = data.locate(np.array([index]))
        (sample,) = data.samples(np.array([index]))
        symmetry = Symmetry(int(sample.identity.dihedral[0]), tuple(sample.identity.colors[0].tolist()))
        drawn = task.demonstrations[int(pair[0])]
        assert drawn.output is not None
        assert sample.labels is not None
        assert np.array_equal(sample.inputs[0], sample.canvas.encode(symmetry.apply(drawn.input)))
        assert np.array_equal(sample.labels[0], sample.canvas.encode(symmetry.apply(drawn.output)))


@settings(max_examples=25)
@given(tasks(most=3, colors=3))
def test_variants_are_distinct_and_begin_with_the_original(task: Task) -> None:
    data = AugmentedSet(Corpus(solve=(task,)).training_puzzles(), augment=40)
    variant = np.arange(data.variants[0])
    dihedrals, colors = data.symmetries(np.zeros_like(variant), variant)
    assert dihedrals[0] == 0
    assert colors[0].tolist() == list(range(10))
    images = set()
    items = Corpus(solve=(task,)).training_puzzles()[0].visible
    for dihedral, color in zip(dihedrals, colors, strict=True):
        symmetry = Symmetry(int(dihedral), tuple(color.tolist()))
        moved = [tuple(symmetry.apply(grid) for grid in item) for item in items]
        images.add(frozenset(tuple((g.shape, g.tobytes()) for g in item) for item in moved))
    assert len(images) == data.variants[0]


def test_samples_do_not_depend_on_their_order_or_on_other_samples() -> None:
    data = AugmentedSet(Corpus(study=SOME).training_puzzles(), augment=50, seed=3, translate=True)
    indices = np.random.default_rng(0).choice(len(data), 64, replace=False)
    again = AugmentedSet(Corpus(study=SOME).training_puzzles(), augment=50, seed=3, translate=True)
    alone = [sample for index in indices[::-1] for sample in again.samples(np.array([index]))]
    assert as_rows(data.samples(indices)) == as_rows(alone)


def test_a_seed_chooses_variants() -> None:
    one, two = (AugmentedSet(Corpus(study=SOME).training_puzzles(), augment=5, seed=seed) for seed in (1, 2))
    assert len(one) == len(two)
    assert whole(one) != whole(two)


def test_translated_samples_have_the_same_grids_at_an_offset() -> None:
    puzzles = Corpus(study=SOME).training_puzzles()
    plain, translated = (AugmentedSet(puzzles, augment=20, translate=translate) for translate in (False, True))
    moved = 0
    for start in range(0, len(plain), 97):
        (a,), (b,) = plain.samples(np.array([start])), translated.samples(np.array([start]))
        cells = b.inputs[0].reshape(30, 30)
        row, column = (int(np.flatnonzero((cells >= 2).any(axis=axis))[0]) for axis in (1, 0))
        moved += row + column > 0
        for one, two in ((a.inputs, b.inputs), (a.labels, b.labels)):
            assert one is not None
            assert two is not None
            assert np.array_equal(FULL.decode(one[0]), FULL.decode(two[0], row, column))  # type: ignore[arg-type]
    assert moved > 0


def test_one_pair_of_each_variant_is_not_translated() -> None:
    puzzles = Corpus(study=SOME[:1]).training_puzzles()
    plain, translated = (AugmentedSet(puzzles, augment=10, translate=translate) for translate in (False, True))
    pairs = int(plain.pairs[0])
    for variant in range(int(plain.variants[0])):
        indices = np.arange(variant * pairs, (variant + 1) * pairs)
        same = (plain.samples(indices)[0].inputs == translated.samples(indices)[0].inputs).all(axis=1)
        assert same.any()


def test_repeat_repeats_the_set() -> None:
    puzzles = Corpus(study=SOME[:2]).training_puzzles()
    once, twice = (AugmentedSet(puzzles, augment=3, repeat=repeat) for repeat in (1, 2))
    assert len(twice) == 2 * len(once)
    assert whole(twice) == sorted(whole(once) * 2)


@settings(max_examples=25)
@given(tasks(most=5), grids())
def test_no_test_output_reaches_training(task: Task, other: np.ndarray) -> None:
    changed = replace(task, tests=tuple(Pair(test.input, other) for test in task.tests))
    for canvas in ("full", "cropped"):
        one, two = (
            AugmentedSet(Corpus(solve=(each,)).training_puzzles(), augment=10, canvas=canvas, translate=True)  # type: ignore[arg-type]
            for each in (task, changed)
        )
        assert whole(one) == whole(two)


def test_no_test_output_reaches_training_on_real_tasks() -> None:
    real, other = (
        AugmentedSet(Corpus(solve=solve, study=SOME[10:]).training_puzzles(), augment=20, canvas="cropped")
        for solve in (SOME[:10], tuple(map(noisy, SOME[:10])))
    )
    assert whole(real) == whole(other)


def test_study_tasks_train_on_their_test_pairs_and_solve_tasks_do_not() -> None:
    solve, study = Corpus(solve=SOME).training_puzzles(), Corpus(study=SOME).training_puzzles()
    for task, solved, studied in zip(SOME, solve, study, strict=True):
        assert len(solved.drawn) == len(task.demonstrations)
        assert len(studied.drawn) == len(task.demonstrations) + len(task.tests)


def test_squares_are_the_smallest_that_hold_the_puzzle_in_every_orientation() -> None:
    puzzles = Corpus(study=load_tasks("arc-agi-1/training")[:60]).training_puzzles()
    data = AugmentedSet(puzzles, augment=15, canvas="squares")
    chosen = np.arange(0, len(data), 7)
    seen: dict[int, int] = {}
    for samples in data.samples(chosen):
        side = samples.canvas.height
        assert samples.canvas.width == side
        assert samples.labels is not None
        seen[side] = seen.get(side, 0) + len(samples)
        for tokens in (*samples.inputs, *samples.labels):
            assert samples.canvas.decode(tokens) is not None, "no grid is cut off in any orientation"
    expected: dict[int, int] = {}
    for puzzle in data.locate(chosen)[0].tolist():
        largest = max(puzzles[puzzle].canvas.height, puzzles[puzzle].canvas.width)
        side = min(side for side in SIDES if side >= largest)
        expected[side] = expected.get(side, 0) + 1
    assert seen == expected
    assert len(seen) > 5


def test_samples_come_with_their_positions_among_the_indices() -> None:
    data = AugmentedSet(Corpus(study=SOME).training_puzzles(), augment=15, canvas="cropped", translate=True)
    indices = np.random.default_rng(0).choice(len(data), 64, replace=False)
    batches = data.samples_with_rows(indices)
    assert sorted(np.concatenate([rows for rows, _ in batches]).tolist()) == list(range(64))
    for rows, samples in batches:
        (alone,) = data.samples(indices[rows])
        assert np.array_equal(samples.inputs, alone.inputs)


def test_samples_are_selected_with_their_labels_and_identities() -> None:
    (samples,) = AugmentedSet(Corpus(study=SOME).training_puzzles(), augment=5).samples(np.arange(20))
    assert samples.labels is not None
    chosen = samples.select(np.arange(20) % 3 == 0)
    assert chosen.labels is not None
    assert np.array_equal(chosen.labels, samples.labels[::3])
    assert np.array_equal(chosen.identity.variant, samples.identity.variant[::3])
    parts = list(samples.parts(8))
    assert [len(part) for part in parts] == [8, 8, 4]
    assert np.array_equal(np.concatenate([part.inputs for part in parts]), samples.inputs)


def test_labels_that_do_not_fit_are_cut_off() -> None:
    pair = Pair(make_grid([[1]]), make_grid([[2]]))
    task = Task("grows", (pair,), (Pair(make_grid([[1]]), make_grid([[3, 3, 3]])),))
    (sample,) = AugmentedSet(Corpus(solve=(task,)).held_out_puzzles(), canvas="cropped").samples(np.array([0]))
    assert (sample.canvas.height, sample.canvas.width) == (2, 2)
    assert sample.labels is not None
    assert sample.labels[0].tolist() == [5, 5, 1, 1]


def test_the_size_of_the_logs_set_without_conceptarc() -> None:
    corpus = load_corpus(["arc-agi-1"])
    assert len(AugmentedSet(corpus.training_puzzles(), augment=500)) == 1_509_453
    assert len(AugmentedSet(corpus.held_out_puzzles(), augment=500)) == 204_495


def test_the_size_of_the_logs_set(concept_arc: Path) -> None:
    corpus = load_corpus(["arc-agi-1"], [str(concept_arc)])
    train = AugmentedSet(corpus.training_puzzles(), augment=500, repeat=2)
    # The training log in docs/plateau.md reports 3.88 million and 409 thousand samples.
    assert len(train) == 3_887_892
    assert len(AugmentedSet(corpus.held_out_puzzles(), augment=500, repeat=2)) == 408_990
