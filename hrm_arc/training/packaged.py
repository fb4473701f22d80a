"""The recipes that come with the package. Needs no torch."""

from __future__ import annotations

from pathlib import Path


def recipe_folders() -> list[Path]:
    """The folders of packaged recipes: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).resolve().parent.parent
    return [root for root in (package.parent / "recipes", package / "recipes") if root.is_dir()]


def recipe_names() -> list[str]:
    """The names of the packaged recipes, such as ``log/session-5``, in alphabetical order."""
    return sorted(str(f.relative_to(root).with_suffix("")) for root in recipe_folders() for f in root.rglob("*.yaml"))
