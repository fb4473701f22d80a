"""Registries of what recipes name: a registered name, or ``package.module:attribute`` in any package."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from hrm_arc.errors import UserError

T = TypeVar("T")
REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


class Registry(Generic[T]):
    """Named objects of one kind.

    Args:
        kind: what they are called in an error, such as ``model``.
        built_in: names with the object, or with a reference to it that is imported when it is asked for.
    """

    def __init__(self, kind: str, built_in: Mapping[str, T | str] | None = None):
        self.kind = kind
        self._known: dict[str, Any] = dict(built_in or {})

    def register(self, name: str, thing: T) -> T:
        """Add ``thing`` under ``name``; it replaces an earlier one of that name.

        Raises:
            ValueError: the name is empty, or has the form of a reference.
        """
        if not name or ":" in name:
            raise ValueError(f"{name!r} cannot name a {self.kind}: a name has no colon")
        self._known[name] = thing
        return thing

    def find(self, name: str, where: object = None) -> T:
        """What is registered as ``name``, or what ``package.module:attribute`` refers to.

        Args:
            name: a registered name or a reference.
            where: the key, flag or file that an error names.

        Raises:
            UserError: there is no such name, or the reference is not importable here.
        """
        found = self._known.get(name)
        if found is None and not REFERENCE.fullmatch(name):
            known = ", ".join(self._known)
            raise UserError(
                where or self.kind, f"no {self.kind} {name!r}, expected one of {known}, or package.module:Name"
            )
        if found is None or isinstance(found, str):
            return import_reference(found or name, self.kind, where or self.kind)
        return found

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, name: object) -> bool:
        return name in self._known

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)


def import_reference(reference: str, kind: str, where: object) -> Any:
    """The object that ``package.module:attribute`` refers to.

    Modules are looked for where Python looks, and in the working directory. Nothing else is added to the path:
    a run folder, a recipe or an exported file brings no code of its own.

    Raises:
        UserError: the module or the attribute is not importable here, or belongs to Python itself; naming the
            reference.
    """
    module_name, _, attribute = reference.partition(":")
    missing = f"the {kind} {reference} is not importable here"
    # What is referred to is called. A stranger's recipe must not reach functions such as os.system.
    if module_name.partition(".")[0] in sys.stdlib_module_names and module_name != "__main__":
        raise UserError(where, f"{missing}: {module_name} is a module of Python itself")
    try:
        with_working_directory(lambda: importlib.import_module(module_name))
        return getattr(sys.modules[module_name], attribute)
    except ModuleNotFoundError as error:
        place = "in this folder or among the installed packages"
        raise UserError(where, f"{missing}: there is no module {error.name} {place}") from None
    except AttributeError:
        raise UserError(where, f"{missing}: {module_name} has no {attribute}") from None
    except (Exception, SystemExit) as error:  # Importing a module can raise anything.
        raise UserError(where, f"{missing}: {type(error).__name__}: {' '.join(str(error).split())}") from error


def with_working_directory(action: Callable[[], T]) -> T:
    """Call ``action`` while modules of the working directory are importable, as under ``python -m``."""
    here = os.getcwd()
    if here in sys.path or "" in sys.path:
        return action()
    # Last, so that no file there takes the place of an installed package.
    sys.path.append(here)
    try:
        return action()
    finally:
        sys.path.remove(here)
