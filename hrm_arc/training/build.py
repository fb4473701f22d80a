"""From YAML, dotted flags or plain data to a recipe, and from a recipe to what a run needs."""

from __future__ import annotations

import difflib
import json
import re
from argparse import ArgumentError
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from torch import Tensor

from hrm_arc.errors import UserError, and_more
from hrm_arc.evaluation.metrics import find_metrics
from hrm_arc.evaluation.provenance import answers_seen
from hrm_arc.files import existing
from hrm_arc.models.reasoner import Reasoner, load_pretrained
from hrm_arc.models.spec import MODELS, find_model
from hrm_arc.puzzles.augmented import AugmentedSet
from hrm_arc.puzzles.canvas import CanvasKind
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.fresh import FreshSet
from hrm_arc.puzzles.leaks import leaks
from hrm_arc.puzzles.selection import at_most, smallest
from hrm_arc.puzzles.sources import BUILT_IN, PARTS, make_corpus
from hrm_arc.puzzles.task import Task
from hrm_arc.puzzles.transforms import find_transforms
from hrm_arc.puzzles.varied import VariedBoards
from hrm_arc.reading import LARGEST_YAML, parse_yaml, read_text
from hrm_arc.runs.card import Card
from hrm_arc.runs.checkpoint import WEIGHTS, newest_checkpoint, read_card, read_tensors
from hrm_arc.training.config import SECTIONS, Recipe
from hrm_arc.training.data import TrainingSet
from hrm_arc.training.losses import find_loss
from hrm_arc.training.packaged import recipe_folders, recipe_names

# Fine-tuning takes smaller steps than training from scratch.
FINETUNE_LR_FACTOR = 0.3
# Sources that come with the package win over a folder of the same name.
BUILT_IN_SOURCE = re.compile(rf"({'|'.join(map(re.escape, BUILT_IN))})(/|$)")


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
    except ArgumentError as error:
        raise _explain(str(error), path, parser) from None
    return _checked(_assemble(parsed.as_dict(), path))


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


def recipe_parser(model: str) -> ArgumentParser:
    """A parser for recipes of one model: YAML through ``--config``, and dotted flags.

    Raises:
        UserError: there is no such model, or it is not importable here.
    """
    spec = find_model(model)
    parser = ArgumentParser(usage="hrm train RECIPE [--key.subkey value ...]", exit_on_error=False, default_env=False)
    parser.add_argument("--config", action="config", help="the recipe to start from")
    parser.add_argument("--name", type=str, default="unnamed", help="the name of the experiment")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, variants and the order of samples")
    parser.add_argument("--model.name", type=str, default=model, help=f"{', '.join(MODELS)}, or package.module:Name")
    parser.add_class_arguments(spec.config, "model")
    for section, config in SECTIONS.items():
        parser.add_class_arguments(config, section)
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


def absolute_sources(recipe: Recipe) -> Recipe:
    """The recipe with its relative paths made absolute, so that a run does not depend on the working directory."""

    def absolute(source: str) -> str:
        base, _, split = source.rpartition("/")
        if not BUILT_IN_SOURCE.match(source) and existing(source) is not None:
            return str(Path(source).expanduser().resolve())
        if split in PARTS and base and not BUILT_IN_SOURCE.match(source) and existing(base) is not None:
            return f"{Path(base).expanduser().resolve()}/{split}"
        return source

    paths: dict[str, Any] = {k: [absolute(s) for s in getattr(recipe.data, k)] for k in ("solve", "study", "exclude")}
    return replace(recipe, data=replace(recipe.data, **paths))


def load_corpus(recipe: Recipe) -> Corpus:
    """Load a recipe's tasks.

    Raises:
        UserError: a source is not available, or a study task gives away what is to be solved.
    """
    data = recipe.data
    corpus = make_corpus(data.solve, data.study, data.exclude)
    if data.largest:
        corpus = replace(corpus, solve=at_most(corpus.solve, data.largest))
    if data.smallest:
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

    def leaks(self, tasks: Sequence[Task]) -> list[str]:
        """What the weights were trained on that answers one of the tasks to be solved."""
        seen = answers_seen(self.card, tasks)
        return [*self.card.leaks, *(f"{name}, given away in the training that it began with" for name in seen)]


def initialize(model: Reasoner, recipe: Recipe, corpus: Corpus, pretrained: Pretrained | None) -> None:
    """Check that a new model can be trained on a corpus, and load pretrained weights where there are some.

    Raises:
        UserError: it cannot, or the weights belong to another model.
    """
    if model.variants > 1 and any(task.boards for task in corpus.tasks):
        what = "a game's boards cannot have a row for each variant; use 0, or --model.puzzle_emb shared"
        raise UserError("data.augment", what)
    if pretrained is not None:
        rows = [pretrained.rows.get(task.id) for task in corpus.tasks]
        try:
            load_pretrained(model, pretrained.weights, rows, find_model(recipe.model["name"]).task_tables)
        except ValueError as error:
            raise UserError("the checkpoint to start from", str(error)) from None


def finetuning_recipe(source: str, seconds: float, seed: int, card: Card | None = None) -> Recipe:
    """The recipe of ``hrm solve``: learn the demonstrations of a source's tasks for some seconds.

    Args:
        source: see :mod:`hrm_arc.puzzles.sources`.
        seconds: of training.
        seed: of weights, variants and the order of samples.
        card: of a checkpoint to start from, which then decides on the model, its canvas and what its loss counts.
    """
    recipe = load_recipe("solve", ["--seed", str(seed), "--training.max_minutes", repr(seconds / 60)])
    # The source is not a flag, because a path or name may contain what has a meaning in YAML. A folder in which one
    # task gives away another's answer may be solved; the caller reports it.
    data = replace(recipe.data, solve=[source], allow_leak=True)
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
        loss=replace(recipe.loss, ignore_padding=card.ignores_padding),
        optimizer=optimizer,
    )


def _chosen_model(path: Path, data: Any, flags: Sequence[str]) -> str:
    """The model of a recipe, which decides on the keys of the model's section; the recipe has sections of keys."""
    if not isinstance(data, dict) or not isinstance(data.get("model"), dict) or "name" not in data["model"]:
        raise UserError(path, "not a recipe: it has no 'model' with a 'name'")
    if "config" in data:
        raise UserError(path, "no key config: a recipe cannot include another file")
    for section in SECTIONS:
        if not isinstance(data.get(section, {}), dict):
            raise UserError(path, f"'{section}' is a single value, expected a section of keys")
    for place, flag in enumerate(flags):
        if flag == "--model.name" and place + 1 < len(flags):
            return flags[place + 1]
        if flag.startswith("--model.name="):
            return flag.partition("=")[2]
    return str(data["model"]["name"])


def _assemble(parsed: dict[str, Any], path: Path) -> Recipe:
    """A Recipe from what the parser read; each section checks its own values."""
    sections: dict[str, Any] = {}
    if missing := [key for key in ("name", "seed") if parsed[key] is None]:
        raise UserError(path, f"{missing[0]} has no value")
    for section, config in SECTIONS.items():
        if missing := [key for key, value in parsed[section].items() if value is None]:
            raise UserError(path, f"{section}.{missing[0]} has no value")
        try:
            sections[section] = config(**parsed[section])
        except ValueError as error:
            raise UserError(path, f"{section}: {error}") from None
    model = dict(parsed["model"])
    schema = find_model(model["name"]).config
    for each in fields(schema):
        if model.get(each.name, each) is None and "None" not in str(each.type):
            raise UserError(path, f"model.{each.name} has no value")
    try:
        schema(**{key: value for key, value in model.items() if key != "name"})
    except ValueError as error:
        raise UserError(path, f"model: {error}") from None
    try:
        return Recipe(name=parsed["name"], seed=parsed["seed"], model=model, **sections)
    except ValueError as error:
        raise UserError(path, str(error)) from None


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
        what = re.sub(r"<class '(\w+)'>", r"\1", match[2])
        what = re.sub(r"a typing.Literal\[(.+?)\]", r"one of \1", what)
        return UserError(match[1], what[0].lower() + what[1:])
    return UserError(path, message)


def _meant(key: str, parser: ArgumentParser) -> str:
    """What to say of an unknown key: this project's name of it, where it is one of HRM's, TRM's or a former one."""
    known = known_keys()
    keys = [action.dest for action in parser._actions]
    ours = known.get(key) or known.get(key.rpartition(".")[2])
    # A key of other models is not a name of this one's.
    if ours is not None and ours != key:
        return f"; its name here is {ours}"
    close = difflib.get_close_matches(key, keys, n=1)
    return f"; did you mean {close[0]}?" if close else ""


@cache
def known_keys() -> dict[str, str]:
    """Keys of the published configurations of HRM and TRM, and former keys of recipes, with what to use here."""
    return json.loads(resources.files("hrm_arc").joinpath("known_keys.json").read_text(encoding="utf-8"))
