"""A run's tensors, written to its checkpoints and put back in place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch.optim import Optimizer

from hrm_arc.errors import UserError
from hrm_arc.models.reasoner import Reasoner
from hrm_arc.runs.checkpoint import (
    LATEST,
    TRAINING,
    WEIGHTS,
    Card,
    find_checkpoint,
    list_checkpoints,
    prune_checkpoints,
    read_card,
    read_tensors,
    remove_unfinished,
    save_checkpoint,
)
from hrm_arc.runs.folder import RunFolder
from hrm_arc.training import state
from hrm_arc.training.optimisers import Average, in_place
from hrm_arc.training.processes import Processes


@dataclass(frozen=True)
class Checkpoints:
    """What is saved of a run: weights, their average, optimisers, and every process's random state.

    The weights of a checkpoint are those to be used: the average, where there is one.

    Attributes:
        run: whose they are.
        crew: the processes that train; the one that leads writes.
        model, optimisers, average: what is written and put back.
        keep: how many of the newest are kept; of the best one.
    """

    run: RunFolder
    crew: Processes
    model: Reasoner
    optimisers: Sequence[Optimizer]
    average: Average | None
    keep: int

    def save(self, kind: str, card: Card) -> str | None:
        """Write a checkpoint; every process takes part, and the one that leads hears its name.

        Raises:
            UserError: it cannot be written.
        """
        randoms = self.crew.gather(state.random_state(self.crew.device))
        if not self.crew.leads:
            return None
        tensors = state.optimiser_tensors(self.optimisers)
        tensors |= {f"{state.RANDOM}.{rank}": randoms[rank] for rank in range(self.crew.ranks)}
        if self.average is not None:
            tensors |= {f"{state.LIVE}.{name}": t.clone() for name, t in self.model.state_dict().items()}
        with in_place(self.average):
            folder = save_checkpoint(self.run.checkpoints, kind, card, self.model.state_dict(), tensors)
        prune_checkpoints(folder, self.keep if kind == LATEST else 1)
        return folder.name

    def tidy(self) -> None:
        """Remove what killed processes had begun to write; no other process may be training this run."""
        if self.crew.leads:
            remove_unfinished(self.run.checkpoints)

    def restore(self, tasks: Sequence[str], warn: Callable[[str], None]) -> Card | None:
        """Put the newest whole checkpoint's tensors in place; returns its card, or None if there is none yet.

        Args:
            tasks: in the order of the model's table.
            warn: told of each newer checkpoint that is damaged.

        Raises:
            UserError: all are damaged, were trained on other tasks, or do not fit the model or the optimisers.
        """
        if not list_checkpoints(self.run.checkpoints, LATEST):
            return None
        folder, damaged = find_checkpoint(self.run.path)
        for error in damaged:
            warn(f"warning: {error}; going on from {folder.name}")
        card = read_card(folder)
        if card.tasks != list(tasks):
            raise UserError(folder, "was trained on other tasks than the sources hold now")
        weights, tensors = read_tensors(folder, WEIGHTS), read_tensors(folder, TRAINING)
        try:
            # Under another --optimiser.ema there may be an average on one side alone.
            self.model.load_state_dict({name: tensors.get(f"{state.LIVE}.{name}", t) for name, t in weights.items()})
            if self.average is not None:
                self.average.load(weights)
            state.restore_optimisers(self.optimisers, tensors)
        except (RuntimeError, ValueError):
            what = "does not fit the recipe: the model, its sizes and the kind of optimiser stay as they were"
            raise UserError(folder, what) from None
        own = tensors.get(f"{state.RANDOM}.{self.crew.rank}")
        if own is not None:
            state.restore_random_state(own, self.crew.device)
        return card
