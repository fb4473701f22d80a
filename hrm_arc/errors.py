"""Errors that end a command and are reported in one line."""

from __future__ import annotations

import errno
import re
from collections.abc import Sized
from typing import ClassVar


class ReportedError(Exception):
    """A foreseen failure that is not the user's mistake: no network, a full disk, a loss that is not finite.

    The command line prints it as one line, ``error: <where>: <what>``.

    Args:
        where: the file, flag, key or step concerned.
        what: what is wrong and what to do, in one sentence.

    Attributes:
        status: the exit status of the command line.
    """

    status: ClassVar[int] = 1

    def __init__(self, where: object, what: str):
        super().__init__(f"{where}: {what}")
        self.where = str(where)
        self.what = what


class UserError(ReportedError):
    """A mistake in the user's input: a file, a flag, a recipe key."""

    status: ClassVar[int] = 2


# Control characters (C0, DEL and C1), line and paragraph separators, controls of text direction, and surrogates.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: object) -> str:
    """A text for people, in one line: what could control a terminal or reorder the text is written as an escape.

    A name that comes from a file can hold anything: ``\\x1b[2J`` would clear the screen, a line break would forge a
    message. A text without such characters stays as it is.
    """
    return _UNPRINTABLE.sub(_escaped, str(text))


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def unwritable(where: object, error: OSError) -> ReportedError:
    """The error for something that cannot be written; a full or broken disk is not the user's mistake."""
    kind = ReportedError if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO) else UserError
    return kind(where, f"cannot be written: {error.strerror}")


# What libraries say when memory ran out; the last two: CUDA's own, and torch on a Jetson or a part of a GPU.
OUT_OF_MEMORY = ("out of memory", "allocate memory", "not enough memory", "status_alloc_failed", "nvml_success == r")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out; on a CPU the errors of torch and of other libraries have no type of their own."""
    # torch's is known by its name, because importing torch takes seconds.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    said = str(error).lower()
    is_kind = isinstance(error, RuntimeError | OSError | ImportError)
    return is_kind and any(words in said for words in OUT_OF_MEMORY)


# The extra of the package that installs a module.
EXTRAS = {
    **dict.fromkeys(("torch", "lightning_fabric", "jsonargparse"), "train"),
    **dict.fromkeys(("onnx", "onnxscript"), "export"),
    **dict.fromkeys(("starlette", "uvicorn"), "studio"),
    "onnxruntime": "edge",
    "playwright": "dev",
}


def not_installed(error: ModuleNotFoundError) -> UserError | None:
    """The error for a package of an extra that is not installed; None: the module is of no extra."""
    extra = EXTRAS.get((error.name or "").split(".")[0])
    return None if extra is None else UserError(error.name, f"not installed here; pip install 'hrm-arc[{extra}]'")


def and_more(things: Sized) -> str:
    """`` (and N more)`` behind the first of several things."""
    return f" (and {len(things) - 1} more)" if len(things) > 1 else ""
