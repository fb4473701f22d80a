from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrm_arc.evaluation.backend import Answers
from hrm_arc.evaluation.evaluate import predict_tasks
from hrm_arc.evaluation.journal import Journal
from hrm_arc.evaluation.predict import Variants, answered_together, known_variants, predict, voting_symmetries
from hrm_arc.evaluation.prediction import Prediction, keys, tally
from hrm_arc.puzzles.augmented import AugmentedSet, Samples
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.puzzles.symmetry import IDENTITY, Symmetry
from hrm_arc.puzzles.task import Grid, Pair, Task, make_grid
from hrm_arc.runs.card import Card
from tests.strategies import tasks

TASKS = load_tasks("arc-agi-1/training")[:15]


class Rule:
    """A backend that applies a rule to the original task, under any symmetry."""

    def __init__(self, rule: Symmetry):
        self.rule = rule
        self.rows: set[int] = set()

    def answer(self, samples: Samples) -> Answers:
        self.rows |= set(samples.identity.task.tolist())
        tokens = []
        for n in range(len(samples)):
            seen_under = Symmetry(int(samples.identity.dihedral[n]), tuple(samples.identity.colors[n].tolist()))
            grid = samples.canvas.decode(samples.inputs[n])
            assert grid is not None
            answer = (seen_under @ self.rule @ seen_under.inverse()).apply(grid)
            tokens.append(samples.canvas.encode(answer))
        return Answers(np.stack(tokens), np.full(len(samples), 0.9), np.full(len(samples), 2))


@pytest.mark.parametrize("canvas", ["full", "cropped"])
def test_symmetries_are_undone_so_that_a_right_rule_gets_every_vote(canvas: str) -> None:
    swap = Symmetry(0, (0, 2, 1, 3, 4, 5, 6, 7, 8, 9))
    for rule in (IDENTITY, swap, swap @ Symmetry(2)):
        for prediction in predict(
            Rule(rule),
            TASKS,
            {},
            votes=20,
            canvas=canvas,  # type: ignore[arg-type]
            ignores_padding=False,
        ):
            test = next(task for task in TASKS if task.id == prediction.task).tests[prediction.test]
            (candidate,) = prediction.candidates
            assert np.array_equal(candidate.grid, rule.apply(test.input))
            assert candidate.votes == 20
            assert candidate.confidence == pytest.approx(0.9)
            assert prediction.segments == 2
            assert np.array_equal(prediction.single, rule.apply(test.input))  # type: ignore[arg-type]


def test_known_tasks_have_their_row_and_others_the_row_of_unseen_tasks() -> None:
    backend = Rule(IDENTITY)
    rows = {TASKS[0].id: 7}
    list(predict(backend, TASKS[:2], rows, votes=3, canvas="cropped", ignores_padding=True))
    assert backend.rows == {7, 0}


@given(tasks(), st.integers(1, 12))
def test_predictions_do_not_depend_on_test_outputs(task: Task, votes: int) -> None:
    noise = make_grid([[7] * 30] * 30)
    changed = replace(task, tests=tuple(Pair(test.input, noise) for test in task.tests))
    one, two = (
        [p.as_row() for p in predict(Rule(IDENTITY), [each], {}, votes=votes, canvas="cropped", ignores_padding=True)]
        for each in (task, changed)
    )
    assert one == two


@pytest.mark.parametrize("votes", [1, 5, 21])
def test_a_model_with_rows_for_variants_answers_the_variants_of_training(votes: int) -> None:
    corpus = Corpus(solve=TASKS)
    trained = AugmentedSet(corpus.training_puzzles(), augment=20, seed=3)
    for number, task in enumerate(TASKS):
        symmetries, numbers = known_variants(task, votes, seed=3)
        variants = np.arange(min(votes, int(trained.variants[number])))
        dihedrals, colors = trained.symmetries(np.full_like(variants, number), variants)
        assert numbers == variants.tolist()
        assert [(s.dihedral, s.colors) for s in symmetries] == [
            (int(d), tuple(c.tolist())) for d, c in zip(dihedrals, colors, strict=True)
        ]


def test_a_model_with_rows_for_variants_answers_boards_without_rows() -> None:
    (game,) = load_tasks("sudoku-4x4:20")
    backend = Rule(IDENTITY)
    made = list(predict(backend, [game], {}, votes=4, canvas="cropped", ignores_padding=True, variants=Variants(3)))
    assert [prediction.test for prediction in made] == list(range(len(game.tests)))
    assert all(np.array_equal(p.candidates[0].grid, t.input) for p, t in zip(made, game.tests, strict=True))


@pytest.mark.parametrize("source", ["arc-agi-1/training", "sudoku-4x4:90"])
def test_parts_of_the_test_inputs_get_the_same_predictions_as_all(source: str) -> None:
    given_tasks = load_tasks(source)[:12]
    counted: list[int] = []
    how = {"votes": 3, "canvas": "cropped", "ignores_padding": True}
    whole = {
        (p.task, p.test): p.as_row()
        for p in predict(Rule(IDENTITY), given_tasks, {}, **how, progress=counted.append)  # type: ignore[arg-type]
    }
    assert list(whole) == keys(given_tasks)
    assert counted == list(range(1, len(whole) + 1))
    parts = [keys(given_tasks)[rank::3] for rank in range(3)]
    assert all(parts)
    apart = [[p.as_row() for p in predict(Rule(IDENTITY), given_tasks, {}, **how, only=part)] for part in parts]  # type: ignore[arg-type]
    assert apart == [[whole[key] for key in part] for part in parts]


class Company(Rule):
    """A backend whose confidence depends on the size of its batch, as rounding may."""

    def __init__(self) -> None:
        super().__init__(IDENTITY)
        self.batches: list[int] = []

    def answer(self, samples: Samples) -> Answers:
        self.batches.append(len(samples))
        return super().answer(samples)._replace(confidence=np.full(len(samples), 1 / len(samples)))

    def refine(self, samples: Samples) -> np.ndarray:
        return self.answer(samples).tokens[None]


def test_boards_are_answered_together_and_the_same_in_any_part() -> None:
    (game,) = load_tasks("sudoku-4x4/test:90")
    how = {"votes": 1, "canvas": "full", "ignores_padding": True, "refine": True}
    backend = Company()
    whole = [p.as_row() for p in predict(backend, [game], {}, **how)]  # type: ignore[arg-type]
    # 8,192 cells at once, of boards of 900; then the segments of each.
    assert backend.batches == [9, 9] * 10
    groups = answered_together(game, 1, "full")
    assert [key for group in groups for key in group] == keys([game])
    # After a kill in the middle of a group.
    left = keys([game])[50:]
    assert [p.as_row() for p in predict(Company(), [game], {}, **how, only=left)] == whole[50:]  # type: ignore[arg-type]
    assert [len(group) for group in answered_together(game, 10**6, "full")] == [1] * 90


def test_votes_start_with_the_input_as_it_is_and_its_other_orientations() -> None:
    symmetries = voting_symmetries(24, seed=0, key=1)
    assert symmetries[0] == IDENTITY
    assert [s.dihedral for s in symmetries] == list(range(8)) * 3
    assert all(s.colors == IDENTITY.colors for s in symmetries[:8])
    assert len({s.colors for s in symmetries[8:]}) == 16
    assert voting_symmetries(24, seed=1, key=1) != symmetries


A, B, C = make_grid([[1]]), make_grid([[2]]), make_grid([[1, 1]])


def test_the_tally_by_hand() -> None:
    votes: list[Grid | None] = [A, B, None, B, C, A, C]
    ranked = tally(votes, [0.5, 0.9, 1.0, 0.1, 0.2, 0.7, 0.2])
    assert [(c.grid.tolist(), c.votes) for c in ranked] == [([[1]], 2), ([[2]], 2), ([[1, 1]], 2)]
    assert [c.confidence for c in ranked] == pytest.approx([0.6, 0.5, 0.2])


def test_votes_count_before_confidence_and_the_first_of_equals_wins() -> None:
    assert [c.grid.tolist() for c in tally([A, B, B], [1.0, 0.1, 0.1])] == [[[2]], [[1]]]
    assert [c.grid.tolist() for c in tally([C, A], [0.5, 0.5])] == [[[1, 1]], [[1]]]
    assert tally([None, None], [1.0, 1.0]) == ()


def test_shapes_with_the_same_cells_are_different_answers() -> None:
    assert len(tally([make_grid([[1, 1]]), make_grid([[1], [1]])], [1.0, 1.0])) == 2


def test_a_prediction_is_the_same_after_json() -> None:
    for prediction in predict(Rule(IDENTITY), TASKS[:3], {}, votes=9, canvas="cropped", ignores_padding=True):
        row = json.loads(json.dumps(prediction.as_row()))
        assert Prediction.from_row(row).as_row() == prediction.as_row()


class Announced(Rule):
    """A backend that records what it was to prepare for."""

    def __init__(self) -> None:
        super().__init__(IDENTITY)
        self.cells: list[int] = []

    def prepare(self, cells: int) -> None:
        self.cells.append(cells)

    def refine(self, samples: Samples) -> np.ndarray:
        raise NotImplementedError


def test_what_is_prepared_for_does_not_depend_on_what_is_left(tmp_path: Path) -> None:
    """The amount of work decides on compilation, which rounds differently: also where an evaluation is resumed."""
    card = Card("grid-hrm", {}, [task.id for task in TASKS], "cropped", False, [], [], 15, 1, 0, [], 5, "run", {})
    whole, part, resumed = Announced(), Announced(), Announced()
    predict_tasks(whole, card, TASKS, votes=2)
    predict_tasks(part, card, TASKS, votes=2, only=keys(TASKS[:3]))
    journal = Journal(tmp_path, "fingerprint")
    predict_tasks(Announced(), card, TASKS[:5], votes=2, journal=journal)
    predict_tasks(resumed, card, TASKS, votes=2, journal=journal)
    assert whole.cells == part.cells == resumed.cells
    assert len(whole.cells) == 1
