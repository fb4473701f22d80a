"""Which files of a folder are puzzle files, and what of it cannot be read."""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from hrm_arc.puzzles.task import Problem

SUFFIXES = (".json", ".csv")
log = logging.getLogger(__name__)
# A folder with more entries, such as the root of a disk, is not a folder of tasks.
MOST_ENTRIES = 1_000_000


@dataclass
class Listing:
    """The puzzle files of a folder.

    Attributes:
        files: the puzzle files, sorted by path. Some may be absent or no regular files; reading them says so.
        problems: folders that cannot be listed.
    """

    files: list[Path] = field(default_factory=list)
    problems: list[tuple[Path, Problem]] = field(default_factory=list)


def list_folder(folder: Path) -> Listing:
    """The puzzle files in a folder and its subfolders.

    Hidden files and folders are left out: macOS leaves ``._007.json`` beside a task, and Jupyter
    ``.ipynb_checkpoints/007-checkpoint.json``. So are submissions, and files that are read with another
    one (:func:`second_file`). A link that leads nowhere, a FIFO or a device with the name of a puzzle
    file is in the list, so that no task is missing in silence. A link to a folder is followed, once.
    """
    listing, waiting, linked = Listing(), [folder], list[Path]()
    root, seen = os.path.realpath(folder), set[str]()
    entries = 0
    while waiting or linked:
        # Links come last: what they lead to may also be a subfolder, which has the better name.
        here = waiting.pop() if waiting else linked.pop()
        if (real := os.path.realpath(here)) in seen:
            continue
        seen.add(real)
        if here != folder and Path(root).is_relative_to(real):
            what = "is a link to a folder that contains this one, and is not followed; remove it"
            listing.problems.append((here, Problem("", what)))
            continue
        try:
            found = list(os.scandir(here))
        except OSError as error:
            listing.problems.append((here, Problem("", f"cannot be read: {error.strerror}")))
            continue
        entries += len(found)
        if entries > MOST_ENTRIES:
            listing.problems.append(
                (folder, Problem("", f"more than {MOST_ENTRIES:,} files, expected a folder of tasks"))
            )
            break
        for entry in (entry for entry in found if not entry.name.startswith(".")):
            if _is_folder(entry):
                (linked if entry.is_symlink() else waiting).append(here / entry.name)
            elif Path(entry.name).suffix.lower() in SUFFIXES and "submission" not in entry.name:
                listing.files.append(here / entry.name)
        linked.sort(reverse=True)
    read_along = {second_file(file) for file in listing.files}
    listing.files = sorted(file for file in listing.files if file not in read_along)
    return listing


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # A loop of links; reading it as a file says so.
        return False


def challenges(folder: Path, splits: Sequence[str]) -> list[Path]:
    """Kaggle's challenges files of some splits in a folder, hidden files left out."""
    files = [file for file in sorted(folder.glob("*.json")) if "challenges" in file.name]
    return [file for split in splits for file in files if split in file.name and not file.name.startswith(".")]


def second_file(path: Path) -> Path | None:
    """The file that is read together with this one: a challenges file's solutions, or ``test.csv`` with ``train.csv``.

    None if there is no such file.
    """
    if path.name == "train.csv" and is_there(path.with_name("test.csv")):
        return path.with_name("test.csv")
    return solutions_beside(path)


def solutions_beside(path: Path) -> Path | None:
    """The solutions file of a Kaggle challenges file, if there is one; spelled with ``-`` or ``_``."""
    if "challenges" not in path.name:
        return None
    name = path.name.replace("challenges", "solutions")
    spellings = (name, re.sub(r"[-_]solutions", "_solutions", name), re.sub(r"[-_]solutions", "-solutions", name))
    return next((path.with_name(each) for each in spellings if is_there(path.with_name(each))), None)


def is_there(path: Path) -> bool:
    """Whether there is something other than a folder; also a link that leads nowhere, which reading will name."""
    try:
        return not stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def name_of(folder: Path) -> str:
    """The name of a folder, also of ``.`` and ``..``; a link is not resolved."""
    return os.path.basename(os.path.abspath(folder))


@cache
def warn_once(message: str) -> None:
    """Log a warning, once: the tasks of a source are loaded more than once."""
    log.warning(message)
