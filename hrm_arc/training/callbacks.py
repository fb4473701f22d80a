"""Callbacks: what follows a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hrm_arc.runs.status import RunState
from hrm_arc.training.metrics import StepMetrics, Validation

if TYPE_CHECKING:
    from hrm_arc.training.trainer import Trainer


class Callback:
    """Follows a run. Override what is of interest; every method of this class does nothing.

    Methods are called in the main process only. An exception ends the run as failed.
    """

    def on_run_start(self, trainer: Trainer) -> None:
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

    def on_run_start(self, trainer: Trainer) -> None:
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
