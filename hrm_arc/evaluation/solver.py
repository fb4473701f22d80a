"""A trained model as a person uses it: load it, hand it a task, get attempts."""

from __future__ import annotations

from pathlib import Path

from hrm_arc.evaluation.evaluate import predict_tasks
from hrm_arc.evaluation.predict import Prediction
from hrm_arc.evaluation.torch_backend import TorchBackend, load_model
from hrm_arc.puzzles.task import Grid, Task
from hrm_arc.runs.checkpoint import Card


class Solver:
    """A checkpoint that answers tasks.

    A model with a task table answers tasks it was trained to solve; any other task it
    meets without being told what to do.
    """

    def __init__(self, backend: TorchBackend, card: Card):
        self.backend = backend
        self.card = card

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> Solver:
        """Load a run's newest checkpoint, or a checkpoint folder.

        Raises:
            UserError: there is none, or it is damaged.
        """
        return cls(*load_model(Path(path), device))

    def predict(self, task: Task, votes: int = 64, seed: int = 0) -> list[Prediction]:
        """One prediction for each test input, with every candidate and its votes."""
        return predict_tasks(self.backend, self.card, [task], votes=votes, seed=seed)

    def solve(self, task: Task, votes: int = 64, attempts: int = 2, seed: int = 0) -> list[list[Grid]]:
        """The best attempts at each test input, at most ``attempts`` each."""
        return [prediction.attempts(attempts) for prediction in self.predict(task, votes, seed)]
