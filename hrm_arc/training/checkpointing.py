"""A run's checkpoints: what is saved, and how it is restored."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from hrm_arc.errors import UserError, and_more
from hrm_arc.evaluation.provenance import changed_tasks, places_of
from hrm_arc.files import finite
from hrm_arc.models.reasoner import Reasoner
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.fingerprint import task_fingerprint
from hrm_arc.puzzles.leaks import leaks
from hrm_arc.puzzles.task import Task
from hrm_arc.runs.card import Card
from hrm_arc.runs.checkpoint import (
    BEST,
    LATEST,
    TRAINING,
    WEIGHTS,
    find_checkpoint,
    list_checkpoints,
    prune_checkpoints,
    read_card,
    read_tensors,
    remove_unfinished,
    save_checkpoint,
)
from hrm_arc.runs.folder import RunFolder
from hrm_arc.training.build import Pretrained
from hrm_arc.training.config import Recipe
from hrm_arc.training.distributed import Distributed
from hrm_arc.training.optim import EMA, swapped_in

log = logging.getLogger(__name__)

# Keys of a checkpoint's training tensors.
LIVE, OPTIMIZER, RANDOM = "live", "optimizer", "random"


@dataclass(frozen=True)
class Checkpoints:
    """What is saved of a run: weights, their average, optimizers, and every process's random state.

    The weights of a checkpoint are those to use: the average, where there is one.

    Attributes:
        run: the run.
        distributed: the processes that train; the main one writes.
        model, optimizers, ema: what is saved and restored.
        keep_last: number of newest checkpoints to keep; of the best one, one is kept.
    """

    run: RunFolder
    distributed: Distributed
    model: Reasoner
    optimizers: Sequence[Optimizer]
    ema: EMA | None
    keep_last: int

    def save(self, kind: str, card: Card) -> Path | None:
        """Write a checkpoint; every process takes part, and the main one gets its folder.

        Raises:
            ReportedError: it cannot be written.
        """
        random_states = self.distributed.all_gather(random_state(self.distributed.device))
        if not self.distributed.is_main:
            return None
        tensors = optimizer_tensors(self.optimizers)
        tensors |= {f"{RANDOM}.{rank}": random_states[rank] for rank in range(self.distributed.world_size)}
        if self.ema is not None:
            tensors |= {f"{LIVE}.{name}": t.to("cpu", copy=True) for name, t in self.model.state_dict().items()}
        if kind == BEST:
            card = replace(card, training={**card.training, "chosen": True})
        with swapped_in(self.ema):
            folder = save_checkpoint(self.run.checkpoints, kind, card, self.model.state_dict(), tensors)
        prune_checkpoints(folder, self.keep_last if kind == LATEST else 1)
        return folder

    def is_finite(self) -> bool:
        """Whether all weights are finite."""
        return all(bool(each.isfinite().all()) for each in self.model.parameters())

    def names(self) -> list[str]:
        """The names of the checkpoints that there are now."""
        return sorted(each.name for kind in (LATEST, BEST) for each in list_checkpoints(self.run.checkpoints, kind))

    def tidy(self) -> None:
        """Remove what killed processes had begun to write; no other process may be training this run."""
        if self.distributed.is_main:
            remove_unfinished(self.run.checkpoints)

    def restore(self, tasks: Sequence[Task], accept_changes: bool = False) -> Card | None:
        """Restore the newest whole checkpoint; returns its card, or None if the run has written none yet.

        A newer checkpoint that is damaged is logged as a warning.

        Args:
            tasks: in the order of the model's table.
            accept_changes: go on although grids of the tasks have changed.

        Raises:
            UserError: all are damaged or gone, were trained on other tasks, or do not fit the model or the optimizers.
        """
        if not any(list_checkpoints(self.run.checkpoints, kind) for kind in (LATEST, BEST)):
            written = self.run.status().get("last_checkpoint")
            if written:
                raise UserError(self.run.path, f"{written} is gone, and no other checkpoint is left: start a new run")
            return None
        folder, damaged = find_checkpoint(self.run.path)
        for error in damaged if self.distributed.is_main else ():
            log.warning("%s; going on from %s", error, folder.name)
        card = read_card(folder)
        self._check_tasks(folder, card, tasks, accept_changes)
        weights, tensors = read_tensors(folder, WEIGHTS), read_tensors(folder, TRAINING)
        try:
            # With another --optimizer.ema only one side may have an average.
            self.model.load_state_dict({name: tensors.get(f"{LIVE}.{name}", t) for name, t in weights.items()})
            if self.ema is not None:
                self.ema.load(weights)
            restore_optimizers(self.optimizers, tensors)
            own = tensors.get(f"{RANDOM}.{self.distributed.rank}")
            if own is not None:
                restore_random_state(own, self.distributed.device)
        except (RuntimeError, TypeError, ValueError):
            what = "does not fit the recipe: the model, its sizes and the kind of optimizer have to stay as they were"
            raise UserError(folder, what) from None
        if not {"seconds", "best", "gate", "precision"} <= card.training.keys():
            raise UserError(folder, "damaged: its card does not say where the training was")
        return card

    def _check_tasks(self, folder: Path, card: Card, tasks: Sequence[Task], accept_changes: bool) -> None:
        """Refuse tasks that are not those that the run was trained on."""
        if card.tasks != [task.id for task in tasks]:
            raise UserError(folder, "was trained on other tasks than the sources have now")
        changes = changed_tasks(card, tasks, games=True)
        if not changes:
            return
        name, said = next(iter(changes.items()))
        what = f"{name}: {said[0]} since the run was trained{and_more(changes)}"
        if not accept_changes:
            raise UserError(self.run.path, f"{what}; accept it with --override data")
        if self.distributed.is_main:
            log.warning("%s", what)


@dataclass(frozen=True)
class Provenance:
    """What the weights of a run were shown, as far as its own tasks do not say.

    Attributes:
        leaks: training data that answered a task to be solved, in words.
        earlier: what the trainings before this one were given; see :class:`~hrm_arc.runs.card.Card`.
    """

    leaks: list[str]
    earlier: dict[str, Any]

    @classmethod
    def of(cls, recipe: Recipe, corpus: Corpus, pretrained: Pretrained | None) -> Provenance:
        """The provenance of a new run, including that of the weights that it begins with."""
        own = map(str, leaks(corpus) if recipe.data.allow_leak else ())
        if pretrained is None:
            return cls([*own], {})
        return cls([*own, *pretrained.leaks(corpus.solve)], pretrained.card.for_later())

    def after(self, card: Card, now: Card) -> Provenance:
        """That of a run that goes on from a card. Overrides may have changed what is held out; what was given before
        stays known.
        """
        earlier = card.earlier if card.has_data_of(now) else card.for_later()
        return Provenance([*dict.fromkeys([*card.leaks, *self.leaks])], earlier)


def make_card(
    recipe: Recipe,
    corpus: Corpus,
    variants: int,
    provenance: Provenance,
    step: int,
    run: Path,
    training: dict[str, Any],
) -> Card:
    """The card of a checkpoint of a run; see :class:`hrm_arc.runs.card.Card`.

    Raises:
        UserError: it could not be read back, because the model's options are something else than numbers and texts.
    """
    card = Card(
        model=recipe.model["name"],
        options=recipe.model_options,
        tasks=[task.id for task in corpus.tasks],
        canvas=recipe.data.canvas,
        ignores_padding=recipe.loss.ignore_padding,
        solve=recipe.data.solve,
        study=recipe.data.study,
        held_out=len(corpus.solve),
        variants=variants,
        seed=recipe.seed,
        leaks=provenance.leaks,
        step=step,
        run_id=RunFolder(run).run_id,
        training=training,
        fingerprints={task.id: task_fingerprint(task) for task in corpus.tasks},
        places=places_of([*recipe.data.solve, *recipe.data.study], run),
        earlier=provenance.earlier,
        halt_at=recipe.evaluation.halt_at,
        fresh=recipe.data.boards == "fresh",
        loss=asdict(recipe.loss),
    )
    try:
        Card.from_json(finite(card.as_json()))
    except ValueError as error:
        raise UserError("the checkpoint's card", f"{error}: such a checkpoint could not be read") from None
    return card


def optimizer_tensors(optimizers: Sequence[Optimizer]) -> dict[str, Tensor]:
    """The state of every optimizer, as ``optimizer.<number>.<parameter>.<name>``.

    Learning rates are functions of the step and not part of it.
    """
    return {
        f"{OPTIMIZER}.{number}.{parameter}.{name}": value
        for number, optimizer in enumerate(optimizers)
        for parameter, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }


def restore_optimizers(optimizers: Sequence[Optimizer], tensors: Mapping[str, Tensor]) -> None:
    """The inverse of :func:`optimizer_tensors`, for new optimizers of the same kinds.

    Raises:
        ValueError: they are of other kinds, or have other parameters.
    """
    states: list[dict[int, dict[str, Tensor]]] = [{} for _ in optimizers]
    shapes = [[p.shape for group in each.param_groups for p in group["params"]] for each in optimizers]
    for key, value in tensors.items():
        if key.startswith(f"{OPTIMIZER}."):
            _, number, parameter, name = key.split(".")
            place, index = int(number), int(parameter)
            if place >= len(shapes) or index >= len(shapes[place]):
                raise ValueError(f"there is no parameter for {key}")
            if value.ndim and value.shape != shapes[place][index]:
                raise ValueError(f"{key} has shape {tuple(value.shape)}, not its parameter's")
            states[place].setdefault(index, {})[name] = value
    for optimizer, state in zip(optimizers, states, strict=True):
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def random_state(device: torch.device) -> Tensor:
    """This process's random state, of the CPU and of its GPU, as bytes in one tensor."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    elif device.type == "mps":
        states.append(torch.mps.get_rng_state())
    return torch.cat(states)


def restore_random_state(state: Tensor, device: torch.device) -> None:
    """The inverse of :func:`random_state`; on a CPU the GPU's part is ignored."""
    length = len(torch.get_rng_state())
    torch.set_rng_state(state[:length])
    if device.type == "cuda" and len(state) > length:
        torch.cuda.set_rng_state(state[length:], device)
    elif device.type == "mps" and len(state) > length:
        torch.mps.set_rng_state(state[length:])
