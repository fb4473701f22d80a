"""Files that are whole or not there: written beside, then renamed."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hrm_arc.errors import UserError, unwritable


@contextlib.contextmanager
def writing(path: Path, lasting: bool = False) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to; it is renamed into place at the end.

    On any error the temporary file is removed and ``path`` is as it was. With ``lasting`` it is on
    the disk before it takes the other's place, so that a loss of power leaves one of the two.

    Raises:
        ReportedError: the folder cannot be made or written to; a :class:`UserError` unless the disk is at fault.
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
    """The file or folder of that name, ``~`` spelled out, or None where there is none.

    Raises:
        UserError: it cannot be looked at.
    """
    try:
        path = Path(name).expanduser()
        return path if path.exists() else None
    except RuntimeError:  # No such user.
        return None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return None
        raise UserError(name, f"cannot be read: {error.strerror}") from None


@contextlib.contextmanager
def claimed(folder: Path, doing: str) -> Iterator[None]:
    """Keep other processes that ask from working in a folder; what dies gives it back.

    Args:
        folder: it is there.
        doing: what the error says that another process is doing.

    Raises:
        UserError: another process has it.
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
        raise UserError(folder, f"another process is {doing} it; wait for its end, or stop it") from None
    except OSError:
        pass  # Some network disks have no locks.
    try:
        yield
    finally:
        os.close(handle)


def sync(path: Path) -> None:
    """Bring a file or folder to the disk, so that it outlives a loss of power."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str, lasting: bool = False) -> None:
    """Write a text file atomically; see :func:`writing`."""
    with writing(path, lasting) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: Path, data: Any, lasting: bool = False) -> None:
    """Write a JSON file atomically; see :func:`writing`."""
    write_text(path, json.dumps(data, indent=1) + "\n", lasting)


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write a file of one JSON object a line, atomically."""
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of one JSON object a line.

    Raises:
        UserError: it cannot be read, or a line is no JSON.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]
    except OSError as error:
        raise UserError(path, f"cannot be read: {error.strerror}") from None
    except ValueError:
        raise UserError(path, "not one JSON object a line") from None
