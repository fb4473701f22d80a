"""Sources that are files or folders: the path, its split, the number of boards, and the files that belong to it."""

from __future__ import annotations

import sys
from pathlib import Path

from hrm_arc.errors import UserError, and_more
from hrm_arc.files import existing
from hrm_arc.puzzles.arrays import VARIANTS
from hrm_arc.puzzles.board_files import Counts
from hrm_arc.puzzles.listing import challenges, is_there, list_folder, warn_once
from hrm_arc.puzzles.task import PuzzleError

SPLITS = ("training", "evaluation")
# What may follow the path of a folder.
PARTS = (*SPLITS, "test", VARIANTS)


def located(name: str) -> tuple[Path, str] | None:
    """The path and the split of a source that is a file or folder, or None; ``path/training`` is a split of ``path``.

    ``path/test`` are Kaggle's test challenges, ``path/variants`` a published game's boards with all their variants.

    Args:
        name: the source, without a number of boards.

    Raises:
        UserError: the path cannot be accessed.
    """
    if (path := existing(name)) is not None:
        return path, ""
    part = Path(name)
    if part.name in PARTS and (path := existing(str(part.parent))) is not None and path.is_dir():
        return path, part.name
    return None


def located_counted(source: str) -> tuple[Path, str, Counts] | None:
    """As :func:`located`, for a source that may have numbers of boards."""
    name, counts = counted(source)
    found = located(name)
    return None if found is None else (*found, counts)


def without_numbers(source: str) -> tuple[str, str]:
    """A source without its numbers of boards, and these as they were written, such as ``:1000:200``."""
    name, _ = counted(source)
    return name, source[len(name) :]


def counted(source: str) -> tuple[str, Counts]:
    """A source without its numbers of boards, and these numbers."""
    name, numbers = source, list[int]()
    while len(numbers) < 2 and existing(name) is None:
        rest, colon, count = name.rpartition(":")
        if not colon or not (count.isascii() and count.isdecimal()):
            break
        # Python refuses to convert thousands of digits.
        numbers.insert(0, int(count) if len(count) < 100 else sys.maxsize)
        if numbers[0] < 1:
            raise UserError(source, "0 boards, expected at least 1")
        name = rest
    return name, Counts(*numbers)


def puzzle_files(path: Path, split: str = "") -> list[tuple[Path, str]]:
    """The files that make up a source that is a file or folder, each with the group of its tasks.

    Args:
        path: a file; Kaggle's folder; a folder with the boards of a game in ``train.csv``; or a folder of task files,
            in which the name of a subfolder is the group of its tasks.
        split: the split of Kaggle's folder; "" for training and evaluation. Other folders have none.

    Raises:
        PuzzleError: a subfolder cannot be read.
        UserError: the path is a FIFO or a device.
    """
    if path.is_file():
        return [(path, "")]
    if not path.is_dir():
        raise UserError(path, "is not a regular file, expected a puzzle file or a folder")
    if files := challenges(path, [split] if split else SPLITS):
        return [(file, "") for file in files]
    if split:
        return []
    if is_there(path / "train.csv"):
        if others := sorted(file for file in path.glob("*.json") if not file.name.startswith(".")):
            left_out = f"{others[0].name}{and_more(others)} beside it are left out"
            warn_once(f"{path}: is the game of train.csv; {left_out}, and may be sources of their own")
        return [(path / "train.csv", "")]
    listing = list_folder(path)
    for where, problem in listing.problems:
        raise PuzzleError(where, str(problem))
    return [(file, "" if file.parent == path else file.parent.name) for file in listing.files]
