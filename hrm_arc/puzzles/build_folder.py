"""The folder of a build: disk space for its arrays, and which parts of them are written."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hrm_arc.errors import UserError
from hrm_arc.files import allocate, atomic_write, is_temporary, write_text
from hrm_arc.puzzles.canvas import Canvas
from hrm_arc.puzzles.listing import is_there
from hrm_arc.reading import read_json_object, read_text

JOURNAL, RECORD = "building.journal", "build.json"
# The large arrays of a split, with one byte for each cell of each sample.
TOKENS = ("inputs", "labels")


def reserve_arrays(out: Path, samples: Mapping[str, int], canvas: Canvas) -> None:
    """Create the arrays of tokens at their full size, unless they exist.

    Args:
        out: the folder of the build.
        samples: the number of samples of each split.
        canvas: the canvas of all samples.

    Raises:
        UserError: the disk has too little space, or an existing array is not one of this build.
    """
    shapes = _shapes(out, samples, canvas)
    missing = {file: shape for file, shape in shapes.items() if not is_there(file)}
    needed, free = sum(map(math.prod, missing.values())), shutil.disk_usage(out).free
    if free < needed:
        raise UserError(out, f"needs {needed / 1e9:,.1f} GB, but the disk has {free / 1e9:,.1f} GB free")
    for file, shape in missing.items():
        with atomic_write(file) as beside:
            np.lib.format.open_memmap(beside, "w+", np.uint8, shape).flush()
            # A write to a memory map on a full disk would end the process.
            with beside.open("r+b") as opened:
                allocate(opened.fileno(), beside.stat().st_size)
    check_arrays(out, samples, canvas)


def check_arrays(out: Path, samples: Mapping[str, int], canvas: Canvas) -> None:
    """Check that the arrays of tokens are those of a build, and whole; see :func:`reserve_arrays`.

    Raises:
        UserError: naming the first that is not.
    """
    for file, shape in _shapes(out, samples, canvas).items():
        if not _is_array(file, shape):
            raise UserError(file, "is not the array of this build; choose another folder or remove this one")


def _shapes(out: Path, samples: Mapping[str, int], canvas: Canvas) -> dict[Path, tuple[int, int]]:
    files = [(out / split / f"all__{name}.npy", count) for split, count in samples.items() for name in TOKENS]
    return {file: (count, canvas.cells) for file, count in files}


def _is_array(file: Path, shape: tuple[int, int]) -> bool:
    try:
        if not file.is_file() or file.is_symlink():
            return False
        array = np.lib.format.open_memmap(file, mode="r")
    except Exception:  # The header of a damaged file is Python text, which can make anything fail.
        return False
    return array.shape == shape and array.dtype == np.uint8


def open_journal(out: Path, record: dict[str, Any], arrays: Sequence[Path]) -> set[tuple[str, int]] | None:
    """The parts that are done, or None if the whole build is done.

    Args:
        out: the folder of the build.
        record: what identifies the build.
        arrays: the files of its arrays of tokens.

    Raises:
        UserError: the folder holds something else, is damaged, or cannot be written to.
    """
    journal = out / JOURNAL
    if not is_there(out / RECORD):
        # A process killed during its first write leaves only a temporary file.
        if any(not is_temporary(file.name) for file in out.iterdir()):
            raise UserError(out, "is not empty; choose another folder or remove it")
        write_compact(out / RECORD, record | {"finished": False})
    found = read_json_object(out / RECORD)
    finished = found.pop("finished", False)
    if found != record:
        raise UserError(out, "holds another build; choose another folder or remove it")
    # Parts count as written only in an array that is there.
    absent = [file for file in arrays if not is_there(file)]
    if finished and absent:
        raise UserError(absent[0], "is missing in a finished build; remove the folder to build it again")
    if finished:
        return None
    done = set() if absent else _done(journal)
    write_text(journal, "".join(f"{split} {start}\n" for split, start in sorted(done)))
    return done


def _done(journal: Path) -> set[tuple[str, int]]:
    """The parts that a journal lists. An incomplete last line, from a process that was killed, is dropped."""
    done = set()
    try:
        for number, line in enumerate(read_text(journal).splitlines(keepends=True), start=1):
            if not line.endswith("\n"):
                break
            split, _, start = line.strip().partition(" ")
            if not (start.isascii() and start.isdecimal() and len(start) < 20):
                raise UserError(journal, f"line {number} is damaged; remove the file to write all parts again")
            done.add((split, int(start)))
    except FileNotFoundError:
        return set()
    return done


def write_compact(path: Path, data: Any) -> None:
    """Write a JSON file without line breaks, atomically."""
    write_text(path, json.dumps(data))
