"""metrics.jsonl: one JSON object per row, appended as a run goes, in the order of its steps.

Readers use bounded time and memory, however long a run was: of a large file they read its end, every validation up to
a number, and a thinned history of the training rows.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from hrm_arc.errors import printable, unwritable
from hrm_arc.files import atomic_write, open_append, sealed_row
from hrm_arc.reading import check_sealed_row, iterate_rows, kind_of, open_regular, parse_json

log = logging.getLogger(__name__)

Row = dict[str, Any]
# Files up to this size are read as a whole.
SMALL_FILE = 4 * 2**20
# Training rows that are read of a larger file, and bytes of its end.
THINNED_ROWS = 2000
TAIL_BYTES = 256 * 2**10
CHUNK = 8 * 2**20
# Largest part of a file that is read as a whole for a range of steps.
RANGE_BYTES = 2 * 2**20
# Bytes of a row of a large file; what is longer is no row, such as zeros that a loss of power left.
LONGEST_ROW = 64 * 2**10
# A row names its kind within so many bytes of its start.
LINE_HEAD = 512
# Keys of rows that views read; a value that is not known is null.
NUMBERS = (
    *("epoch", "seconds", "loss", "halt_loss", "halt_accuracy", "mean_segments", "grad_norm", "lr", "token_accuracy"),
    *("exact_accuracy", "samples_per_sec", "cells_per_sec", "model_flops_per_sec", "peak_memory_bytes"),
)
# Keys of a row that are no metric.
PLACES = ("kind", "step", "epoch", "progress", "seconds", "full")
# Validations that are read of a larger file: evenly spaced ones.
MOST_VALIDATIONS = 2000


class Metrics:
    """An open metrics.jsonl; each row has left this process when ``log`` returns.

    Args:
        path: the file.
        after: rows of later steps are dropped first. They were written by a process that was killed after its
            last checkpoint, and will be written again.

    Raises:
        UserError: the file is not a regular file.
        OSError: it cannot be written.
    """

    def __init__(self, path: Path, after: int = 0):
        cut_after(path, after)
        self._file = open_append(path)

    def log(self, **row: Any) -> None:
        """Append a row."""
        self._file.write(sealed_row(row))
        self._file.flush()

    def __enter__(self) -> Metrics:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()


@dataclass
class History:
    """What was read of a metrics.jsonl.

    Attributes:
        rows: rows in the order of the file.
        damaged: numbers of damaged lines with what is wrong with each; of a large file, those that were read.
    """

    rows: list[Row] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


def check_row(row: Any) -> Row:
    """A row of metrics, if it is one.

    Raises:
        ValueError: it is something else; saying what.
    """
    row = check_sealed_row(row)
    step = row.get("step")
    if type(step) is not int or step < 0:
        raise ValueError("no step, expected a whole number from 0 on")
    if row.get("kind") not in ("train", "validation"):
        raise ValueError("no kind, expected train or validation")
    for name in NUMBERS:
        value = row.get(name)
        if value is not None and type(value) not in (int, float):
            raise ValueError(f"{name} is {kind_of(value)}, expected a number")
    # Also those that a model names itself: views draw every number.
    for name, value in row.items():
        if type(value) in (int, float) and not abs(value) <= sys.float_info.max:
            raise ValueError(f"{printable(name)} is {value!r:.40}, which is too large")
    for name in ("exact_accuracy", "token_accuracy"):
        value = row.get(name)
        if value is not None and not (type(value) in (int, float) and 0 <= value <= 1):
            raise ValueError(f"{name} is {value!r:.40}, expected 0 to 1")
    return row


def metrics_of_model(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The metrics of training that not every run has: those that a model names itself."""
    keys = dict.fromkeys(
        key for row in rows if row["kind"] == "train" for key, value in row.items() if type(value) in (int, float)
    )
    return [key for key in keys if key not in NUMBERS and key not in PLACES]


def read_metrics(path: Path) -> list[Row]:
    """The rows of a metrics.jsonl, thinned if the file is large; damaged rows are logged as a warning.

    A last row without a line break, which a kill or a full disk left, is a damaged one.

    Raises:
        UserError: it is not a regular file.
    """
    history = read_history(path)
    if history.damaged:
        _warn(path, history.damaged[0], len(history.damaged) - 1)
    return history.rows


@cache
def _warn(path: Path, first: str, more: int) -> None:
    """Warn of damaged rows, once: a live view reads the same file again and again."""
    others = f" (and {more} more)" if more else ""
    log.warning("%s: damaged rows are left out: %s%s", path, first, others)


def read_history(path: Path) -> History:
    """The rows of a metrics.jsonl; see :func:`read_metrics`. A missing file has none."""
    try:
        handle = open_regular(path, within=path.parent)
    except FileNotFoundError:
        return History()
    with os.fdopen(handle, "rb") as file:
        if os.fstat(file.fileno()).st_size > SMALL_FILE:
            return _thinned(file)
    history = History()
    for number, row in iterate_rows(path, check_row, within=path.parent):
        if isinstance(row, ValueError):
            history.damaged.append(f"line {number}: {row}")
        else:
            history.rows.append(row)
    return history


def read_between(path: Path, first: int, last: int, most: int = THINNED_ROWS) -> list[Row]:
    """Rows of the steps ``first`` to ``last``, about ``most`` evenly spaced ones of them if there are more.

    Rows are in the order of their steps, so their places are found by bisection, however large the file is. Damaged
    rows are left out.

    Raises:
        UserError: it is not a regular file.
    """
    try:
        handle = open_regular(path, within=path.parent)
    except FileNotFoundError:
        return []
    with os.fdopen(handle, "rb") as file:
        start = _place_of(file, first)
        end = max(start, _place_of(file, last + 1))
        if end - start <= RANGE_BYTES:
            file.seek(start)
            lines = dict(enumerate(file.read(end - start).splitlines(keepends=True)))
        else:
            lines = dict(_line_at(file, start + (end - start) * n // most) for n in range(most))
    rows = []
    for place in sorted(lines):
        with contextlib.suppress(ValueError):
            rows.append(check_row(parse_json(lines[place])))
    rows = [row for row in rows if first <= row["step"] <= last]
    step = max(1, len(rows) // most)
    # All validations: they are few, and each is a point of its own.
    return [row for n, row in enumerate(rows) if n % step == 0 or row["kind"] == "validation"]


def _place_of(file: BinaryIO, step: int) -> int:
    """Where the first row of ``step`` or of a later step starts."""
    low, high = 0, os.fstat(file.fileno()).st_size
    while low < high:
        middle = (low + high) // 2
        start, line = _line_at(file, middle)
        # Skip damaged rows, which do not tell their step.
        while line and (found := _step_of(line)) is None:
            line = file.readline(LONGEST_ROW)
        if not line or start >= high or (found is not None and found >= step):
            high = middle
        else:
            low = middle + 1
    return _line_at(file, low)[0]


def _thinned(file: BinaryIO) -> History:
    """Rows at evenly spaced places, all rows of the end, and the validations."""
    size = os.fstat(file.fileno()).st_size
    validations = _places(file, b'"kind": "validation"')
    step = max(1, len(validations) // MOST_VALIDATIONS)
    # A line start just before each place; the place itself lies somewhere in the line.
    lines = dict(_line_at(file, size * n // THINNED_ROWS) for n in range(THINNED_ROWS))
    lines.update(_line_around(file, place) for place in validations[::step])
    position, line = _line_at(file, size - TAIL_BYTES)
    while line:
        lines[position] = line
        position, line = file.tell(), file.readline(LONGEST_ROW)
    history = History()
    for start in sorted(lines):
        if not lines[start].endswith(b"\n"):
            # The last row may be just being written.
            if start + len(lines[start]) < size:
                history.damaged.append(f"byte {start}: a row of more than {LONGEST_ROW // 1024} KiB")
            continue
        try:
            history.rows.append(check_row(parse_json(lines[start])))
        except ValueError as error:
            history.damaged.append(f"byte {start}: {error}")
    return history


def _line_at(file: BinaryIO, position: int) -> tuple[int, bytes]:
    """The first line that starts at ``position`` or later, with its place; of a longer one a part."""
    file.seek(max(0, position - 1))
    if position > 0:
        file.readline(LONGEST_ROW)
    return file.tell(), file.readline(LONGEST_ROW)


def _line_around(file: BinaryIO, place: int) -> tuple[int, bytes]:
    """The line that a place lies in, if it starts within a few hundred bytes before."""
    first = max(0, place - LINE_HEAD)
    file.seek(first)
    start = first + file.read(place - first).rfind(b"\n") + 1
    file.seek(start)
    return start, file.readline(LONGEST_ROW)


def _places(file: BinaryIO, text: bytes) -> list[int]:
    """Every place of a text, found in chunks."""
    places, offset, rest = [], 0, b""
    file.seek(0)
    while chunk := file.read(CHUNK):
        content = rest + chunk
        place = content.find(text)
        while place >= 0:
            places.append(offset - len(rest) + place)
            place = content.find(text, place + len(text))
        offset += len(chunk)
        rest = content[-len(text) + 1 :]
    return places


def cut_after(path: Path, step: int) -> None:
    """Remove the rows of steps after ``step`` from the end of a file, and a last row without a line break.

    Rows are in the order of their steps, so only the end of the file is read. Rows there that cannot be read are kept
    in a file beside, because nothing says of which step they are.

    Raises:
        UserError: it is not a regular file, or cannot be changed.
    """
    try:
        handle = open_regular(path, within=path.parent)
    except FileNotFoundError:
        return
    with os.fdopen(handle, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if not size:
            return
        with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as content:
            end = content.rfind(b"\n") + 1
            unread: list[bytes] = []
            while end > 0:
                start = content.rfind(b"\n", 0, end - 1) + 1
                found = _step_of(content[start:end])
                if found is not None and found <= step:
                    break
                if found is None:
                    unread.append(content[start:end])
                end = start
    if unread:
        with atomic_write(path.with_name(f"{path.name}.unread-{size}")) as kept:
            kept.write_bytes(b"".join(reversed(unread)))
        log.warning("%s: %d rows that cannot be read are now in %s.unread-%d", path, len(unread), path.name, size)
    if end < size:
        try:
            os.truncate(path, end)
        except OSError as error:
            raise unwritable(path, error) from None


def _step_of(line: bytes) -> int | None:
    """The step of a row; None for a damaged one."""
    try:
        return check_row(parse_json(line))["step"]
    except ValueError:
        return None
