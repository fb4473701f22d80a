"""What the API pages change in docstrings before they are parsed."""

from __future__ import annotations

import re
from typing import Any

import griffe

# Several names with one description, as an entry of a section such as Args: "    height, width: of the canvas."
GROUPED = re.compile(r"^( +)((?:\w+, )+\w+): (.*(?:\n\1 +.*)*)", re.MULTILINE)
ROLE = re.compile(r":(attr|class|data|exc|func|meth|mod):`(~?)([\w.]+)`")
# The packages that have a page. Attributes and constants have no anchor where they have no docstring.
PAGES = re.compile(r"hrm_arc\.(puzzles|models|training|evaluation|deploy|runs)\.")
UNLINKED = ("attr", "data")


class Docstrings(griffe.Extension):
    """Gives each of several names an entry of its own, and turns Sphinx's roles into links."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring:
            obj.docstring.value = ROLE.sub(_link, GROUPED.sub(_entries, obj.docstring.value))


def _entries(match: re.Match[str]) -> str:
    indent, names, text = match.groups()
    return "\n".join(f"{indent}{name}: {text}" for name in names.split(", "))


def _link(match: re.Match[str]) -> str:
    role, short, name = match.groups()
    shown = name.rpartition(".")[2] if short else name
    return f"[`{shown}`][{name}]" if PAGES.match(name) and role not in UNLINKED else f"`{shown}`"
