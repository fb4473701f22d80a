from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from hrm_arc.errors import UserError
from hrm_arc.puzzles.canvas import visible_canvas
from hrm_arc.puzzles.check import check
from hrm_arc.puzzles.selection import at_most, keeps_size, smallest
from hrm_arc.puzzles.sources import SOURCES, find_task, load_corpus, load_tasks, make_corpus, register_source
from hrm_arc.puzzles.task import Pair, Task, make_grid

TASK = {"train": [{"input": [[1]], "output": [[2]]}], "test": [{"input": [[3]], "output": [[4]]}]}


def write(path: Path, data: object = TASK) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
    return path


@pytest.mark.parametrize(
    ("source", "tasks", "outputs"),
    [
        ("arc-agi-1/training", 400, 416),
        ("arc-agi-1/evaluation", 400, 419),
        ("arc-agi-1", 800, 835),
        ("arc-agi-2/training", 1000, 1076),
        ("arc-agi-2/evaluation", 120, 167),
    ],
)
def test_built_in_sources(source: str, tasks: int, outputs: int) -> None:
    loaded = load_tasks(source)
    assert (len(loaded), sum(len(task.tests) for task in loaded)) == (tasks, outputs)


def test_a_file_and_a_folder(tmp_path: Path) -> None:
    path = write(tmp_path / "tasks" / "b.json")
    write(tmp_path / "tasks" / "a.json")
    assert [task.id for task in load_tasks(str(tmp_path / "tasks"))] == ["a", "b"]
    (task,) = load_tasks(str(path))
    assert task.id == "b"
    assert find_task(str(path)).tests[0].input.tolist() == [[3]]


def test_a_folder_of_folders_keeps_their_names_as_groups(tmp_path: Path) -> None:
    for name in ("Center/Center1", "Center/Center2", "Copy/Copy1"):
        write(tmp_path / f"{name}.json")
    loaded = load_tasks(str(tmp_path))
    assert [(task.group, task.id) for task in loaded] == [
        ("Center", "Center1"),
        ("Center", "Center2"),
        ("Copy", "Copy1"),
    ]


def test_conceptarc_has_sixteen_concepts(concept_arc: Path) -> None:
    loaded = load_tasks(str(concept_arc))
    assert len(loaded) == 160
    assert len({task.group for task in loaded}) == 16


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("arc-agi-3", "arc-agi-3: no such source or path"),
        ("arc-agi-1/test", "arc-agi-1/test: no split 'test'"),
        ("no/such/folder", "no/such/folder: no such source or path"),
        ("~nobody/tasks", "~nobody/tasks: no such source or path"),
        ('{"train": [' + "1" * 300, '{"train": [111'),
    ],
)
def test_an_unknown_source_gets_a_list_of_sources(source: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_tasks(source)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not JSON: "),
        (b"\xff\xfe{}", "is not UTF-8 text"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"train": [{"input": [[' + b"9" * 5000 + b"]]}]}", "a number of thousands of digits"),
        (b"[]", "expected an object"),
        (b"", "not JSON: "),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        load_tasks(str(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_an_empty_folder_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no tasks here"):
        load_tasks(str(tmp_path))


def test_find_task_by_name() -> None:
    assert find_task("0d3d703e").demonstrations[0].input.tolist() == [[3, 1, 2]] * 3
    with pytest.raises(UserError, match="nosuch: no such source or path"):
        find_task("nosuch")


def test_a_corpus_studies_training_and_solves_evaluation(tmp_path: Path) -> None:
    corpus = load_corpus(["arc-agi-1"])
    assert (len(corpus.study), len(corpus.solve)) == (400, 400)
    assert corpus.solve[0].id in {task.id for task in load_tasks("arc-agi-1/evaluation")}
    alone = load_corpus(["arc-agi-1/training"])
    assert (len(alone.study), len(alone.solve)) == (0, 400)
    folder = write(tmp_path / "mine.json").parent
    extended = load_corpus(["arc-agi-1"], [str(folder)])
    assert (len(extended.study), len(extended.solve)) == (401, 400)


def test_a_folder_does_not_change_what_a_built_in_name_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "arc-agi-1").mkdir()
    monkeypatch.chdir(tmp_path)
    corpus = load_corpus(["arc-agi-1"])
    assert (len(corpus.solve), len(corpus.study)) == (400, 400)


def test_a_source_cannot_be_both_solved_and_studied() -> None:
    with pytest.raises(UserError, match="in both the solve and the study sources"):
        make_corpus(["arc-agi-1/training"], ["arc-agi-1/training"])


def test_the_same_task_twice_is_refused(tmp_path: Path) -> None:
    one, two = write(tmp_path / "a" / "x.json").parent, write(tmp_path / "b" / "x.json").parent
    with pytest.raises(UserError, match="has task x a second time"):
        make_corpus([str(one), str(two)])


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("a/x", "b/x", "b/y"):
        write(tmp_path / f"{name}.json")
    with pytest.raises(UserError, match="has task x more than once"):
        load_tasks(str(tmp_path))


@pytest.mark.parametrize("source", ["arc-agi-1:5", "arc-agi-1/training:5", "0d3d703e:3"])
def test_only_boards_are_counted(source: str) -> None:
    with pytest.raises(UserError, match="a count is for the boards of a game"):
        load_tasks(source)


def test_a_submission_is_not_read_as_a_task(tmp_path: Path) -> None:
    write(tmp_path / "x.json")
    write(tmp_path / "submission.json", {"x": [{"attempt_1": [[1]], "attempt_2": [[2]]}]})
    assert [task.id for task in load_tasks(str(tmp_path))] == ["x"]


def test_tasks_of_other_sources_can_be_left_out() -> None:
    new = make_corpus(["arc-agi-2/training"], exclude=["arc-agi-1"]).solve
    # Of ARC-AGI-2's 1,000 training tasks 233 are not among ARC-AGI-1's 800.
    assert len(new) == 233
    assert not {task.id for task in new} & {task.id for task in load_tasks("arc-agi-1")}
    with pytest.raises(UserError, match="has no task to solve"):
        make_corpus(["arc-agi-1/training"], exclude=["arc-agi-1"])
    with pytest.raises(UserError, match="has no task to solve"):
        make_corpus(["arc-agi-1/training"], ["arc-agi-1/evaluation"], exclude=["arc-agi-1/training"])
    with pytest.raises(UserError, match=r"data\.solve: has no task to solve"):
        make_corpus([])


def test_the_smallest_tasks_are_chosen_without_their_answers() -> None:
    tasks = load_tasks("arc-agi-1/training")
    chosen = smallest(tasks, 12)
    assert len(chosen) == 12
    assert all(keeps_size(task) for task in chosen)
    largest = max((visible_canvas(task).cells, task.id) for task in chosen)
    left_out = [t for t in tasks if keeps_size(t) and t not in chosen]
    assert all((visible_canvas(task).cells, task.id) > largest for task in left_out)
    huge = make_grid([[5] * 30] * 30)
    changed = [replace(t, tests=tuple(Pair(p.input, huge) for p in t.tests)) for t in tasks]
    assert [task.id for task in smallest(changed, 12)] == [task.id for task in chosen]
    with pytest.raises(UserError, match="requests 1000 tasks"):
        smallest(tasks, 1000)
    few = at_most(tasks, 100)
    assert [t.id for t in few] == [t.id for t in tasks if visible_canvas(t).cells <= 100]
    assert [task.id for task in at_most(changed, 100)] == [task.id for task in few]
    with pytest.raises(UserError, match=f"has {min(visible_canvas(t).cells for t in tasks)} cells"):
        at_most(tasks, 3)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registrations that end with the test."""
    monkeypatch.setattr(SOURCES, "_known", dict(SOURCES._known))


def made(name: str) -> Task:
    return Task.from_lists(name, train=[([[1]], [[2]])], test=[([[3]], None)])


def test_a_registered_source(registry: None) -> None:
    register_source("mine", lambda rest: [made(f"task {rest}")])
    for source, rest in (("mine", ""), ("mine:9", "9"), ("mine/training", "training"), ("mine:a/b:2", "a/b:2")):
        assert [task.id for task in load_tasks(source)] == [f"task {rest}"]
    corpus = load_corpus(["mine/evaluation", "mine/training"])
    assert [task.id for task in corpus.solve] == ["task evaluation"]
    assert [task.id for task in corpus.study] == ["task training"]
    assert [task.id for task in check(["mine:1"]).tasks] == ["task 1"]
    with pytest.raises(UserError, match="sources are arc-agi-1, arc-agi-2, re-arc, mine, "):
        load_tasks("mines")


def test_a_registered_source_precedes_a_path(registry: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "mine" / "x.json")
    monkeypatch.chdir(tmp_path)
    assert [task.id for task in load_tasks("mine")] == ["x"]
    register_source("mine", lambda rest: [made("registered")])
    for source in ("mine", "mine/x.json"):
        assert [task.id for task in load_tasks(source)] == ["registered"]
    assert [task.id for task in load_corpus(["mine"]).solve] == ["registered"]
    assert [task.id for task in check(["mine"]).tasks] == ["registered"]


@pytest.mark.parametrize("name", ["", "a:b", "a/b", "arc-agi-1", "hub", "sudoku-4x4", "maze-9x9"])
def test_names_of_built_in_sources_cannot_be_registered(registry: None, name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a source"):
        register_source(name, lambda rest: [])


MODULE = """
from hrm_arc.errors import UserError
from hrm_arc.puzzles.task import Task

NUMBER = 3

def easy(rest):
    assert rest == ""
    return [Task.from_lists("easy", train=[([[1]], [[2]])], test=[([[3]], None)])]

def lazy(rest):
    yield from easy(rest)

def twice(rest):
    return easy(rest) * 2

def nothing(rest):
    return []

def forgets(rest):
    easy(rest)

def strings(rest):
    return ["easy"]

def fails(rest):
    raise KeyError("missing\\nkey")

def refuses(rest):
    raise UserError("my data", "is not here")

def takes_none():
    return easy("")
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with functions that give tasks, and with mistakes."""
    folder = tmp_path / "site" / "my_package_of_tasks"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "tasks.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return "my_package_of_tasks.tasks"


def test_a_function_is_a_source(package: str) -> None:
    for name in ("easy", "lazy"):
        (task,) = load_tasks(f"{package}:{name}")
        assert task.id == "easy"
    assert [task.id for task in make_corpus([f"{package}:easy"]).solve] == ["easy"]
    assert [task.id for task in check([f"{package}:easy"]).tasks] == ["easy"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nosuch", "the source my_package_of_tasks.tasks:nosuch is not importable here"),
        ("NUMBER", "refers to int, expected a function"),
        ("twice", "has task easy more than once"),
        ("nothing", "has no tasks"),
        ("forgets", "the function failed with TypeError: 'NoneType' object is not iterable"),
        ("strings", "the function returned str, expected hrm_arc.Task objects"),
        ("fails", "the function failed with KeyError: 'missing"),
        ("takes_none", "the function failed with TypeError: takes_none() takes 0 positional arguments"),
    ],
)
def test_mistakes_in_a_function_are_named(package: str, name: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_tasks(f"{package}:{name}")
    assert str(caught.value).startswith(f"{package}:{name}: {message}")
    assert "\n" not in str(caught.value)


def test_the_error_of_a_function_for_its_user_stays(package: str) -> None:
    with pytest.raises(UserError, match=r"^my data: is not here$"):
        load_tasks(f"{package}:refuses")


def test_a_missing_module_is_named() -> None:
    with pytest.raises(UserError, match="there is no module no_such_module_here"):
        load_tasks("no_such_module_here:load")


def test_a_file_with_the_name_of_a_function_is_the_file(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / f"{package}:easy").rename(tmp_path / "site" / f"{package}:easy")
    monkeypatch.chdir(tmp_path / "site")
    (task,) = load_tasks(f"{package}:easy")
    assert task.tests[0].input.tolist() == [[3]]
    assert task.id == Path(f"{package}:easy").stem


def test_a_game_and_a_download_are_not_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hub", ModuleType("hub"))
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert load_tasks("sudoku-4x4:5")[0].boards
    with pytest.raises(UserError, match="needs the hub extra"):
        load_tasks("hub:owner/load")
