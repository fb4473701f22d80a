"""What of a folder is read, what is left out, and that nothing is missing in silence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hrm_arc.errors import UserError
from hrm_arc.puzzles.check import check
from hrm_arc.puzzles.listing import list_folder
from hrm_arc.puzzles.sources import load_tasks

TASK = '{"train": [{"input": [[1]], "output": [[2]]}], "test": [{"input": [[3]], "output": [[4]]}]}'


def write(path: Path, text: str = TASK) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def names(folder: Path) -> list[str]:
    return [str(file.relative_to(folder)) for file in list_folder(folder).files]


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    for name in ("007.json", "sub/x.json"):
        write(tmp_path / name)
    for name in ("._007.json", ".ipynb_checkpoints/007-checkpoint.json", "__MACOSX/._007.json", ".git/a.csv"):
        write(tmp_path / name, "\0")
    assert names(tmp_path) == ["007.json", "sub/x.json"]
    assert [(task.id, task.group) for task in load_tasks(str(tmp_path))] == [("007", ""), ("x", "sub")]
    assert not check([str(tmp_path)]).problems
    # What is named is read.
    assert load_tasks(str(write(tmp_path / ".mine" / "y.json").parent))[0].id == "y"


def test_hidden_challenges_are_left_out(tmp_path: Path) -> None:
    write(tmp_path / "arc_training_challenges.json", f'{{"a": {TASK}}}')
    write(tmp_path / "._arc_training_challenges.json", "\0")
    assert [task.id for task in load_tasks(str(tmp_path))] == ["a"]


def test_a_link_to_a_folder_is_followed_once(tmp_path: Path) -> None:
    folder, other = tmp_path / "tasks", tmp_path / "other"
    write(folder / "zoo" / "a.json")
    write(other / "b.json")
    (folder / "linked").symlink_to("zoo")
    (folder / "outside").symlink_to(other)
    (other / "around").symlink_to(other)
    assert names(folder) == ["outside/b.json", "zoo/a.json"]
    assert [(task.id, task.group) for task in load_tasks(str(folder))] == [("b", "outside"), ("a", "zoo")]


def test_a_link_to_a_folder_around_is_a_problem(tmp_path: Path) -> None:
    write(tmp_path / "tasks" / "a.json")
    write(tmp_path / "private.json")
    (tmp_path / "tasks" / "up").symlink_to("..")
    ((where, problem),) = check([str(tmp_path / "tasks")]).problems
    assert where == tmp_path / "tasks" / "up"
    assert "contains this one" in problem.what
    with pytest.raises(UserError, match="up: is a link"):
        load_tasks(str(tmp_path / "tasks"))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("dangling", "is a link that leads nowhere"),
        ("loop", "cannot be read: Too many levels of symbolic links"),
        ("fifo", "is not a regular file"),
        ("device", "is not a regular file"),
    ],
)
@pytest.mark.parametrize("suffix", [".json", ".csv"])
def test_what_is_no_file_is_a_problem_and_not_missing(tmp_path: Path, kind: str, message: str, suffix: str) -> None:
    write(tmp_path / "a.json")
    path = tmp_path / f"b{suffix}"
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to({"dangling": "nowhere", "loop": path.name, "device": "/dev/zero"}[kind])
    ((where, problem),) = check([str(tmp_path)]).problems
    assert (where, problem.what) == (path, message)
    with pytest.raises(UserError) as caught:
        load_tasks(str(tmp_path))
    assert str(caught.value) == f"{path}: {message}"


@pytest.mark.parametrize("verb", [load_tasks, lambda source: check([source])])
def test_a_fifo_or_device_as_the_source_is_refused(tmp_path: Path, verb: object) -> None:
    os.mkfifo(tmp_path / "fifo.json")
    for path in (tmp_path / "fifo.json", Path("/dev/zero")):
        with pytest.raises(UserError, match="is not a regular file"):
            verb(str(path))  # type: ignore[operator]


def test_a_second_file_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    write(tmp_path / "k" / "arc_training_challenges.json", f'{{"a": {TASK}}}')
    (tmp_path / "k" / "arc_training_solutions.json").symlink_to("nowhere")
    write(tmp_path / "g" / "train.csv", "question,answer\n1234,1234\n2341,2341\n")
    (tmp_path / "g" / "test.csv").symlink_to("nowhere")
    for name in ("k/arc_training_solutions.json", "g/test.csv"):
        with pytest.raises(UserError) as caught:
            load_tasks(str((tmp_path / name).parent))
        assert str(caught.value) == f"{tmp_path / name}: is a link that leads nowhere"


def test_the_boards_of_a_test_file_are_no_game_of_their_own(tmp_path: Path) -> None:
    write(tmp_path / "game" / "train.csv", "question,answer\n1234,1234\n2341,2341\n")
    write(tmp_path / "game" / "test.csv", "question,answer\n3412,3412\n")
    for folder in (tmp_path, tmp_path / "game"):
        (task,) = load_tasks(str(folder))
        assert (task.id, len(task.demonstrations), len(task.tests)) == ("game", 2, 1)
        found = check([str(folder)])
        assert (found.files, len(found.tasks), found.problems) == (2, 1, [])
