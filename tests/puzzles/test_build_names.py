"""Identifiers in a build, what it refuses, and what its folder gives back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hrm_arc.errors import UserError
from hrm_arc.puzzles.build import BuildConfig, build
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.sources import load_corpus, load_tasks, make_corpus
from hrm_arc.puzzles.task import Pair, Task, make_grid


def task(name: str, demonstrations: int, colors: int = 2) -> Task:
    """A task whose demonstrations swap two cells, with test output 7 8."""
    pairs = [Pair(make_grid([[1, 1 + n % colors, n]]), make_grid([[n, 1 + n % colors, 1]])) for n in range(2, 7)]
    return Task(name, tuple(pairs[:demonstrations]), (Pair(make_grid([[9, 8]]), make_grid([[7, 8]])),))


def written(tmp_path: Path, corpus: Corpus, **settings: Any) -> tuple[list[str], dict[str, np.ndarray]]:
    """The names of a build's identifiers, and the identifier of each puzzle of a split."""
    out = tmp_path / "set"
    build(corpus, BuildConfig((), **settings), out, workers=1)
    names = json.loads((out / "identifiers.json").read_text())
    splits = [split for split in ("train", "test") if (out / split).is_dir()]
    return names, {split: np.load(out / split / "all__puzzle_identifiers.npy") for split in splits}


@pytest.mark.parametrize("augment", [3, 5000])
def test_a_task_on_both_sides_has_identifiers_of_its_own(augment: int, tmp_path: Path) -> None:
    flip = task("flip", 2)
    corpus = Corpus(solve=(flip, task("last", 3)), study=(task("flip", 4, colors=5), task("other", 1)))
    names, ids = written(tmp_path, corpus, augment=augment)
    assert sorted(ids["train"]) == list(range(1, len(names)))
    assert {names[each].partition("|||")[0] for each in ids["test"]} == {"flip", "last"}
    # Those of the task to solve, which come first, and not those of its other version.
    solved = ids["test"][: len(ids["test"]) // 2]
    assert (solved < names.index("last")).all()


@pytest.mark.parametrize("side", ["solve", "study"])
def test_tasks_and_games_are_not_written_into_one_folder(side: str, tmp_path: Path) -> None:
    sides = {"solve": (task("mine", 2),), "study": ()}
    sides[side] = (*sides[side], *load_tasks("maze-5x5:20"))
    with pytest.raises(UserError, match="tasks and games together; write each into a folder of its own"):
        written(tmp_path, Corpus(**sides), augment=0)
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("name", ["a|||1", "a|||t3|||0213456789", "a_t3_0213456789"])
def test_a_name_of_a_variant_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is the name of a variant in the published sets"):
        written(tmp_path, Corpus(solve=(task(name, 2),)), augment=1)
    assert not (tmp_path / "set").exists()


def test_a_maze_as_large_as_any_canvas_has_the_published_tokens(tmp_path: Path) -> None:
    maze = Corpus(solve=load_tasks("maze-30x30:2"))
    written(tmp_path, maze, augment=0)
    card = json.loads((tmp_path / "set" / "train" / "dataset.json").read_text())
    assert (card["seq_len"], card["vocab_size"]) == (900, 6)
    assert np.load(tmp_path / "set" / "train" / "all__labels.npy").max() <= 5


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("maze", ["maze-5x5:3", "maze-30x30:2"])
def test_variants_of_a_maze_are_refused_whatever_they_are(maze: str, seed: int, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--augment: variants permute colors"):
        written(tmp_path, Corpus(solve=load_tasks(maze)), augment=1, seed=seed)


def test_a_pair_that_is_alone_is_never_scored(tmp_path: Path) -> None:
    lone = Task("lone", task("lone", 1).demonstrations, (Pair(make_grid([[3, 4]]), None),))
    written(tmp_path, Corpus(study=(lone, task("two", 2))), augment=1)
    corpus = load_corpus([str(tmp_path / "set")])
    read = {each.id: each for each in corpus.solve}
    assert len(read["lone"].demonstrations) == 1
    assert [test.output for test in read["lone"].tests] == [None]
    assert [puzzle.id for puzzle in corpus.held_out_puzzles()] == ["two"]
    # To study, it is what it was.
    studied = make_corpus(solve=["0d3d703e"], study=[f"{tmp_path / 'set'}/training"])
    assert {puzzle.id: len(puzzle.drawn) for puzzle in studied.training_puzzles()} == {
        "0d3d703e": 4,
        "lone": 1,
        "two": 3,
    }


def test_rows_in_test_alone_are_named(tmp_path: Path) -> None:
    written(tmp_path, Corpus(solve=(task("x", 2), task("y", 2))), augment=0)
    names = tmp_path / "set" / "identifiers.json"
    names.write_text(names.read_text().replace('"y"]', '"y", "z"]'))
    ids = np.load(tmp_path / "set" / "test" / "all__puzzle_identifiers.npy")
    np.save(tmp_path / "set" / "test" / "all__puzzle_identifiers.npy", np.where(ids == 2, 3, ids).astype(np.int32))
    card = tmp_path / "set" / "test" / "dataset.json"
    card.write_text(card.read_text().replace('"num_puzzle_identifiers": 3', '"num_puzzle_identifiers": 4'))
    with pytest.raises(UserError, match="set/test: has rows of z, which has none in train"):
        load_tasks(str(tmp_path / "set"))


def test_a_build_that_was_killed_at_its_first_write_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "set"
    out.mkdir()
    left = out / f".build.json.{'0' * 8}-1-{'a' * 16}.tmp"
    left.write_text("{")
    names, _ = written(tmp_path, Corpus(solve=(task("x", 2),)), augment=0)
    assert names == ["<blank>", "x"]
    other = tmp_path / "other"
    other.mkdir()
    (other / ".hidden").write_text("mine")
    with pytest.raises(UserError, match="is not empty"):
        build(Corpus(solve=(task("x", 2),)), BuildConfig((), augment=0), other, workers=1)
