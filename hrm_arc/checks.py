"""Checks of values that anybody may have written, decoded or in a recipe: type and range, with the reason in words."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any

from hrm_arc.reading import kind_of

LARGEST_SEED = 2**63 - 1
"""What the random generators of every library here accept."""


def whole(name: str, value: Any, least: int = 0, most: int = 2**53) -> int:
    """A whole number in a range; true and false are none.

    Raises:
        ValueError: it is something else.
    """
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{name} is {value!r:.40}, expected a whole number from {least} to {most}")
    return value


def number(name: str, value: Any, least: float = -math.inf, most: float = math.inf) -> float:
    """A finite number in a range.

    Raises:
        ValueError: it is something else.
    """
    # math.isfinite raises an OverflowError for an integer that is too large for a float.
    finite = type(value) in (int, float) and abs(value) <= sys.float_info.max
    if not finite or not least <= value <= most:
        raise ValueError(f"{name} is {value!r:.40}, expected a number from {least:g} to {most:g}")
    checked: float = value
    return checked


def share(name: str, value: Any) -> float:
    """A number from 0 to 1.

    Raises:
        ValueError: it is something else.
    """
    return number(name, value, 0, 1)


def flag(name: str, value: Any) -> bool:
    """True or false.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{name} is {kind_of(value)}, expected true or false")
    return value


def text(name: str, value: Any, longest: int = 10_000) -> str:
    """A text.

    Raises:
        ValueError: it is something else, or is longer.
    """
    if not isinstance(value, str) or len(value) > longest:
        raise ValueError(f"{name} is {kind_of(value)}, expected a short text")
    return value


def listed(name: str, value: Any) -> list[Any]:
    """A list.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(value, list):
        raise ValueError(f"{name} is {kind_of(value)}, expected a list")
    return value


def texts(name: str, value: Any, longest: int = 10_000) -> list[str]:
    """A list of texts.

    Raises:
        ValueError: it is something else.
    """
    return [text(name, each, longest) for each in listed(name, value)]


def mapping(name: str, value: Any) -> dict[str, Any]:
    """An object.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {kind_of(value)}, expected an object")
    return value


def field(data: Mapping[str, Any], name: str) -> Any:
    """The value of a key.

    Raises:
        ValueError: there is none.
    """
    if name not in data:
        raise ValueError(f"has no {name}")
    return data[name]


def check_at_most(config: object, most: float, *names: str) -> None:
    """Check that fields of a configuration are at most ``most``: what is larger would never fit a machine.

    Raises:
        ValueError: naming the first such field.
    """
    for name in names:
        value = getattr(config, name)
        if not value <= most:
            raise ValueError(f"{name} is {value}, expected at most {most:,}")


def check_at_least(config: object, least: float, *names: str) -> None:
    """Check that fields of a configuration are at least ``least``, and finite: files have no other numbers.

    Raises:
        ValueError: naming the first such field.
    """
    for name in names:
        value = getattr(config, name)
        if not value >= least:
            raise ValueError(f"{name} is {value}, expected at least {least:g}")
        if value == math.inf:
            raise ValueError(f"{name} is infinite, expected a number")
