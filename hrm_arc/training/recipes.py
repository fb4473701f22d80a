"""Recipes from YAML, dotted flags or plain data, each checked; an error names the key and what would be right."""

from __future__ import annotations

import argparse
import difflib
import json
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import fields, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from hrm_arc.errors import UserError
from hrm_arc.evaluation.metrics import find_metrics
from hrm_arc.files import existing
from hrm_arc.models.spec import MODELS, find_model
from hrm_arc.puzzles.transforms import find_transforms
from hrm_arc.reading import LARGEST_YAML, parse_yaml, read_text
from hrm_arc.runs.card import Card
from hrm_arc.training.config import SECTIONS, BoardKind, LossConfig, Recipe
from hrm_arc.training.losses import find_loss
from hrm_arc.training.packaged import recipe_folders, recipe_names

# Fine-tuning takes smaller steps than training from scratch.
FINETUNE_LR_FACTOR = 0.3


def load_recipe(recipe: str | Path | Mapping[str, Any], flags: Sequence[str] = ()) -> Recipe:
    """Read a recipe and apply dotted flags.

    Args:
        recipe: a YAML file, the name of a packaged recipe such as ``quickstart``, or a recipe as plain data, such as
            ``{"model": {"name": "grid-hrm", "hidden_size": 64}, "training": {"max_steps": 100}}``.
        flags: such as ``["--optimizer.lr", "1e-3"]``.

    Raises:
        UserError: there is no such recipe, a key is unknown, or a value does not fit.
    """
    if isinstance(recipe, Mapping):
        path, text = Path("recipe"), json.dumps(recipe)
    else:
        path = find_recipe(str(recipe))
        text = read_text(path, LARGEST_YAML)
    parser = recipe_parser(_chosen_model(path, parse_yaml(text, path), flags))
    try:
        parsed = parser.parse_args([f"--config={text}", *flags])
    except argparse.ArgumentError as error:
        raise _explain(str(error), path, parser) from None
    return _checked(_assemble(parsed.as_dict(), path, {flag.partition("=")[0] for flag in flags}))


# The sections of a recipe that say how weights move.
OPTIMIZER_SECTIONS = ("loss", "halting", "optimizer", "schedule")


def load_init_recipe(
    recipe: str | Path, flags: Sequence[str] = (), card: Card | None = None, optimizer_of: str | None = None
) -> Recipe:
    """As :func:`load_recipe`, for a run that begins with weights or takes the settings of another recipe.

    Args:
        recipe: a YAML file, or the name of a packaged recipe.
        flags: dotted flags, which win.
        card: of an imported checkpoint to begin with, which then decides on the model, its canvas and what its loss
            counts: nobody writes down the sizes of a published model again. None, or the card of a run: the recipe
            decides.
        optimizer_of: a recipe whose loss, halting, optimizer and schedule are taken.

    Raises:
        UserError: see :func:`load_recipe`.
    """
    imported = card is not None and card.imported
    if not imported and optimizer_of is None:
        return load_recipe(recipe, flags)
    data = load_recipe(recipe).as_dict()
    if optimizer_of is not None:
        other = load_recipe(optimizer_of).as_dict()
        data |= {section: other[section] for section in OPTIMIZER_SECTIONS}
    if card is not None and imported:
        data["model"] = {"name": card.model, **card.options}
        data["data"]["canvas"] = card.canvas
        data["loss"]["ignore_padding"] = card.ignores_padding
    return load_recipe(data, flags)


# Flags of the parser itself, which include files, take whole sections or print the recipe.
PARSERS_FLAGS = frozenset(f"--{name}" for name in ("config", "print_config", "model", *SECTIONS))


def recipe_parser(model: str) -> ArgumentParser:
    """A parser for recipes of one model: YAML through ``--config``, and dotted flags.

    Raises:
        UserError: there is no such model, or it is not importable here.
    """
    spec = find_model(model)
    parser = ArgumentParser(exit_on_error=False, default_env=False, allow_abbrev=False, usage=argparse.SUPPRESS)
    parser.add_argument("--config", action="config")
    parser.add_argument("--name", type=str, default="unnamed", help="the name of the experiment")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, variants and the order of samples")
    parser.add_argument("--model.name", type=str, default=model, help=f"{', '.join(MODELS)}, or package.module:Name")
    parser.add_class_arguments(spec.config, "model")
    for section, config in SECTIONS.items():
        parser.add_class_arguments(config, section)
    for action in parser._actions:
        if PARSERS_FLAGS.intersection(action.option_strings):
            action.help = argparse.SUPPRESS
    return parser


def find_recipe(recipe: str) -> Path:
    """The file of a recipe: a path, or the name of a packaged recipe.

    Raises:
        UserError: there is no such file.
    """
    if (path := existing(recipe)) and path.is_file():
        return path
    name = recipe.removeprefix("recipes/").removesuffix(".yaml")
    for root in recipe_folders():
        packaged = root / f"{name}.yaml"
        if packaged.is_file():
            return packaged
    raise UserError(recipe, f"no such recipe file; the packaged ones are {', '.join(recipe_names())}")


def finetuning_recipe(
    source: str,
    seconds: float,
    seed: int,
    card: Card | None = None,
    accelerator: str = "auto",
    precision: str = "auto",
    boards: bool = False,
) -> Recipe:
    """The recipe of ``hrm solve``: learn the demonstrations of a source's tasks for some seconds.

    Args:
        source: see :mod:`hrm_arc.puzzles.sources`.
        seconds: of training.
        seed: of weights, variants and the order of samples.
        card: of a checkpoint to start from, which then decides on the model, its canvas and its loss.
        accelerator, precision: as in a recipe's ``training``.
        boards: whether the tasks are boards of games whose symmetries are known: variants of those are images under
            these symmetries, without rows of their own.

    Raises:
        UserError: the loss of the checkpoint is not available here.
    """
    limit = ["--training.max_minutes", repr(seconds / 60)]
    device = ["--training.accelerator", accelerator, "--training.precision", precision]
    recipe = load_recipe("solve", ["--seed", str(seed), *limit, *device])
    # The source is not a flag, because a path or name may contain what has a meaning in YAML. A folder in which one
    # task gives away another's answer may be solved; the caller reports it.
    kind: BoardKind = "symmetries" if boards else "variants"
    data = replace(recipe.data, solve=[source], allow_leak=True, boards=kind)
    if card is None:
        return replace(recipe, data=data)
    optimizer = replace(
        recipe.optimizer,
        lr=FINETUNE_LR_FACTOR * recipe.optimizer.lr,
        matrix_lr=FINETUNE_LR_FACTOR * recipe.optimizer.matrix_lr,
    )
    return replace(
        recipe,
        data=replace(data, canvas=card.canvas),
        model={"name": card.model, **card.options},
        loss=_loss_of(recipe.loss, card),
        optimizer=optimizer,
        evaluation=replace(recipe.evaluation, halt_at=card.halt_at),
    )


def _loss_of(usual: LossConfig, card: Card) -> LossConfig:
    """The loss for a fine-tuning of a checkpoint: that of its training, or else its model's own, where it has one.

    Raises:
        UserError: it has other keys or values than a recipe's, or is not importable here.
    """
    try:
        known = card.loss or find_model(card.model).loss
        loss = replace(usual, **{**known, "ignore_padding": card.ignores_padding})
        find_loss(loss)
        return loss
    except (TypeError, ValueError) as error:
        raise UserError(card.model, f"its loss is not one of a recipe: {error}") from None


def _chosen_model(path: Path, data: Any, flags: Sequence[str]) -> str:
    """The model of a recipe, which decides on the keys of the model's section; the recipe has sections of keys."""
    if not isinstance(data, dict) or not isinstance(data.get("model"), dict) or "name" not in data["model"]:
        raise UserError(path, "not a recipe: it has no 'model' with a 'name'")
    if "config" in data:
        raise UserError(path, "no key config: a recipe cannot include another file")
    if dotted := [key for key in data if "." in str(key)]:
        raise UserError(path, f"no key {dotted[0]} at this place; put it into its section")
    # Keys that the parser uses itself.
    if inner := [key for key in data if str(key).startswith("__")]:
        raise UserError(path, f"no key {inner[0]}")
    for section in ("model", *SECTIONS):
        if not isinstance(data.get(section, {}), dict):
            raise UserError(path, f"'{section}' is a single value, expected a section of keys")
        if inner := [key for key in data.get(section, {}) if str(key).startswith("__")]:
            raise UserError(path, f"no key {section}.{inner[0]}")
    name = str(data["model"]["name"])
    for place, flag in enumerate(flags):
        key = flag.partition("=")[0]
        if key in PARSERS_FLAGS:
            raise UserError(key, "no such key of a recipe; keys have a section and a name, such as --data.augment")
        if flag == "--model.name" and place + 1 < len(flags):
            name = flags[place + 1]
        elif key == "--model.name":
            name = flag.partition("=")[2]
    return name


def _assemble(parsed: dict[str, Any], path: Path, given: Set[str]) -> Recipe:
    """A Recipe from what the parser read; each section checks its own values. ``given``: the flags beside the file."""
    sections: dict[str, Any] = {}
    if missing := [key for key in ("name", "seed") if parsed[key] is None]:
        raise UserError(path, f"{missing[0]} has no value")
    for section, config in SECTIONS.items():
        if missing := [key for key, value in parsed[section].items() if value is None]:
            raise UserError(path, f"{section}.{missing[0]} has no value")
        try:
            sections[section] = config(**parsed[section])
        except ValueError as error:
            raise _refused(path, section, str(error), given) from None
    model = dict(parsed["model"])
    schema = find_model(model["name"]).config
    for each in fields(schema):
        if model.get(each.name, each) is None and "None" not in str(each.type):
            raise UserError(path, f"model.{each.name} has no value")
    try:
        schema(**{key: value for key, value in model.items() if key != "name"})
    except ValueError as error:
        raise _refused(path, "model", str(error), given) from None
    try:
        return Recipe(name=parsed["name"], seed=parsed["seed"], model=model, **sections)
    except ValueError as error:
        raise UserError(path, str(error)) from None


def _refused(path: Path, section: str, what: str, given: Set[str]) -> UserError:
    """The error of a section, named by the flag that set its value, if one did."""
    key = what.partition(" ")[0]
    flag = f"--{section}.{key}"
    return UserError(flag, what.removeprefix(f"{key} is ")) if flag in given else UserError(path, f"{section}: {what}")


def _checked(recipe: Recipe) -> Recipe:
    """The recipe, once everything that it names has been found."""
    find_loss(recipe.loss)
    find_transforms(recipe.data.transforms, "data.transforms")
    find_metrics(recipe.evaluation.metrics)
    return recipe


def _explain(message: str, path: Path, parser: ArgumentParser) -> UserError:
    """One line from the parser's message, with the key that was probably meant."""
    message = " ".join(message.split())
    if match := re.fullmatch(r"Group '(.+)' does not accept option '(.+)'", message):
        return UserError(path, f"no key {match[1]}.{match[2]}{_meant(f'{match[1]}.{match[2]}', parser)}")
    if match := re.fullmatch(r"Option '(.+)' is not accepted", message):
        return UserError(path, f"no key {match[1]}{_meant(match[1], parser)}")
    if match := re.match(r"unrecognized arguments: (\S+)", message, re.IGNORECASE):
        flag = match[1].partition("=")[0]
        if not flag.startswith("-") and flag in {action.dest for action in parser._actions}:
            return UserError(flag, f"no such flag; flags start with two dashes: --{flag}")
        return UserError(flag, f"no such flag{_meant(flag.lstrip('-'), parser)}")
    if match := re.match(r'Parser key "(.+?)": (.+)', message):
        what = re.sub(r"\ba int\b", "an int", re.sub(r"<class '(\w+)'>", r"\1", match[2]))
        what = re.sub(r"a typing.Literal\[(.+?)\]", r"one of \1", what)
        return UserError(match[1], what[0].lower() + what[1:])
    return UserError(path, message)


def _meant(key: str, parser: ArgumentParser) -> str:
    """What to say of an unknown key: this project's name of it, where it is one of HRM's, TRM's or a former one."""
    known = known_keys()
    # Who mistypes an option of the model does not mean a key of another section.
    keys = [action.dest for action in parser._actions if not key.startswith("model.") or _is_option(action.dest)]
    ours = known.get(key) or known.get(key.rpartition(".")[2])
    # A key of other models is not a name of this one's.
    if ours is not None and ours != key:
        return f"; its name here is {ours}"
    close = difflib.get_close_matches(key, keys, n=1)
    if not close and key.startswith("model."):
        return f"; the model has {', '.join(filter(_is_option, keys)) or 'no keys'}"
    return f"; did you mean {close[0]}?" if close else ""


def _is_option(key: str) -> bool:
    """Whether a key is an option of the recipe's model."""
    return key.startswith("model.") and key != "model.name"


@cache
def known_keys() -> dict[str, str]:
    """Keys of the published configurations of HRM and TRM, and former keys of recipes, with what to use here."""
    return json.loads(resources.files("hrm_arc").joinpath("known_keys.json").read_text(encoding="utf-8"))
