"""With which recipe a run goes on: its own, with the changes that were accepted."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from hrm_arc.errors import UserError
from hrm_arc.runs.folder import RunFolder, differences, dotted
from hrm_arc.training.build import absolute_sources
from hrm_arc.training.config import Recipe
from hrm_arc.training.recipes import load_recipe


def resumed_recipe(run: RunFolder, recipe: str | None, flags: list[str], overrides: Sequence[str]) -> Recipe:
    """The recipe to go on with: the run's own, with the changes that were accepted.

    Args:
        run: the run.
        recipe: a recipe given beside the run, or None for the run's own.
        flags: dotted flags, applied to it.
        overrides: the dotted keys that may differ from the run's.

    Raises:
        UserError: other keys differ, or there is no run.
    """
    own = recipe_of_run(run)
    wanted = absolute_sources(recipe_of_run(run, flags) if recipe is None else load_recipe(recipe, flags))
    wanted = _resolved_as(own, wanted)
    accepted_changes(run, wanted, overrides)
    return wanted


def accepted_changes(
    run: RunFolder, recipe: Recipe, overrides: Collection[str], aside: Sequence[str] = ()
) -> dict[str, tuple[Any, Any]]:
    """The dotted keys in which a recipe to go on with differs from the run's own, with the values of both.

    Args:
        run: the run.
        recipe: the recipe, with the run's values for ``auto``.
        overrides: the keys that may differ.
        aside: keys and sections that are not compared. A model in memory is one of them: it may be of a class that no
            recipe can name.

    Raises:
        UserError: other keys differ.
    """
    own = recipe_of_run(run) if "model" not in aside else load_recipe({**run.config(), "model": {"name": "grid-hrm"}})
    found = differences(_resolved_as(own, own).as_dict(), recipe.as_dict())
    keys = {"data", *dotted(own.as_dict()), *dotted(recipe.as_dict())}
    if unknown := [key for key in overrides if key not in keys]:
        raise UserError("--override", f"{unknown[0]} is no key of the recipe; give it without a value, beside the key")
    found = {key: values for key, values in found.items() if key not in aside and key.partition(".")[0] not in aside}
    if changed := [key for key in found if key not in overrides]:
        what = f"the recipe differs in {', '.join(changed)}; accept each with --override KEY to go on"
        raise UserError(run.path, what)
    return found


def recipe_of_run(run: RunFolder, flags: Sequence[str] = ()) -> Recipe:
    """The recipe of a run, with the changes that earlier resumes accepted, and with dotted flags.

    Raises:
        UserError: there is no run, or its recipe is damaged.
    """
    run.config()  # Raises the right error where this is no run.
    # Texts go in without quotes, which would become a part of the value.
    values = {key: value if isinstance(value, str) else json.dumps(value) for key, value in run.accepted().items()}
    accepted = [f"--{key}={value}" for key, value in values.items()]
    return load_recipe(run.config_file, [*accepted, *flags])


def restarted_run(recipe: Recipe, root: Path) -> RunFolder | None:
    """The run of this worker before torchrun restarted it, if it was in one.

    torchrun repeats the command after a worker was lost. The run is then the newest one under ``root`` that has
    the same recipe and has not finished.
    """
    if int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) == 0:
        return None
    for file in sorted(root.glob("*/config.yaml"), reverse=True):
        run = RunFolder(file.parent)
        with contextlib.suppress(UserError):  # Another run, which is damaged.
            own = recipe_of_run(run)
            wanted = _resolved_as(own, absolute_sources(recipe))
            if _resolved_as(own, own).as_dict() == wanted.as_dict() and run.status().get("state") != "finished":
                return run
    return None


def as_in_run(run: RunFolder, recipe: Recipe) -> Recipe:
    """A recipe to go on with, whose precision and compilation are the run's where it leaves the choice."""
    training = run.config().get("training", {})
    return recipe.resolve_auto(training.get("precision", "auto"), training.get("compile", "never"))


def _resolved_as(run: Recipe, recipe: Recipe) -> Recipe:
    """A recipe to go on with, in which the run's values stand for ``auto``; one without the key did not compile."""
    return recipe.resolve_auto(
        run.training.precision, "never" if run.training.compile == "auto" else run.training.compile
    )
