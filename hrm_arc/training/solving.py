"""Tasks that nobody trained on: learn their demonstrations, from nothing or from a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from hrm_arc.runs.checkpoint import Card
from hrm_arc.training.recipe import Recipe
from hrm_arc.training.recipe_files import load_recipe

# A model that has learned something needs smaller steps than one that has not.
ADAPTING = 0.3


@dataclass(frozen=True)
class Beginning:
    """A model that was trained on other tasks, for a new run to begin with.

    Attributes:
        weights: its own.
        rows: the row of each task that it knows in its table, where that has a row for each.
        leaks: what it was given that answers what the new run is to solve.
    """

    weights: Mapping[str, Tensor]
    rows: Mapping[str, int]
    leaks: Sequence[str] = ()


def solving_recipe(source: str, seconds: float, seed: int, card: Card | None = None) -> Recipe:
    """The recipe for learning the tasks of a source for so many seconds.

    Args:
        source: see :mod:`hrm_arc.puzzles.sources`.
        seconds: of training.
        seed: of weights, variants and the order of samples.
        card: of a checkpoint to go on from: the model, its canvas and what its loss counts are
            the checkpoint's.
    """
    # As it is written: a path or name may hold what YAML has a meaning for.
    recipe = load_recipe("solve", ["--seed", str(seed), "--training.minutes", f"{seconds / 60:.6f}"])
    # A folder in which one task shows another's answer may be solved; the caller tells of it.
    data = replace(recipe.data, solve=[source], allow_leak=True)
    if card is None:
        return replace(recipe, data=data)
    optimiser = replace(
        recipe.optimiser,
        learning_rate=ADAPTING * recipe.optimiser.learning_rate,
        matrix_learning_rate=ADAPTING * recipe.optimiser.matrix_learning_rate,
    )
    return replace(
        recipe,
        data=replace(data, canvas=card.canvas),
        model={"name": card.model, **card.options},
        loss=replace(recipe.loss, ignore_padding=card.ignores_padding),
        optimiser=optimiser,
    )
