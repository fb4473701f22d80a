"""From a recipe to what a run needs: tasks, data sets, and the weights that it begins with."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hrm_arc.errors import UserError, and_more
from hrm_arc.evaluation.provenance import answers_seen
from hrm_arc.files import existing
from hrm_arc.models.reasoner import Reasoner, load_pretrained
from hrm_arc.models.spec import build_model, find_model, options_of, reference_to
from hrm_arc.puzzles.augmented import AugmentedSet
from hrm_arc.puzzles.canvas import CanvasKind
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.fresh import FreshSet
from hrm_arc.puzzles.leaks import leaks
from hrm_arc.puzzles.paths import PARTS, without_numbers
from hrm_arc.puzzles.selection import at_most, smallest
from hrm_arc.puzzles.sources import BUILT_IN, GENERATED, is_registered, make_corpus
from hrm_arc.puzzles.task import Task
from hrm_arc.puzzles.varied import VariedBoards
from hrm_arc.runs.card import Card
from hrm_arc.runs.checkpoint import WEIGHTS, newest_checkpoint, read_card, read_tensors
from hrm_arc.training.config import DataConfig, Recipe
from hrm_arc.training.data import TrainingSet

# Sources that come with the package win over a folder of the same name.
BUILT_IN_SOURCE = re.compile(rf"({'|'.join(map(re.escape, BUILT_IN))})(/|$)")


def absolute_sources(recipe: Recipe) -> Recipe:
    """The recipe with its relative paths made absolute, so that a run does not depend on the working directory."""

    def absolute(source: str) -> str:
        name, numbers = without_numbers(source)
        if BUILT_IN_SOURCE.match(name) or GENERATED.fullmatch(name) or is_registered(source):
            return source
        base, _, split = name.rpartition("/")
        if existing(name) is not None:
            return f"{Path(name).expanduser().resolve()}{numbers}"
        if split in PARTS and base and existing(base) is not None:
            return f"{Path(base).expanduser().resolve()}/{split}{numbers}"
        return source

    paths: dict[str, Any] = {k: [absolute(s) for s in getattr(recipe.data, k)] for k in ("solve", "study", "exclude")}
    return replace(recipe, data=replace(recipe.data, **paths))


def complete_recipe(recipe: Recipe, corpus: Corpus | None, model: Reasoner | None) -> Recipe:
    """The recipe as a run's config.yaml has it: with absolute sources and every option of its model.

    Args:
        recipe: the recipe.
        corpus: tasks in memory in place of its sources, which are then left out: whoever scores the run would read
            them again.
        model: a model in memory in place of the recipe's.

    Raises:
        UserError: a task in memory gives away what is to be solved, there is no such model, or an option does not fit
            it.
    """
    if corpus is not None:
        check_leaks(recipe, corpus)
        recipe = replace(recipe, data=replace(recipe.data, solve=[], study=[]))
    if model is not None:
        recipe = replace(recipe, model={"name": reference_to(model), **options_of(model)})
    else:
        recipe = _with_model_defaults(recipe)
    return absolute_sources(recipe)


def _with_model_defaults(recipe: Recipe) -> Recipe:
    name = recipe.model["name"]
    try:
        options = asdict(find_model(name).config(**recipe.model_options))
    except (TypeError, ValueError) as error:
        raise UserError("model", f"{name}: {error}") from None
    return replace(recipe, model={"name": name, **options, **recipe.model})


def load_corpus(recipe: Recipe) -> Corpus:
    """Load a recipe's tasks.

    Raises:
        UserError: a source is not available, or a study task gives away what is to be solved.
    """
    data = recipe.data
    corpus = make_corpus(data.solve, data.study, data.exclude)
    if data.largest and corpus.solve:
        corpus = replace(corpus, solve=at_most(corpus.solve, data.largest))
    if data.smallest and corpus.solve:
        corpus = replace(corpus, solve=smallest(corpus.solve, data.smallest))
    check_leaks(recipe, corpus)
    return corpus


def check_leaks(recipe: Recipe, corpus: Corpus) -> None:
    """Refuse a corpus whose study tasks answer its solve tasks, unless the recipe allows it.

    Raises:
        UserError: naming the first leak.
    """
    found = () if recipe.data.allow_leak else leaks(corpus)
    if found:
        what = f"answers what is to be solved: {found[0]}{and_more(found)}; leave out {found[0].task} with "
        raise UserError("data.study", what + "--data.exclude, or accept it with --allow-leak")


def training_set(recipe: Recipe, corpus: Corpus) -> TrainingSet:
    """What training draws from. It holds no test output of a task to be solved.

    Raises:
        UserError: fresh boards or the symmetries of a game are wanted of a task that has none, or there is no board to
            train on.
    """
    data = recipe.data
    if data.boards == "fresh":
        return FreshSet(corpus.tasks, recipe.seed)
    puzzles = corpus.training_puzzles()
    if not puzzles:
        raise UserError("data.solve", "has no boards to train on; --data.boards fresh makes them for generated games")
    if data.boards == "symmetries":
        return VariedBoards(puzzles, data.augment, recipe.seed)
    return AugmentedSet(
        puzzles,
        augment=data.augment,
        seed=recipe.seed,
        canvas=data.canvas,
        translate=data.translate,
        repeat=data.repeat,
    )


def unused_options(recipe: Recipe) -> list[str]:
    """Keys of a recipe that the way in which boards are varied does not use, where they differ from their defaults."""
    unused = {
        "variants": (),
        "symmetries": ("repeat", "translate"),
        "fresh": ("augment", "repeat", "translate", "sampling"),
    }[recipe.data.boards]
    usual = DataConfig()
    return [f"data.{name}" for name in unused if getattr(recipe.data, name) != getattr(usual, name)]


def held_out_set(recipe: Recipe, corpus: Corpus, canvas: CanvasKind | None = None) -> AugmentedSet:
    """What validation scores: the test pairs of tasks to be solved, not translated.

    Inputs lie on ``canvas``, by default as in training; labels on the full one, where token accuracy is counted.
    """
    return AugmentedSet(
        corpus.held_out_puzzles(),
        augment=recipe.validation.augment,
        seed=recipe.seed,
        canvas=canvas or recipe.data.canvas,
        label_canvas="full",
        repeat=recipe.data.repeat,
    )


@dataclass(frozen=True)
class Pretrained:
    """Weights that were trained on other tasks, to initialize a run with.

    Attributes:
        weights: a model's state dict.
        card: of their checkpoint.
    """

    weights: Mapping[str, Tensor]
    card: Card

    @classmethod
    def load(cls, path: str | Path) -> Pretrained:
        """The weights of a run or checkpoint.

        Args:
            path: a run folder, a checkpoint folder, or the name of weights that ship with the program.

        Raises:
            UserError: there is none, or it is damaged.
        """
        folder = newest_checkpoint(Path(path))
        # Weights that were saved to give them away are in bfloat16.
        weights = {
            n: each.float() if each.is_floating_point() else each for n, each in read_tensors(folder, WEIGHTS).items()
        }
        return cls(weights, read_card(folder))

    @property
    def rows(self) -> dict[str, int]:
        """The row of each known task in their task table; where each variant has one, that of the original."""
        return {name: 1 + (row - 1) * self.card.variants for name, row in self.card.rows().items()}

    def other_options(self, recipe: Recipe) -> str:
        """The options in which the model of a recipe differs from the one that had these weights, in words, or ""."""
        mine, theirs = (
            {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
            for options in (self.card.options, recipe.model_options)
        )
        return ", ".join(
            f"{name} {theirs[name]} in place of {mine[name]}"
            for name in theirs
            if name in mine and mine[name] != theirs[name]
        )

    def leaks(self, tasks: Sequence[Task]) -> list[str]:
        """What the weights were trained on that answers one of the tasks to be solved."""
        seen = answers_seen(self.card, tasks)
        return [*self.card.leaks, *(f"{name}, given away in the training that it began with" for name in seen)]


def model_of_run(recipe: Recipe, corpus: Corpus, variants: int, model: Reasoner | None) -> Reasoner:
    """The model of a run: the one in memory, or that of the recipe, with weights by the recipe's seed.

    Args:
        recipe: the recipe.
        corpus: the tasks, of which each has a row in a task table.
        variants: the number of variants of each task.
        model: a model in memory.

    Raises:
        UserError: it cannot be built.
    """
    torch.manual_seed(recipe.seed)
    return model or build_model(recipe.model["name"], recipe.model_options, len(corpus.tasks), variants)


def initialize(model: Reasoner, recipe: Recipe, corpus: Corpus, pretrained: Pretrained | None) -> None:
    """Check that a new model can be trained on a corpus, and load pretrained weights where there are some.

    Raises:
        UserError: it cannot, or the weights belong to another model.
    """
    if model.variants > 1 and any(task.boards for task in corpus.tasks):
        what = "a game's boards cannot have a row for each variant; use 0, or --data.boards symmetries"
        raise UserError("data.augment", what)
    recolors = recipe.data.boards == "variants" and recipe.data.augment > 0
    if recolors and recipe.model_options.get("vocabulary") == "maze":
        what = "the tokens of a published Maze model have no other colors; use 0, or --data.boards symmetries"
        raise UserError("data.augment", what)
    if pretrained is not None:
        rows = [pretrained.rows.get(task.id) for task in corpus.tasks]
        try:
            load_pretrained(model, pretrained.weights, rows, find_model(recipe.model["name"]).task_tables)
        except ValueError as error:
            raise UserError("the checkpoint to start from", str(error)) from None
