"""Learning one task before it is answered: progress, and an end on request. Needs torch."""

from __future__ import annotations

import threading
from typing import Any

from hrm_arc.evaluation.backend import Backend
from hrm_arc.puzzles.task import Task
from hrm_arc.runs.card import Card
from hrm_arc.solver import Solver
from hrm_arc.studio.events import EventWriter
from hrm_arc.training.callbacks import Callback, Training
from hrm_arc.training.metrics import StepMetrics


def learn(
    backend: Backend, card: Card, task: Task, seconds: float, seed: int, output: EventWriter, stopping: threading.Event
) -> tuple[Any, Card]:
    """Fine-tune a model on a task's demonstrations; see :meth:`hrm_arc.Solver.fit`.

    Args:
        backend, card: the model.
        task: the task.
        seconds: of training.
        seed: of variants and the order of samples.
        output: where to say how far it is.
        stopping: set to end it early.

    Returns:
        the backend and the card of the model that knows the task.

    Raises:
        UserError: the model is an exported file.
    """
    solver = Solver(backend, card).fit([task], seconds, seed, [Learning(output, stopping)])
    output("learned", stopped=stopping.is_set())
    return solver.backend, solver.card


class Learning(Callback):
    """Follows the learning of a task, and ends it when it is asked to.

    Args:
        output: where to say how far it is.
        stopping: set to end it.
    """

    def __init__(self, output: EventWriter, stopping: threading.Event):
        self._output = output
        self._stopping = stopping
        self._trainer: Training | None = None

    def on_run_start(self, trainer: Training) -> None:
        self._trainer = trainer

    def on_step(self, metrics: StepMetrics) -> None:
        if self._stopping.is_set() and self._trainer is not None:
            self._trainer.stop()
        self._output(
            "learning",
            step=metrics.step,
            progress=metrics.progress,
            seconds=metrics.seconds,
            loss=metrics.loss,
            exact_accuracy=metrics.exact_accuracy,
        )
