"""What ends a command and is told in one line."""

from __future__ import annotations

import errno
from collections.abc import Sized
from typing import ClassVar


class ReportedError(Exception):
    """What keeps a command from its end, foreseen and nobody's mistake: no network, a loss that is no number.

    The command line prints it as one line, ``error: <where>: <what>``.

    Args:
        where: the file, flag, key or step that it is about.
        what: what is wrong with it and what to do, in one sentence.

    Attributes:
        status: what the command line exits with.
    """

    status: ClassVar[int] = 1

    def __init__(self, where: object, what: str):
        super().__init__(f"{where}: {what}")
        self.where = str(where)
        self.what = what


class UserError(ReportedError):
    """A mistake in what the user gave, and theirs to fix: a file, a flag, a recipe key."""

    status: ClassVar[int] = 2


def unwritable(where: object, error: OSError) -> ReportedError:
    """What to raise where something cannot be written: a full or broken disk is nobody's mistake."""
    kind = ReportedError if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO) else UserError
    return kind(where, f"cannot be written: {error.strerror}")


def and_more(things: Sized) -> str:
    """What to say behind the first of several things."""
    return f" (and {len(things) - 1} more)" if len(things) > 1 else ""


def check_at_least(config: object, least: float, *names: str) -> None:
    """Refuse fields of a configuration that are below ``least``.

    Raises:
        ValueError: naming the first such field.
    """
    for name in names:
        value = getattr(config, name)
        if not value >= least:
            raise ValueError(f"{name} is {value}, expected at least {least:g}")
