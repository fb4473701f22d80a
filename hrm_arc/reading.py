"""Bounded reading of files that anybody may have written, and that anything may have damaged.

Only regular files are opened, so a FIFO or a device cannot hang or flood a command. Size and nesting are
limited. Every failure is a :class:`UserError` with the file and what is wrong with it.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml

from hrm_arc.errors import UserError
from hrm_arc.files import CHECKSUM, object_checksum

T = TypeVar("T")
MIB = 2**20
# The largest file that is decoded as a whole.
LARGEST_JSON = 512 * MIB
LARGEST_YAML, DEEPEST_YAML = MIB, 100
LARGEST_ROW = 64 * MIB
# The start of the small text that Git LFS leaves in place of a file that was not fetched.
LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def open_regular(path: Path, within: Path | None = None) -> int:
    """Open a regular file for reading; returns its descriptor.

    Args:
        path: the file; links are followed.
        within: a folder that the file, links resolved, has to be in.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it cannot be opened, is not a regular file, is outside ``within``, or is a pointer of Git LFS.
    """
    try:
        if within is not None and not path.resolve().is_relative_to(within.resolve()):
            raise UserError(path, f"is a link out of {within}; it is not followed")
        # Without O_NONBLOCK the opening of a FIFO would wait for a writer.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError:
        raise
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: a loop of links; ValueError: a null byte.
        raise UserError(path, f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise UserError(path, "is not a regular file")
        if os.read(handle, len(LFS_POINTER)) == LFS_POINTER:
            raise UserError(path, "is a Git LFS pointer, not the file itself: fetch it with git lfs pull")
        os.lseek(handle, 0, os.SEEK_SET)
    except OSError as error:
        os.close(handle)
        raise UserError(path, f"cannot be read: {error.strerror}") from None
    except UserError:
        os.close(handle)
        raise
    return handle


def read_bytes(path: Path, limit: int = LARGEST_JSON, within: Path | None = None) -> bytes:
    """The content of a regular file of at most ``limit`` bytes.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: as :func:`open_regular`, or it is larger than ``limit``.
    """
    with os.fdopen(open_regular(path, within), "rb") as file:
        if os.fstat(file.fileno()).st_size > limit:
            raise UserError(path, f"is larger than {limit / MIB:,.0f} MiB")
        try:
            content = file.read(limit + 1)
        except OSError as error:
            raise UserError(path, f"cannot be read: {error.strerror}") from None
    if len(content) > limit:
        raise UserError(path, f"is larger than {limit / MIB:,.0f} MiB")
    return content


def read_text(path: Path, limit: int = LARGEST_JSON, within: Path | None = None) -> str:
    """The content of a regular UTF-8 file; a byte-order mark is dropped.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: as :func:`read_bytes`, or it is not UTF-8 text.
    """
    try:
        return read_bytes(path, limit, within).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(path, "is not UTF-8 text") from None


def syntax_problem(error: json.JSONDecodeError) -> str:
    """What is wrong with a text that is not JSON, and where."""
    if not error.doc.strip():
        return "it is empty"
    ends = error.pos >= len(error.doc.rstrip())
    return f"{'it ends too early' if ends else error.msg} at line {error.lineno}, column {error.colno}"


def parse_json(text: str | bytes) -> Any:
    """Decode JSON. NaN and infinities, which are not JSON, become None.

    Raises:
        ValueError: it is not JSON, or nested too deeply; with a message.
    """
    try:
        return json.loads(text, parse_constant=lambda name: None)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except UnicodeDecodeError:
        raise ValueError("not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {syntax_problem(error)}") from None
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None


def read_json(path: Path, limit: int = LARGEST_JSON, within: Path | None = None) -> Any:
    """Decode a JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: as :func:`read_text`, or it is not JSON.
    """
    text = read_text(path, limit, within)
    try:
        return parse_json(text)
    except ValueError as error:
        raise UserError(path, str(error)) from None


def read_json_object(path: Path, limit: int = LARGEST_JSON, within: Path | None = None) -> dict[str, Any]:
    """Decode a JSON file that holds an object.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: as :func:`read_json`, or it holds something else.
    """
    data = read_json(path, limit, within)
    if not isinstance(data, dict):
        raise UserError(path, f"holds {kind_of(data)}, expected a JSON object")
    return data


def unsealed(data: dict[str, Any]) -> dict[str, Any]:
    """An object without its checksum.

    Raises:
        ValueError: the checksum is missing, or is not that of the content.
    """
    content = {key: value for key, value in data.items() if key != CHECKSUM}
    if CHECKSUM not in data:
        raise ValueError("has no checksum: it was not written by this version, or was edited")
    if data[CHECKSUM] != object_checksum(content):
        raise ValueError("its checksum is not that of its content: damaged or edited")
    return content


def read_sealed_json(path: Path, limit: int = LARGEST_JSON, within: Path | None = None) -> dict[str, Any]:
    """Decode a JSON object that :func:`hrm_arc.files.write_sealed_json` has written.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: as :func:`read_json_object`, or its checksum is missing or wrong.
    """
    try:
        return unsealed(read_json_object(path, limit, within))
    except ValueError as error:
        raise UserError(path, str(error)) from None


def read_lines(path: Path, within: Path | None = None) -> list[dict[str, Any]]:
    """Read a file of one JSON object per line, each with its checksum (:func:`hrm_arc.files.write_lines`).

    Raises:
        UserError: it is missing or cannot be read, or a row is damaged; naming the line.
    """
    rows = []
    try:
        for number, row in iterate_rows(path, check_sealed_row, within, unfinished=True):
            if isinstance(row, ValueError):
                raise UserError(path, f"line {number}: {row}")
            rows.append(row)
    except FileNotFoundError:
        raise UserError(path, "there is no such file") from None
    return rows


def check_sealed_row(row: Any) -> dict[str, Any]:
    """A row without its checksum.

    Raises:
        ValueError: it is not an object, or its checksum is missing or wrong.
    """
    if not isinstance(row, dict):
        raise ValueError(f"{kind_of(row)}, expected an object")
    return unsealed(row)


def parse_yaml(text: str, path: Path) -> Any:
    """Decode YAML without aliases, which can make a small file stand for gigabytes.

    Raises:
        UserError: it is not YAML, has an alias, or is nested too deeply.
    """
    try:
        # libyaml is eight times as fast as Python's loader, and a list of runs reads hundreds of recipes.
        depth = 0
        for event in yaml.parse(text, Loader=_Loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST_YAML:  # Here, because libyaml's own recursion has no limit.
                raise RecursionError
            if isinstance(event, yaml.AliasEvent):
                raise yaml.YAMLError("aliases (*name) are not supported")
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise UserError(path, f"not YAML: {' '.join(str(error).split())[:200]}") from None
    except RecursionError:
        raise UserError(path, "not YAML that can be read: nested too deeply") from None
    # A date that does not exist, an unhashable key, and what YAML's constructors raise for tags such as !!bool x.
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise UserError(path, f"not YAML: {' '.join(str(error).split())[:200]}") from None


# A PyYAML that was built without libyaml has only the other.
_SAFE_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SAFE_LOADER):  # type: ignore[misc]
    """A safe loader that refuses a key that appears twice; YAML's own rule, and PyYAML keeps the last of them."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    line = key.start_mark.line + 1
                    raise yaml.YAMLError(f"key {key.value!r:.60} appears twice, again in line {line}")
                seen.add(key.value)
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found


def iterate_rows(
    path: Path, check: Callable[[Any], T], within: Path | None = None, unfinished: bool = False
) -> Iterator[tuple[int, T | ValueError]]:
    """The rows of a file of one JSON value per line, with their line numbers from 1; memory does not grow with it.

    Args:
        path: the file.
        check: turns a decoded row into what is returned; raises ValueError for a wrong one.
        within: see :func:`open_regular`.
        unfinished: whether a last line without a line break is a row. Otherwise it is a damaged one: a killed process
            may have left it.

    Returns:
        an iterator of line numbers and rows; a damaged row is a ValueError that says what is wrong.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: as :func:`open_regular`.
    """
    with os.fdopen(open_regular(path, within), "rb") as file:
        number = 0
        while line := file.readline(LARGEST_ROW):
            number += 1
            if not line.endswith(b"\n"):
                if len(line) >= LARGEST_ROW:
                    yield number, ValueError(f"longer than {LARGEST_ROW / MIB:.0f} MiB")
                    _skip_line(file)
                    continue
                if not unfinished:
                    yield number, ValueError("incomplete: it has no line break")
                    return
            if not line.strip():
                continue
            try:
                yield number, check(parse_json(line))
            except ValueError as error:
                yield number, error


def _skip_line(file: Any) -> None:
    while (part := file.readline(LARGEST_ROW)) and not part.endswith(b"\n"):
        pass


def kind_of(value: Any) -> str:
    """What a decoded JSON value is, in words."""
    if value is None:
        return "null"
    names = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object"}
    return next((name for kind, name in names.items() if type(value) is kind), type(value).__name__)
