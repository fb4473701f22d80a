"""Callbacks: what follows a run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from hrm_arc.evaluation.baselines import Baselines
from hrm_arc.models.reasoner import Reasoner
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.runs.card import Card
from hrm_arc.runs.folder import RunFolder
from hrm_arc.runs.status import RunState
from hrm_arc.training.config import Recipe
from hrm_arc.training.metrics import StepMetrics, Validation


class Training(Protocol):
    """A training as its callbacks see it; :class:`~hrm_arc.training.trainer.Trainer` describes each member."""

    folder: RunFolder
    recipe: Recipe
    corpus: Corpus
    model: Reasoner
    step: int
    is_main: bool
    stopping: bool

    @property
    def best(self) -> dict[str, Any] | None: ...

    @property
    def baselines(self) -> Baselines: ...

    @property
    def samples_per_second(self) -> float: ...

    def averaged(self) -> AbstractContextManager[Reasoner]: ...

    def card(self) -> Card: ...

    def stop(self) -> None: ...


class Callback:
    """Follows a run. Override what is of interest; every method of this class does nothing.

    Methods are called in the main process only. An exception ends the run as failed.
    """

    def on_run_start(self, trainer: Training) -> None:
        """The run starts, or goes on from a checkpoint; ``trainer.stop()`` ends it after its step."""

    def on_step(self, metrics: StepMetrics) -> None:
        """A step ended: every ``training.log_every`` steps, and at least every five seconds."""

    def on_validation_start(self, step: int) -> None:
        """A validation starts."""

    def on_validation(self, step: int, result: Validation) -> None:
        """A validation ended."""

    def on_checkpoint(self, path: Path) -> None:
        """A checkpoint was written."""

    def on_run_end(self, state: RunState) -> None:
        """The run ended: ``finished``, ``interrupted`` or ``failed``."""


class CallbackList(Callback):
    """Several callbacks as one, called in their order.

    Args:
        callbacks: the callbacks.
    """

    def __init__(self, callbacks: Sequence[Callback]):
        self._callbacks = tuple(callbacks)

    def on_run_start(self, trainer: Training) -> None:
        for each in self._callbacks:
            each.on_run_start(trainer)

    def on_step(self, metrics: StepMetrics) -> None:
        for each in self._callbacks:
            each.on_step(metrics)

    def on_validation_start(self, step: int) -> None:
        for each in self._callbacks:
            each.on_validation_start(step)

    def on_validation(self, step: int, result: Validation) -> None:
        for each in self._callbacks:
            each.on_validation(step, result)

    def on_checkpoint(self, path: Path) -> None:
        for each in self._callbacks:
            each.on_checkpoint(path)

    def on_run_end(self, state: RunState) -> None:
        for each in self._callbacks:
            each.on_run_end(state)
