"""Sources in the working directory, with a slash at the end, beside other files; and what a check says of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from hrm_arc.errors import UserError
from hrm_arc.puzzles.board_files import LARGEST_WHOLE
from hrm_arc.puzzles.boards import generate
from hrm_arc.puzzles.build import BuildConfig, build
from hrm_arc.puzzles.check import check
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.sources import load_corpus, load_tasks

PAIR = {"input": [[1]], "output": [[2]]}
TASK = {"train": [PAIR], "test": [PAIR]}
BOARDS = "question,answer\n" + "1234341221434321,1234341221434321\n" * 3


@pytest.fixture
def game(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "quiz"
    folder.mkdir()
    (folder / "train.csv").write_text(BOARDS)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("source", ["train.csv", "./train.csv", ".", "../quiz", "train.csv:2"])
def test_a_game_in_the_working_directory_has_its_name(game: Path, source: str) -> None:
    assert [task.id for task in load_tasks(source)] == ["quiz"]
    assert check([source]).problems == []


def test_a_published_game_in_the_working_directory_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(Corpus(solve=(generate("maze", 5, 20),)), BuildConfig((), augment=0), tmp_path / "mazes", workers=1)
    monkeypatch.chdir(tmp_path / "mazes")
    assert [task.id for task in load_tasks(".")] == ["mazes"]


def test_a_game_whose_folder_has_no_good_name_is_named_by_a_check_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / " "
    folder.mkdir()
    (folder / "train.csv").write_text(BOARDS)
    ((where, problem),) = check([str(folder)]).problems
    assert (where, str(problem)) == (folder / "train.csv", "an empty name, expected a name for each task")


def test_files_beside_a_game_are_not_left_out_in_silence(game: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a", "b", "c"):
        (game / f"{name}.json").write_text(json.dumps(TASK))
    assert [task.id for task in load_tasks(str(game))] == ["quiz"]
    assert "a.json (and 2 more) beside it are left out" in caplog.text


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_slash_at_the_end_changes_nothing(tmp_path: Path, slash: str) -> None:
    for split, name in (("training", "x"), ("evaluation", "y")):
        (tmp_path / f"arc-agi_{split}_challenges.json").write_text(json.dumps({name: TASK}))
    corpus = load_corpus([f"{tmp_path}/training{slash}", f"{tmp_path}/evaluation{slash}"])
    assert ([task.id for task in corpus.solve], [task.id for task in corpus.study]) == (["y"], ["x"])


def test_a_check_names_all_that_loading_refuses(tmp_path: Path) -> None:
    task = tmp_path / "one.json"
    task.write_text(json.dumps(TASK))
    answers = tmp_path / "answers" / "arc_training_solutions.json"
    answers.parent.mkdir()
    answers.write_text(json.dumps({"a": [[[1]]]}))
    for source, said in ((f"{task}:5", "a count is for the boards of a game"), (str(answers.parent), "no tasks here")):
        with pytest.raises(UserError, match=said):
            load_tasks(source)
        (problem,) = [str(problem) for _, problem in check([source]).problems]
        assert said in problem


def test_a_file_that_no_memory_holds_is_refused_at_once(tmp_path: Path) -> None:
    file = tmp_path / "train.csv"
    file.write_text(BOARDS)
    # A file with a hole takes no space.
    os.truncate(file, LARGEST_WHOLE + 1)
    with pytest.raises(UserError, match=r"larger than 2 GiB; put a number of boards behind the source, such as :1000$"):
        load_tasks(str(file))
    assert len(load_tasks(f"{file}:2")[0].demonstrations) == 1
    # Beside a small train.csv the number of a large test.csv is the second one.
    file.write_text(BOARDS)
    tests = tmp_path / "test.csv"
    tests.write_text(BOARDS)
    os.truncate(tests, LARGEST_WHOLE + 1)
    with pytest.raises(UserError, match=r"test\.csv: .*such as :1000:500, where the second one is of test\.csv"):
        load_tasks(str(file))
    assert len(load_tasks(f"{file}:2:1")[0].tests) == 1
