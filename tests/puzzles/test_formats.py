from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from hrm_arc.errors import UserError
from hrm_arc.puzzles.check import check
from hrm_arc.puzzles.sources import load_corpus, load_tasks
from hrm_arc.puzzles.task import Task


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


def test_a_checked_folder_is_one_that_can_be_loaded(tmp_path: Path) -> None:
    kaggle(tmp_path, "training", ["t1", "t2"])
    kaggle(tmp_path, "evaluation", ["e1"])
    # As in Kaggle's folder, the tasks of the test are some of the others.
    write(tmp_path / "arc-agi_test_challenges.json", {name: task(1, answered=False) for name in ("t1", "e1")})
    found = check([str(tmp_path)])
    assert (found.files, found.problems) == (5, [])
    assert len(load_tasks(str(tmp_path))) == 3
    kaggle(tmp_path, "training", ["t1", "e1"])
    assert [problem.what.split(" is also")[0] for _, problem in check([str(tmp_path)]).problems] == ["task e1"]
    with pytest.raises(UserError, match="has task e1 more than once"):
        load_tasks(str(tmp_path))


def test_a_missing_solution_is_named_and_does_not_stop_a_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kaggle(tmp_path, "evaluation", ["a", "b", "c"])
    solutions = write(tmp_path / "arc-agi_evaluation_solutions.json", {"a": [[[1]]]})
    whats = [f"no solution of task {name}, so it has no known answer" for name in ("b", "c")]
    for source in (str(tmp_path), f"{tmp_path}/evaluation"):
        found = check([source])
        assert [(file, problem.what) for file, problem in found.problems] == [(solutions, what) for what in whats]
        assert len(found.tasks) == 3
    with caplog.at_level("WARNING", "hrm_arc"):
        assert answers(f"{tmp_path}/evaluation") == {"a": [[1]], "b": None, "c": None}
    assert caplog.messages == [f"{solutions}: {whats[0]} (and 1 more)"]
    # A task that has its answer already needs no solution.
    challenges = {"a": task(1, answered=False), "b": task(2), "c": task(3)}
    write(tmp_path / "arc-agi_evaluation_challenges.json", challenges)
    assert not check([str(tmp_path)]).problems


def test_a_repeated_key_is_found_in_linear_time(tmp_path: Path) -> None:
    path, seconds = tmp_path / "keys.json", []
    for count in (20_000, 300_000):
        path.write_text("{" + ",".join(f'"k{n}":1' for n in range(count)) + f',"k{count - 1}":1}}')
        started = time.process_time()
        assert lines(path) == [f"keys.json: key 'k{count - 1}' appears twice in one object, expected once"]
        seconds.append(time.process_time() - started)
    # Fifteen times as many keys; in quadratic time it would be 225 times as long.
    assert seconds[1] < 100 * seconds[0]


def test_reading_stops_at_a_thousand_problems(tmp_path: Path) -> None:
    pair = {"input": [[99] * 30] * 30, "output": [[99] * 30] * 30}
    write(tmp_path / "wrong.json", {"train": [pair] * 400, "test": [pair]})
    found = lines(tmp_path / "wrong.json")
    assert (len(found), found[-1]) == (1001, "wrong.json: more than 1000 problems; the rest is not listed")


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "marked.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(task(1)).encode())
    assert answers(str(path)) == {"marked": [[1]]}
    kaggle(tmp_path / "kaggle", "evaluation", ["a"])
    for file in (tmp_path / "kaggle").iterdir():
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert answers(str(tmp_path / "kaggle" / "evaluation")) == {"a": [[0]]}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("\ud800", "a name that is not valid Unicode text"),
        ("", "an empty name"),
        (" ", "an empty name"),
        ("x" * 5000, "a name of 5,000 characters, expected at most 255"),
    ],
)
def test_a_name_that_cannot_be_written_is_a_problem(tmp_path: Path, name: str, message: str) -> None:
    path = write(tmp_path / "named.json", {name: task(1), "good": task(2)})
    ((_, problem),) = check([str(path)]).problems
    assert message in problem.what
    with pytest.raises(UserError, match=message):
        load_tasks(str(path))
    with pytest.raises(UserError, match=message):
        Task.from_lists(name, [([[1]], [[1]])], [([[1]], None)])


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


def test_solutions_that_belong_to_other_challenges_are_named(tmp_path: Path) -> None:
    path = kaggle(tmp_path, "evaluation", ["a", "b"])
    write(path, {"a": task(0, answered=False)})
    line = f"arc-agi_evaluation_solutions.json: has solutions of tasks that are not in {path.name}: b"
    assert lines(tmp_path) == [line]
    assert list(answers(f"{tmp_path}/evaluation")) == ["a"]


def test_an_answer_in_both_files_has_to_be_the_same(tmp_path: Path) -> None:
    path = kaggle(tmp_path, "evaluation", ["a", "b"])
    write(path, {"a": task(0), "b": task(5)})
    assert lines(tmp_path) == [
        "arc-agi_evaluation_solutions.json: b[0]: differs from the output that the challenges file gives"
    ]
    with pytest.raises(UserError, match="differs from the output"):
        load_tasks(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "it is empty"),
        ("\n \n", "it is empty"),
        ('{"train": [\n', "it ends too early at line 2, column 1"),
        ('{"train": [', "it ends too early at line 1, column 12"),
        ('{"train" []}', "Expecting ':' delimiter at line 1, column 10"),
    ],
)
def test_what_is_no_json_says_why(tmp_path: Path, content: str, what: str) -> None:
    path = tmp_path / "mine.json"
    path.write_text(content)
    assert lines(path) == [f"mine.json: not JSON: {what}"]


def test_a_task_may_be_named_as_a_key_in_capitals(tmp_path: Path) -> None:
    write(tmp_path / "all.json", {"Test": task(1), "other": task(2)})
    assert answers(str(tmp_path / "all.json")) == {"Test": [[1]], "other": [[2]]}


def test_keys_in_capitals_are_named(tmp_path: Path) -> None:
    given = task(1)
    path = write(tmp_path / "mine.json", {"Train": given["train"], "test": given["test"]})
    assert lines(path) == ["mine.json: train: missing: found 'Train'; keys are in lower case"]
    write(path, {"TRAIN": given["train"], "Test": given["test"]})
    assert [line.rpartition(": ")[2] for line in lines(path)] == [
        "found 'TRAIN'; keys are in lower case",
        "found 'Test'; keys are in lower case",
    ]


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
        (b'{"a":' * 100_000, "nested too deeply"),
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
