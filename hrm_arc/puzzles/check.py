"""Finds every problem in puzzle files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hrm_arc.errors import UserError
from hrm_arc.files import existing
from hrm_arc.puzzles.arrays import is_array_folder, read_array_folder
from hrm_arc.puzzles.formats import SUFFIXES, examine_file, puzzle_files, solutions_beside
from hrm_arc.puzzles.sources import is_registered, load_tasks
from hrm_arc.puzzles.task import Problem, Task


@dataclass
class Checked:
    """The result of a check.

    Attributes:
        files: the number of files that were read.
        tasks: the tasks without a problem.
        problems: every problem, with the file that it is in.
    """

    files: int = 0
    tasks: list[Task] = field(default_factory=list)
    problems: list[tuple[Path, Problem]] = field(default_factory=list)


def check(paths: Sequence[str]) -> Checked:
    """Check files, all puzzle files in folders, and sources by name.

    Args:
        paths: paths, or sources as for :func:`~hrm_arc.puzzles.sources.load_tasks`.

    Raises:
        UserError: a path does not exist and is not a source, or a folder has no puzzle files.
    """
    found = Checked()
    for name in paths:
        path = None if is_registered(name) else existing(name)
        if path is None:
            found.tasks += load_tasks(name)
        elif path.is_dir() and is_array_folder(path):
            _check_arrays(found, path)
        elif not path.is_file() and not path.is_dir():
            raise UserError(path, "is not a regular file, expected a puzzle file or a folder")
        else:
            _check_files(found, path)
    return found


def _check_files(found: Checked, path: Path) -> None:
    files = [path] if path.is_file() else puzzle_files(path)
    if not files:
        raise UserError(path, f"no puzzle files here, expected {' or '.join(SUFFIXES)}")
    here: dict[str, Path] = {}
    for file in files:
        # A solutions file is read together with its challenges file.
        found.files += 1 if solutions_beside(file) is None else 2
        examined = examine_file(file)
        found.tasks += examined.tasks
        found.problems += examined.problems
        for task in examined.tasks:
            if task.id in here:
                found.problems.append(
                    (file, Problem("", f"task {task.id} is also in {here[task.id]}; ids have to differ"))
                )
            here.setdefault(task.id, file)


def _check_arrays(found: Checked, path: Path) -> None:
    found.files += len(list(path.rglob("*.npy")))
    try:
        found.tasks += read_array_folder(path)
    except UserError as error:
        found.problems.append((Path(error.where), Problem("", error.what)))
