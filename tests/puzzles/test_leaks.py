from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrm_arc.errors import UserError
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.leaks import leaks, shared
from hrm_arc.puzzles.matching import canonical, mappings
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.puzzles.symmetry import Symmetry, turn
from hrm_arc.puzzles.task import Grid, Pair, Task, make_grid
from hrm_arc.runs.checkpoint import find_checkpoint, read_card
from hrm_arc.training.build import load_corpus
from hrm_arc.training.trainer import Trainer
from tests.made import tiny_recipe, write_tasks
from tests.strategies import grids, symmetries, tasks

SOME = load_tasks("arc-agi-1/training")[:30]


def transformed(task: Task, symmetry: Symmetry, order: list[int], black: int = 0) -> Task:
    """The task under a symmetry, its demonstrations in another order, black exchanged with another color."""

    def look(grid: object) -> object:
        moved = symmetry.apply(grid)  # type: ignore[arg-type]
        swapped = moved.copy()
        swapped[moved == 0], swapped[moved == black] = black, 0
        return make_grid(swapped)

    def pair(pair: Pair) -> Pair:
        return Pair(look(pair.input), None if pair.output is None else look(pair.output))  # type: ignore[arg-type]

    shown = [pair(task.demonstrations[n % len(task.demonstrations)]) for n in order]
    return Task("other", tuple(shown), tuple(map(pair, task.tests)))


@settings(max_examples=40)
@given(st.sampled_from(SOME), symmetries, st.data())
def test_a_real_task_is_found_under_any_symmetry(task: Task, symmetry: Symmetry, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(task.demonstrations))))
    other = transformed(task, symmetry, order, data.draw(st.integers(0, 9)))
    (found,) = shared(SOME, [other])
    assert found.task == task.id
    assert found.whole
    assert str(found) == f"{task.id} is the same task as other"


@settings(max_examples=40)
@given(tasks(most=5, colors=4), symmetries)
def test_any_task_is_found_under_any_symmetry(task: Task, symmetry: Symmetry) -> None:
    assert shared([task], [transformed(task, symmetry, list(range(len(task.demonstrations))))])


def test_the_leaks_of_arc() -> None:
    training, evaluation = load_tasks("arc-agi-1/training"), load_tasks("arc-agi-1/evaluation")
    assert [(found.task, found.other, found.whole) for found in shared(training, evaluation)] == [
        ("40853293", "070dd51e", True),
        ("caa06a1f", "50a16a69", False),
    ]
    later = shared(load_tasks("arc-agi-2/training"), evaluation)
    assert len({found.other for found in later}) == 376
    assert {found.other for found in later} <= {found.task for found in later} | {"50a16a69"}


def test_different_tasks_share_nothing() -> None:
    assert shared(SOME[:15], SOME[15:]) == []


def pair(*values: int) -> Pair:
    return Pair(make_grid([list(values)]), make_grid([list(values[::-1])]))


def test_an_answer_among_demonstrations_is_a_leak_and_other_common_pairs_are_not() -> None:
    task = Task("solve", (pair(1, 2, 3), pair(4, 4, 5)), (pair(6, 7, 7, 8),))
    tells = Task("tells", (pair(1, 1), pair(9, 3, 3, 2)), (pair(5),))
    harmless = Task("harmless", (pair(7, 8, 9), pair(1, 1, 1)), (pair(2),))
    assert [str(leak) for leak in leaks(Corpus(solve=(task,), study=(tells, harmless)))] == [
        "tells has 1 pair of solve, including 1 of its test outputs"
    ]
    turned = Task("turned", (pair(6, 7, 7, 8), pair(2, 2)), (pair(5),))
    assert [leak.task for leak in leaks(Corpus(solve=(task, tells, turned)))] == ["turned"], "cell by cell"
    assert leaks(Corpus(solve=(task, harmless))) == ()


def test_a_tasks_own_demonstrations_are_not_a_leak() -> None:
    assert leaks(Corpus(solve=(Task("same", (pair(1, 2),), (pair(1, 2),)),))) == ()


def test_without_known_answers_the_demonstrations_are_compared() -> None:
    blind = replace(SOME[0], id="blind").blind()
    (found,) = shared([SOME[0]], [blind])
    assert (found.pairs, found.answers, found.unanswered) == (len(blind.demonstrations), 0, True)


def test_a_study_task_with_all_demonstrations_of_an_unanswered_task_is_a_leak() -> None:
    # As in a competition whose answers are published later: one evaluation task is also a training task.
    solve = tuple(task.blind() for task in load_tasks("arc-agi-1/evaluation"))
    found = leaks(Corpus(solve=solve, study=load_tasks("arc-agi-1/training")))
    assert [str(leak) for leak in found] == [
        "40853293 has every demonstration of 070dd51e, and may have its unknown test outputs"
    ]


def test_training_with_a_leak_needs_allow_leak(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks")
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "copy.json").write_text((tasks / "flip1.json").read_text())
    flags = ["--data.study", f"['{tmp_path / 'given'}']"]
    recipe = tiny_recipe(tasks, "grid-hrm", *flags)
    with pytest.raises(UserError, match=r"data.study: answers what is to be solved: copy .*--allow-leak"):
        load_corpus(recipe)
    allowed = tiny_recipe(tasks, "grid-hrm", *flags, "--data.allow_leak", "true")
    trainer = Trainer(allowed, root=tmp_path / "runs")
    trainer.fit()
    folder, _ = find_checkpoint(trainer.folder.path)
    assert any("copy" in leak for leak in read_card(folder).leaks)


def test_many_pairs_of_equal_color_counts_are_compared_by_a_key() -> None:
    # Four hundred orders of the same colors on each side, one of them common, turned and in other colors.
    random = np.random.default_rng(0)
    drawn = [random.permutation(np.arange(100) % 10).reshape(10, 10) for _ in range(799)]
    one = [Pair(make_grid(grid), make_grid(grid)) for grid in drawn[:400]]
    turned = (np.rot90(drawn[7]) + 3) % 10
    other = [Pair(make_grid(grid), make_grid(grid)) for grid in [turned, *drawn[400:]]]
    (found,) = shared([Task("one", tuple(one[1:]), (one[0],))], [Task("other", tuple(other[1:]), (other[0],))])
    assert (found.pairs, found.answers, found.whole) == (1, 1, False)


@settings(max_examples=50)
@given(grids(3, 3), grids(3, 3), st.integers(0, 7), st.permutations(range(10)))
def test_the_key_of_a_pair_is_that_of_its_images_alone(
    one: Grid, other: Grid, dihedral: int, colors: list[int]
) -> None:
    image = make_grid(np.array(colors)[turn(one, dihedral)])
    assert canonical((one,)) == canonical((image,))
    same = any(any(True for _ in found) for _, found in mappings([(one,)], [(other,)], black_stays=False))
    assert (canonical((one,)) == canonical((other,))) == same
