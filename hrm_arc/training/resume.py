"""Which recipe a resumed run goes on with, and which run a restarted worker belongs to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from hrm_arc.errors import UserError
from hrm_arc.runs.folder import RunFolder, differences
from hrm_arc.training.recipe import Recipe
from hrm_arc.training.recipe_files import load_recipe


def resumed_recipe(run: RunFolder, recipe: str | None, flags: list[str], overrides: Sequence[str]) -> Recipe:
    """The recipe to go on with: the run's own, unless a change of it was agreed to.

    Args:
        run: the run.
        recipe: a recipe given beside the run, or None for the run's own.
        flags: dotted flags, applied to it.
        overrides: the dotted keys that may differ from the run's.

    Raises:
        UserError: other keys differ, or there is no run.
    """
    run.config()  # Says so where this is no run.
    own, wanted = load_recipe(str(run.config_file)), load_recipe(recipe or str(run.config_file), flags)
    changed = [key for key in differences(own.as_dict(), wanted.as_dict()) if key not in overrides]
    if changed:
        raise UserError(
            str(run.path), f"the recipe differs in {', '.join(changed)}; accept each with --override KEY to go on"
        )
    return wanted


def restarted_run(recipe: Recipe, root: Path) -> RunFolder | None:
    """The run that this worker was in before torchrun started it again, if it was in one.

    torchrun repeats the command after a worker was lost. The run it made then is the newest
    under ``root`` with the same recipe that has not finished.
    """
    if int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) == 0:
        return None
    wanted = recipe.as_dict()
    runs = [RunFolder(path.parent) for path in sorted(root.glob("*/config.yaml"), reverse=True)]
    return next((run for run in runs if run.config() == wanted and run.status().get("state") != "finished"), None)
