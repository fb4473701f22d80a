"""The one exception that is the user's to fix."""

from __future__ import annotations

from collections.abc import Sized


class UserError(Exception):
    """A mistake in what the user gave: a file, a flag, a recipe key.

    The command line prints it as one line, ``error: <where>: <what>``, and exits
    with status 2.

    Args:
        where: the file, flag or key that is at fault.
        what: what is wrong with it and what would be right, in one sentence.
    """

    def __init__(self, where: object, what: str):
        super().__init__(f"{where}: {what}")
        self.where = str(where)
        self.what = what


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
