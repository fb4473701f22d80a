"""Recipes as YAML files; any key can be set with a dotted flag, ``--optimiser.clip 0.5``."""

from __future__ import annotations

import difflib
import re
from argparse import ArgumentError
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser

from hrm_arc.errors import UserError
from hrm_arc.models import KINDS
from hrm_arc.training.recipe import SECTIONS, Recipe


def load_recipe(recipe: str, overrides: list[str] | None = None) -> Recipe:
    """Read a recipe file (or a packaged recipe by name) and apply dotted flags.

    Raises:
        UserError: no such recipe, an unknown key, or a value that does not fit.
    """
    path = find_recipe(recipe)
    overrides = overrides or []
    parser = recipe_parser(_chosen_model(path, overrides))
    try:
        parsed = parser.parse_args(["--config", str(path), *overrides])
    except ArgumentError as error:
        raise _explain(str(error), path, parser) from None
    return _assemble(parsed.as_dict(), path)


def recipe_parser(model: str) -> ArgumentParser:
    """A parser for recipes of one model: YAML through ``--config``, and dotted flags.

    Raises:
        UserError: there is no such model.
    """
    if model not in KINDS:
        raise UserError("model.name", f"no model {model!r}, expected one of {', '.join(KINDS)}")
    parser = ArgumentParser(usage="hrm train RECIPE [--key.subkey value ...]", exit_on_error=False, default_env=False)
    parser.add_argument("--config", action="config", help="a recipe to start from")
    parser.add_argument("--name", type=str, default="unnamed", help="what the experiment is called")
    parser.add_argument("--seed", type=int, default=0, help="of weights, variants and the order of samples")
    parser.add_argument("--model.name", type=str, default=model, help=f"one of {', '.join(KINDS)}")
    parser.add_class_arguments(KINDS[model].config, "model")
    for section, config in SECTIONS.items():
        parser.add_class_arguments(config, section)
    return parser


def find_recipe(recipe: str) -> Path:
    """The file of a recipe: a path, or the name of one that comes with the package.

    Raises:
        UserError: there is no such file.
    """
    path = Path(recipe)
    if path.is_file():
        return path
    name = recipe.removeprefix("recipes/").removesuffix(".yaml")
    for root in recipe_folders():
        packaged = root / f"{name}.yaml"
        if packaged.is_file():
            return packaged
    known = sorted(str(f.relative_to(r).with_suffix("")) for r in recipe_folders() for f in r.rglob("*.yaml"))
    raise UserError(recipe, f"no such recipe file; the packaged ones are {', '.join(known)}")


def recipe_folders() -> list[Path]:
    """Where packaged recipes lie: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).resolve().parent.parent
    return [root for root in (package.parent / "recipes", package / "recipes") if root.is_dir()]


def _chosen_model(path: Path, overrides: list[str]) -> str:
    """The model that a recipe is for; it decides which keys the model's section has."""
    for place, flag in enumerate(overrides):
        if flag == "--model.name" and place + 1 < len(overrides):
            return overrides[place + 1]
        if flag.startswith("--model.name="):
            return flag.partition("=")[2]
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(path, f"cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(path, f"not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict) or not isinstance(data.get("model"), dict) or "name" not in data["model"]:
        raise UserError(path, "not a recipe: it has no 'model' with a 'name'")
    for section in SECTIONS:
        if not isinstance(data.get(section, {}), dict):
            raise UserError(path, f"'{section}' is one value, expected keys of its own")
    return str(data["model"]["name"])


def _assemble(parsed: dict[str, Any], path: Path) -> Recipe:
    """A Recipe from what the parser read; each section checks its own values."""
    sections: dict[str, Any] = {}
    for section, config in SECTIONS.items():
        try:
            sections[section] = config(**parsed[section])
        except ValueError as error:
            raise UserError(path, f"{section}: {error}") from None
    model = dict(parsed["model"])
    try:
        KINDS[model["name"]].config(**{key: value for key, value in model.items() if key != "name"})
    except ValueError as error:
        raise UserError(path, f"model: {error}") from None
    return Recipe(name=parsed["name"], seed=parsed["seed"], model=model, **sections)


def _explain(message: str, path: Path, parser: ArgumentParser) -> UserError:
    """One line from the parser's message, with the key that was probably meant."""
    message = " ".join(message.split())
    if match := re.fullmatch(r"Group '(.+)' does not accept option '(.+)'", message):
        return UserError(path, f"no key {match[1]}.{match[2]}{_meant(f'{match[1]}.{match[2]}', parser)}")
    if match := re.fullmatch(r"Option '(.+)' is not accepted", message):
        return UserError(path, f"no key {match[1]}{_meant(match[1], parser)}")
    if match := re.match(r"unrecognized arguments: (\S+)", message, re.IGNORECASE):
        flag = match[1].partition("=")[0]
        return UserError(flag, f"no such flag{_meant(flag.lstrip('-'), parser)}")
    if match := re.match(r'Parser key "(.+?)": (.+)', message):
        what = re.sub(r"<class '(\w+)'>", r"\1", match[2])
        what = re.sub(r"a typing.Literal\[(.+?)\]", r"one of \1", what)
        return UserError(match[1], what[0].lower() + what[1:])
    return UserError(path, message)


def _meant(key: str, parser: ArgumentParser) -> str:
    keys = [action.dest for action in parser._actions]
    close = difflib.get_close_matches(key, keys, n=1)
    return f"; did you mean {close[0]}?" if close else ""
