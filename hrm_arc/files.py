"""Atomic files: written under a temporary name, then renamed."""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import platform
import re
import secrets
import stat
import sys
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from hrm_arc.errors import UserError, unwritable

# The key of an object's checksum: a damaged or edited file must not change a number in silence.
CHECKSUM = "crc32"
# Temporary files of this program: machine, process, random digits.
_TEMPORARY = re.compile(r"\..+\.([0-9a-f]{8})-(\d{1,10})-[0-9a-f]{16}\.tmp", re.DOTALL)
# The age from which a temporary file of another machine counts as left behind.
LEFT_SECONDS = 24 * 3600


@contextlib.contextmanager
def atomic_write(path: Path, lasting: bool = False) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to; it replaces ``path`` at the end.

    On an error the temporary file is removed and ``path`` is unchanged. What a killed process left in the folder is
    removed first. With ``lasting`` the new file is synced to the disk first, so that a loss of power leaves either the
    old or the new one.

    Raises:
        ReportedError: the folder cannot be created or written to; a :class:`UserError` unless the disk is at fault.
        UserError: ``path`` is something else than a regular file, such as a device or a link.
    """
    check_target(path)
    # A name that nobody can guess and prepare.
    beside = path.with_name(f".{path.name[:100]}.{_machine()}-{os.getpid()}-{secrets.token_hex(8)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path.parent.absolute())
        yield beside
        if lasting:
            sync(beside)
        check_target(path)
        os.replace(beside, path)
        if lasting:
            sync(path.parent)
    except OSError as error:
        raise unwritable(path, error) from None
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()


def check_target(path: Path) -> None:
    """Check that a file may be written at a path: there is none, or a regular one.

    A device, a FIFO or a folder would be replaced by a file, and so would a link such as ``/dev/stdout``.

    Raises:
        UserError: there is something else.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:  # ValueError: a null byte.
        raise UserError(path, f"cannot be written: {getattr(error, 'strerror', None) or error}") from None
    if not stat.S_ISREG(mode):
        what = "a link" if stat.S_ISLNK(mode) else "a folder" if stat.S_ISDIR(mode) else "a device, FIFO or socket"
        raise UserError(path, f"is {what}, and is not replaced; expected a new or a regular file")


def is_temporary(name: str) -> bool:
    """Whether a file has the name of one that :func:`atomic_write` writes to."""
    return _TEMPORARY.fullmatch(name) is not None


@functools.cache
def _remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of processes that were killed; once for each folder.

    Whether a process of another machine is alive cannot be known here; its files are removed when they are a day old.
    """
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            found = _TEMPORARY.fullmatch(entry.name)
            with contextlib.suppress(OSError):
                if found and entry.is_file(follow_symlinks=False) and _is_left(entry, found[1], int(found[2])):
                    os.unlink(entry.path)


def _is_left(entry: os.DirEntry[str], machine: str, pid: int) -> bool:
    if machine != _machine():
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > LEFT_SECONDS
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


@functools.cache
def _machine() -> str:
    """Eight hexadecimal digits of where a process number means the same process: this boot, this container."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8"))
        parts.append(os.readlink("/proc/self/ns/pid"))
    return f"{zlib.crc32(repr(parts).encode()):08x}"


def reserve(path: Path, size: int) -> None:
    """Create a file with room for ``size`` bytes, so that a full disk is found before the work and not after it.

    Raises:
        OSError: there is no room.
    """
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        allocate(handle, size)
    finally:
        os.close(handle)


def allocate(handle: int, size: int) -> None:
    """Allocate the blocks of the first ``size`` bytes of an open file, where the system and its file system can.

    Raises:
        OSError: there is no room.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(handle, 0, max(1, size))
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # This file system allocates nothing in advance.
            raise


def fill(path: Path, content: bytes) -> None:
    """Write the content of a file that :func:`reserve` has made, into the room that it has."""
    with path.open("r+b") as file:
        file.write(content)
        file.truncate()


def existing(name: str) -> Path | None:
    """The file or folder of a name, with ``~`` expanded, or None where there is none.

    Raises:
        UserError: it cannot be accessed.
    """
    try:
        path = Path(name).expanduser()
        return path if path.exists() else None
    except (RuntimeError, ValueError):  # ``~name`` of an unknown user, or a name with a NUL.
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


def open_append(path: Path, newline: str | None = None) -> TextIO:
    """Open a text file for appending; a link, a FIFO or a device is not written to.

    Raises:
        UserError: the path is something else than a regular file.
        OSError: it cannot be opened.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        handle = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise UserError(path, "is not a regular file; it is not written to") from None
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise UserError(path, "is not a regular file; it is not written to")
    return os.fdopen(handle, "a", encoding="utf-8", newline=newline)


def write_text(path: Path, text: str, lasting: bool = False) -> None:
    """Write a text file atomically; see :func:`atomic_write`."""
    with atomic_write(path, lasting) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: Path, data: Any, lasting: bool = False) -> None:
    """Write a JSON file atomically; see :func:`atomic_write`."""
    write_text(path, json.dumps(data, indent=1) + "\n", lasting)


def write_sealed_json(path: Path, data: dict[str, Any], lasting: bool = False) -> None:
    """Write a JSON object atomically with its checksum, which :func:`hrm_arc.reading.read_sealed_json` verifies."""
    data = finite(data)
    write_json(path, {**data, CHECKSUM: object_checksum(data)}, lasting)


def sealed_row(row: dict[str, Any]) -> str:
    """A row of a file of one JSON object per line, with its checksum and line break."""
    row = finite(row)
    return json.dumps({**row, CHECKSUM: object_checksum(row)}) + "\n"


def finite(data: dict[str, Any]) -> dict[str, Any]:
    """An object with null for NaN and infinities, which are not JSON: as it is read back."""
    try:
        json.dumps(data, allow_nan=False)
    except ValueError:
        data = json.loads(json.dumps(data), parse_constant=lambda name: None)
    return data


def object_checksum(data: dict[str, Any]) -> str:
    """Eight hexadecimal digits that depend on every value of an object, but not on the order of its keys."""
    return f"{zlib.crc32(json.dumps(data, sort_keys=True).encode()):08x}"


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write a file of one JSON object per line atomically, each with its checksum."""
    write_text(path, "".join(sealed_row(row) for row in rows))
