"""Atomic files: written under a temporary name, then renamed."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from hrm_arc.errors import UserError, unwritable

# The key of an object's checksum: a damaged or edited file must not change a number in silence.
CHECKSUM = "crc32"


@contextlib.contextmanager
def atomic_write(path: Path, lasting: bool = False) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to; it replaces ``path`` at the end.

    On an error the temporary file is removed and ``path`` is unchanged. With ``lasting`` the new file is synced to
    the disk first, so that a loss of power leaves either the old or the new one.

    Raises:
        ReportedError: the folder cannot be created or written to; a :class:`UserError` unless the disk is at fault.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        if lasting:
            sync(beside)
        os.replace(beside, path)
        if lasting:
            sync(path.parent)
    except OSError as error:
        raise unwritable(path, error) from None
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()


def existing(name: str) -> Path | None:
    """The file or folder of a name, with ``~`` expanded, or None where there is none.

    Raises:
        UserError: it cannot be accessed.
    """
    try:
        path = Path(name).expanduser()
        return path if path.exists() else None
    except RuntimeError:  # ``~name`` of an unknown user.
        return None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return None
        raise UserError(name, f"cannot be read: {error.strerror}") from None


@contextlib.contextmanager
def exclusive_lock(folder: Path, doing: str) -> Iterator[None]:
    """Lock a folder against other processes that lock it, too. The lock ends with the process.

    Args:
        folder: an existing folder.
        doing: what another process is doing, for the error.

    Raises:
        UserError: another process holds the lock.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise UserError(folder, f"another process is {doing} it; wait until it ends, or stop it") from None
    except OSError:
        pass  # Some network file systems have no locks.
    try:
        yield
    finally:
        os.close(handle)


def sync(path: Path) -> None:
    """Sync a file or folder to the disk, so that it survives a loss of power."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str, lasting: bool = False) -> None:
    """Write a text file atomically; see :func:`atomic_write`."""
    with atomic_write(path, lasting) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: Path, data: Any, lasting: bool = False) -> None:
    """Write a JSON file atomically; see :func:`atomic_write`."""
    write_text(path, json.dumps(data, indent=1) + "\n", lasting)


def write_sealed_json(path: Path, data: dict[str, Any], lasting: bool = False) -> None:
    """Write a JSON object atomically with its checksum, which :func:`hrm_arc.reading.read_sealed_json` verifies."""
    write_json(path, {**data, CHECKSUM: checksum(data)}, lasting)


def sealed_row(row: dict[str, Any]) -> str:
    """A row of a file of one JSON object per line, with its checksum and line break."""
    return json.dumps({**row, CHECKSUM: checksum(row)}) + "\n"


def checksum(data: dict[str, Any]) -> str:
    """Eight hexadecimal digits that depend on every value of an object, but not on the order of its keys."""
    return f"{zlib.crc32(json.dumps(data, sort_keys=True).encode()):08x}"


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write a file of one JSON object per line atomically, each with its checksum."""
    write_text(path, "".join(sealed_row(row) for row in rows))
