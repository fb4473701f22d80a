"""Atomic files: written under a temporary name, then renamed."""

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


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write a file of one JSON object per line atomically."""
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a file of one JSON object per line.

    Raises:
        UserError: it cannot be read, or a line is not JSON.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]
    except OSError as error:
        raise UserError(path, f"cannot be read: {error.strerror}") from None
    except ValueError:
        raise UserError(path, "not one JSON object per line") from None
