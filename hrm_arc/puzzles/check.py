"""Finds every problem in puzzle files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hrm_arc.errors import UserError
from hrm_arc.puzzles.arrays import is_array_folder, read_array_folder
from hrm_arc.puzzles.board_files import ALL, Counts
from hrm_arc.puzzles.formats import examine_file
from hrm_arc.puzzles.listing import SUFFIXES, Listing, list_folder, second_file
from hrm_arc.puzzles.paths import located_counted, puzzle_files
from hrm_arc.puzzles.sources import COUNT_OF_TASKS, is_registered, load_tasks
from hrm_arc.puzzles.task import Problem, Task


@dataclass
class Checked:
    """The result of a check.

    Attributes:
        files: the number of files that were read.
        tasks: the tasks without a problem, also those of files that are no part of the source.
        in_source: the number of tasks that training would take from the same path or source.
        problems: every problem, with the file that it is in; and answers missing from a solutions file, which
            do not stop a run.
    """

    files: int = 0
    tasks: list[Task] = field(default_factory=list)
    in_source: int = 0
    problems: list[tuple[Path, Problem]] = field(default_factory=list)

    def add(self, tasks: Sequence[Task]) -> None:
        """Add tasks of the source."""
        self.tasks += tasks
        self.in_source += len(tasks)


def check(paths: Sequence[str]) -> Checked:
    """Check files, all puzzle files in folders, and sources by name.

    Args:
        paths: paths, or sources as for :func:`~hrm_arc.puzzles.sources.load_tasks`.

    Raises:
        UserError: a path does not exist and is not a source, or a folder has no puzzle files.
    """
    found = Checked()
    for name in paths:
        place = None if is_registered(name) else located_counted(name)
        if place is None:
            found.add(load_tasks(name))
        elif place[0].is_dir() and is_array_folder(place[0]):
            _check_arrays(found, *place)
        else:
            _check_files(found, *place)
    return found


def _check_files(found: Checked, path: Path, split: str, counts: Counts) -> None:
    listing = list_folder(path) if path.is_dir() and not split else Listing()
    found.problems += listing.problems
    # `together` are the files of one source, as training reads them. Kaggle's folder has further files, whose tasks
    # may repeat.
    together = [] if listing.problems else [file for file, _ in puzzle_files(path, split)]
    files = [*together, *(file for file in listing.files if file not in set(together))]
    if not files and not listing.problems:
        raise UserError(path, f"no puzzle files here, expected {' or '.join(SUFFIXES)}")
    here: dict[str, Path] = {}
    own: list[Task] = []
    for number, file in enumerate(files):
        found.files += 1 if second_file(file) is None else 2
        examined = examine_file(file, counts=counts if number < len(together) else ALL)
        found.problems += examined.problems + examined.gaps
        if number >= len(together):
            found.tasks += examined.tasks
            continue
        found.add(examined.tasks)
        own += examined.tasks
        for task in examined.tasks:
            if task.id in here:
                what = f"task {task.id} is also in {here[task.id]}; ids have to differ"
                found.problems.append((file, Problem("", what)))
            here.setdefault(task.id, file)
    # Loading refuses these, too, although every file is valid.
    if counts != ALL and own and not own[0].boards:
        found.problems.append((path, Problem("", COUNT_OF_TASKS)))
    if not found.problems and not own:
        found.problems.append((path, Problem("", "no tasks here, expected puzzle files or a folder of them")))


def _check_arrays(found: Checked, path: Path, split: str, counts: Counts) -> None:
    found.files += len(list(path.rglob("*.npy")))
    try:
        tasks = read_array_folder(path, split, counts)
    except UserError as error:
        found.problems.append((Path(error.where), Problem("", error.what)))
        return
    found.add(tasks)
    if not tasks:
        found.problems.append((path, Problem("", f"no {split} tasks here" if split else "no tasks here")))
    elif counts != ALL and not tasks[0].boards:
        found.problems.append((path, Problem("", COUNT_OF_TASKS)))
