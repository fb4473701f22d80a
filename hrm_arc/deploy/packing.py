"""The weights of a run as a folder to give away: bfloat16, with a card, the recipe and a description."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml

from hrm_arc.errors import UserError
from hrm_arc.evaluation.torch_backend import check_weights
from hrm_arc.files import write_json
from hrm_arc.runs.card import Card
from hrm_arc.runs.checkpoint import (
    WEIGHTS,
    newest_checkpoint,
    read_card,
    read_tensors,
    recipe_of,
    run_of,
    write_checkpoint,
)
from hrm_arc.runs.named import ABOUT, RECIPE, read_about
from hrm_arc.training.recipes import load_recipe

LICENSE = "Apache-2.0"
# What a card's field ``training`` says of the weights themselves; the rest is for resuming.
OF_THE_WEIGHTS = ("imported", "chosen")


def save_weights(
    path: Path, out: Path, title: str | None = None, made_with: Sequence[str] = (), scoring: Sequence[str] = ()
) -> dict[str, Any]:
    """Save the weights of a run's newest checkpoint, or of a checkpoint, to give them away.

    Floating-point tensors are rounded to bfloat16. The state of the optimizers is left out, so a run cannot be
    resumed from the folder, but ``--init-from`` begins a new one with it.

    Args:
        path: the run or checkpoint.
        out: the folder to write; it must not exist.
        title: one line that says what the weights are; None: the name of the recipe.
        made_with: the commands that make them again, such as those of several stages; none: the recipe's command, with
            the flags in which the run differs from the recipe of that name.
        scoring: the flags with which ``hrm weights save`` scores them.

    Returns:
        what about.json says, see :func:`hrm_arc.runs.named.read_about`.

    Raises:
        UserError: there is no checkpoint or no recipe beside it, ``out`` exists, or a weight is not finite.
        ReportedError: the folder cannot be written.
    """
    if out.exists():
        raise UserError(out, "exists already; name another folder")
    checkpoint = newest_checkpoint(path)
    card, recipe = read_card(checkpoint), recipe_of(checkpoint)
    if recipe is None:
        raise UserError(path, "has no recipe: nobody could tell how the weights were made")
    run = run_of(checkpoint)
    start = "" if run is None else run.begins_with()
    weights = read_tensors(checkpoint, WEIGHTS)
    check_weights(checkpoint / WEIGHTS, weights)
    rounded = {name: each.to(torch.bfloat16) if each.is_floating_point() else each for name, each in weights.items()}
    about = {
        "title": title or str(recipe["name"]),
        "license": LICENSE,
        "learned_from": _learned_from(card),
        "made_with": [
            *(made_with or [_command(recipe, start)]),
            shlex.join(["hrm", "weights", "save", "runs/RUN", out.name, *scoring]),
        ],
        "parameters": sum(each.numel() for each in weights.values()),
        "steps": card.step,
        "scores": [],
    }
    kept = {key: value for key, value in card.training.items() if key in OF_THE_WEIGHTS}
    texts = {
        RECIPE: yaml.safe_dump(recipe, sort_keys=False),
        ABOUT: json.dumps(about, indent=1) + "\n",
    }
    write_checkpoint(out, replace(card, training=kept, places={}), {WEIGHTS: rounded}, texts)
    return about


def _command(recipe: Mapping[str, Any], start: str) -> str:
    """The command that trains a recipe: by its name, with flags for what differs from the recipe of that name here.

    Args:
        recipe: the recipe.
        start: the name of the run whose weights it began with, or "".
    """
    begin = [f"--init-from {shlex.quote(f'runs/{start}')}"] if start else []
    name = str(recipe["name"])
    try:
        usual = load_recipe(name).as_dict()
    except UserError:
        return " ".join(["hrm train recipe.yaml", *begin])
    flags = [f"--seed {recipe['seed']}"] if recipe["seed"] != usual["seed"] else []
    for section, values in recipe.items():
        if not isinstance(values, dict):
            continue
        known = usual.get(section) or {}
        for key, value in values.items():
            # What auto stood for on that machine is not a choice.
            if value != known.get(key) and known.get(key) != "auto":
                shown = value if isinstance(value, str) else json.dumps(value)
                flags.append(f"--{section}.{key} {shlex.quote(shown)}")
    return " ".join([f"hrm train {name}", *begin, *flags])


def _learned_from(card: Card) -> list[str]:
    """What a model was given, in words."""
    said = []
    if card.held_out:
        of = ", ".join(card.solve) or "memory"
        said.append(f"the demonstrations of {card.held_out} tasks of {of}; their test outputs were held out")
    if studied := len(card.tasks) - card.held_out:
        said.append(f"{studied} tasks of {', '.join(card.study) or 'memory'} with their test outputs")
    if earlier := card.earlier.get("names"):
        said.append(f"before, in the training that it began with: {len(earlier)} tasks with their test outputs")
    if card.goes_back_to_import:
        said.append("what a published checkpoint was trained on, which is not known here")
    return said


def add_scores(
    folder: Path, data: str, scores: Mapping[str, Any], solved: Mapping[str, bool] | None = None
) -> dict[str, Any]:
    """Add a row of scores to the description of saved weights; one on the same source is replaced.

    Args:
        folder: of the weights.
        data: the source that was scored.
        scores: as in scores.json.
        solved: whether each task is solved, where that is to be kept.

    Returns:
        what about.json says now.
    """
    about = read_about(folder)
    row = {
        "data": data,
        "tasks": scores["tasks"],
        "votes": scores["votes"],
        "test_outputs": scores["test_outputs"],
        "solved": scores["solved_pass2"],
        "pass@2": scores["pass@2"],
        "interval": scores["intervals"]["pass@2"],
        **({"warnings": scores["warnings"]} if scores["warnings"] else {}),
        **({} if solved is None else {"solved_tasks": sorted(name for name, is_solved in solved.items() if is_solved)}),
    }
    about["scores"] = [*(each for each in about["scores"] if each.get("data") != data), row]
    write_json(folder / ABOUT, about)
    return about
