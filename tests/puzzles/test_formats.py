from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hrm_arc.errors import UserError
from hrm_arc.puzzles.check import check
from hrm_arc.puzzles.sources import load_corpus, load_tasks


def task(number: int, answered: bool = True) -> dict[str, Any]:
    test: dict[str, Any] = {"input": [[number, 3]]}
    if answered:
        test["output"] = [[number]]
    return {"train": [{"input": [[1, 2]], "output": [[number]]}], "test": [test]}


def write(path: Path, data: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
    return path


def kaggle(folder: Path, split: str, names: list[str], dash: str = "_", stem: str = "arc-agi") -> Path:
    solutions = {name: [[[number]]] for number, name in enumerate(names)}
    write(folder / f"{stem}_{split}{dash}solutions.json", solutions)
    challenges = {name: task(number, answered=False) for number, name in enumerate(names)}
    return write(folder / f"{stem}_{split}{dash}challenges.json", challenges)


def answers(source: str) -> dict[str, list[list[int]] | None]:
    return {t.id: None if t.tests[0].output is None else t.tests[0].output.tolist() for t in load_tasks(source)}


@pytest.mark.parametrize("dash", ["_", "-"])
def test_kaggle_challenges_find_their_solutions(tmp_path: Path, dash: str) -> None:
    path = kaggle(tmp_path, "evaluation", ["a", "b"], dash)
    assert answers(str(path)) == {"a": [[0]], "b": [[1]]}


def test_solutions_may_be_spelled_the_other_way(tmp_path: Path) -> None:
    path = kaggle(tmp_path, "evaluation", ["a"])
    (tmp_path / "arc-agi_evaluation_solutions.json").rename(tmp_path / "arc-agi_evaluation-solutions.json")
    assert answers(str(path)) == {"a": [[0]]}


def test_challenges_without_solutions_have_no_answers(tmp_path: Path) -> None:
    path = write(tmp_path / "arc-agi_test_challenges.json", {"a": task(1, answered=False)})
    assert answers(str(path)) == {"a": None}


def test_kaggles_folder_has_splits(tmp_path: Path) -> None:
    kaggle(tmp_path, "training", ["t1", "t2"])
    kaggle(tmp_path, "evaluation", ["e1"])
    write(tmp_path / "arc-agi_test_challenges.json", {"x": task(1, answered=False)})
    write(tmp_path / "sample_submission.json", {"x": [{"attempt_1": [[0]], "attempt_2": [[0]]}]})
    assert list(answers(str(tmp_path))) == ["t1", "t2", "e1"]
    assert list(answers(f"{tmp_path}/training")) == ["t1", "t2"]
    assert list(answers(f"{tmp_path}/test")) == ["x"]
    corpus = load_corpus([str(tmp_path)])
    assert [t.id for t in corpus.solve] == ["e1"]
    assert [t.id for t in corpus.study] == ["t1", "t2"]
    assert not check([str(tmp_path)]).problems


def test_tasks_in_one_file(tmp_path: Path) -> None:
    assert answers(str(write(tmp_path / "named.json", {"a": task(1), "b": task(2)}))) == {"a": [[1]], "b": [[2]]}
    listed = write(tmp_path / "listed.json", [{**task(1), "id": "one"}, task(2)])
    assert answers(str(listed)) == {"one": [[1]], "listed-1": [[2]]}


def test_a_count_is_for_boards(tmp_path: Path) -> None:
    path = write(tmp_path / "named.json", {"a": task(1)})
    with pytest.raises(UserError, match="a count is for the boards of a game"):
        load_tasks(f"{path}:3")
    with pytest.raises(UserError, match="0 boards"):
        load_tasks("sudoku-4x4:0")


def lines(path: Path) -> list[str]:
    return [f"{Path(file).name}: {problem}" for file, problem in check([str(path)]).problems]


def test_every_problem_has_a_line_with_its_place(tmp_path: Path) -> None:
    write(tmp_path / "good.json", task(1))
    write(tmp_path / "one.json", {"train": [{"input": [[1, 10, -1]], "output": [[1], [1, 2]]}], "test": []})
    write(tmp_path / "many.json", {"a": task(1), "b": {"train": 3, "test": [{"input": [["x"]]}]}})
    (tmp_path / "broken.json").write_text('{"train": [,]}')
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    assert lines(tmp_path) == [
        "broken.json: not JSON: Expecting value at line 1, column 12",
        "many.json: b.train: expected a list of pairs, got a number",
        "many.json: b.test[0].input[0][0]: expected a color 0 to 9, got text",
        "one.json: train[0].input[0][1]: color 10, expected 0 to 9",
        "one.json: train[0].input[0][2]: color -1, expected 0 to 9",
        "one.json: train[0].output[1]: ragged: 2 columns, the first row has 1",
        "one.json: test: empty: a task needs at least one test pair",
    ]
    found = check([str(tmp_path)])
    assert found.files == 4
    assert {t.id for t in found.tasks} == {"good", "a"}
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_wrong_solutions_are_named_in_their_own_file(tmp_path: Path) -> None:
    kaggle(tmp_path, "evaluation", ["a", "b", "c"])
    write(tmp_path / "arc-agi_evaluation_solutions.json", {"a": [[[11]]], "b": [], "c": 5})
    assert lines(tmp_path) == [
        "arc-agi_evaluation_solutions.json: a[0][0][0]: color 11, expected 0 to 9",
        "arc-agi_evaluation_solutions.json: b: 0 grids, expected a list of 1, one grid for each test",
        "arc-agi_evaluation_solutions.json: c: not a list, expected a list of 1, one grid for each test",
    ]
    (tmp_path / "arc-agi_evaluation_solutions.json").write_text("{")
    assert lines(tmp_path)[0].startswith("arc-agi_evaluation_solutions.json: not JSON")


def test_solutions_alone_are_checked_too(tmp_path: Path) -> None:
    path = write(tmp_path / "my_solutions.json", {"a": [[[1]], [[12]]]})
    assert lines(path) == ["my_solutions.json: a[1][0][0]: color 12, expected 0 to 9"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"train": [], "train": [], "test": []}', "key 'train' appears twice"),
        (b'{"train": [{"input": [[NaN]], "output": [[1]]}], "test": [{"input": [[1]]}]}', "got a decimal number"),
        (b'{"train": [{"input": [[1e999]], "output": [[1]]}], "test": [{"input": [[1]]}]}', "got a decimal number"),
        (b"[" * 10_000_000, "nested too deeply"),
        (b"[" + b"[]," * 3_000_000 + b"[]]", "more than 1000 problems"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_malformed_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    assert message in lines(path)[-1]


def test_a_missing_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no puzzle files here"):
        check([str(tmp_path)])
    with pytest.raises(UserError, match="no such source or path"):
        check([str(tmp_path / "missing")])
