"""The Python API: a model that answers tasks, learns new ones, and is scored."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hrm_arc.errors import UserError
from hrm_arc.evaluation.backend import Backend
from hrm_arc.evaluation.evaluate import limited_votes, predict_tasks, scores_of
from hrm_arc.evaluation.fairness import unseen_tasks
from hrm_arc.evaluation.metrics import Metric
from hrm_arc.evaluation.prediction import DEFAULT_VOTES, Prediction
from hrm_arc.evaluation.torch_backend import TorchBackend, load_model
from hrm_arc.models import find_model
from hrm_arc.models.reasoner import Reasoner
from hrm_arc.models.spec import has_task_table
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.puzzles.task import ATTEMPTS, Grid, Task
from hrm_arc.puzzles.varied import have_symmetries
from hrm_arc.runs.card import Card
from hrm_arc.runs.named import pull
from hrm_arc.training.build import Pretrained
from hrm_arc.training.callbacks import Callback
from hrm_arc.training.distributed import accelerator_of
from hrm_arc.training.recipes import finetuning_recipe
from hrm_arc.training.trainer import Trainer

log = logging.getLogger("hrm_arc.solver")


class Solver:
    """A trained model that answers tasks.

    A model with a task table has a row for each task that it was trained to solve. Any other task is answered
    with the row of unseen tasks; the first time this happens for a task, a warning is logged.

    Example::

        solver = hrm_arc.Solver.load("runs/20250903_100435_3652c9d8")
        (attempts,) = solver.solve(hrm_arc.load_tasks("0d3d703e")[0])

    Args:
        backend: runs the model.
        card: describes it: its name, options, tasks and canvas.
    """

    def __init__(self, backend: Backend, card: Card):
        self.backend = backend
        self.card = card
        self._warned: set[str] = set()

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> Solver:
        """Load a trained model.

        Args:
            path: a run (its newest checkpoint), a checkpoint folder, or the name of weights that ship with the
                program (``hrm weights`` lists them).
            device: a torch device, or ``auto`` for the best one here.

        Raises:
            UserError: there is none, it is damaged, or the device is not available.
        """
        return cls(*load_model(Path(path), device))

    @classmethod
    def from_pretrained(cls, repository: str, device: str = "auto") -> Solver:
        """Load weights from the Hugging Face hub, through its local cache.

        Args:
            repository: ``owner/name``.
            device: see :meth:`load`.

        Raises:
            UserError: there are none, the hub extra is not installed, or the device is not available.
            ReportedError: the hub cannot be reached.
        """
        with tempfile.TemporaryDirectory() as scratch:
            return cls(*load_model(pull(repository, Path(scratch) / "weights"), device))

    @classmethod
    def from_model(cls, model: Reasoner, card: Card) -> Solver:
        """Use a model in memory, on the device that it is on, in single precision.

        Args:
            model: the model; its training mode is restored after each batch.
            card: what a checkpoint of it would say, such as its tasks in the order of its task table.
        """
        device = next((parameter.device for parameter in model.parameters()), "cpu")
        return cls(TorchBackend.of_card(model, card, device), card)

    def predict(self, task: Task, votes: int = DEFAULT_VOTES, seed: int = 0) -> list[Prediction]:
        """Predict the test outputs of a task.

        Args:
            task: its test outputs are not read.
            votes: number of variants of each test input that are answered; each answer is a vote.
            seed: of the color permutations of the variants.

        Returns:
            one prediction for each test input, with all candidates and their votes, best first.

        Raises:
            UserError: ``votes`` is out of its range, 1 to 1,000,000.
        """
        return self.predict_all([task], votes, seed)

    def predict_all(self, tasks: Sequence[Task], votes: int = DEFAULT_VOTES, seed: int = 0) -> list[Prediction]:
        """Predict the test outputs of several tasks; see :meth:`predict`."""
        self._warn_if_unseen(tasks)
        return predict_tasks(self.backend, self.card, tasks, votes=votes, seed=seed)

    def solve(
        self,
        task: Task,
        votes: int = DEFAULT_VOTES,
        *,
        attempts: int = ATTEMPTS,
        seed: int = 0,
        finetune_seconds: float = 0.0,
    ) -> list[list[Grid]]:
        """The best grids for each test input of a task.

        Args:
            task, votes, seed: see :meth:`predict`.
            attempts: number of grids for each test input.
            finetune_seconds: learn the task's demonstrations for so long first; see :meth:`fit`. The solver itself
                stays as it is.

        Returns:
            for each test input at most ``attempts`` grids, uint8 ``[height, width]`` of colors 0 to 9, best
            first; fewer where the votes agree, none where no vote gave a readable grid.

        Raises:
            UserError: ``attempts`` is less than 1, or see :meth:`predict` and :meth:`fit`.
        """
        if attempts < 1:
            raise UserError("attempts", f"{attempts}, expected at least 1")
        solver = self.fit([task], finetune_seconds, seed) if finetune_seconds else self
        return [prediction.attempts(attempts) for prediction in solver.predict(task, votes, seed)]

    def fit(
        self, tasks: Sequence[Task], seconds: float = 60.0, seed: int = 0, callbacks: Sequence[Callback] = ()
    ) -> Solver:
        """Fine-tune the model on the demonstrations of some tasks, together. Test outputs are not trained on.

        Example::

            solver = hrm_arc.Solver.load("runs/20250903_100435_3652c9d8").fit(hrm_arc.load_tasks("my-tasks"))

        Args:
            tasks: the tasks to learn.
            seconds: of training.
            seed: of variants and the order of samples.
            callbacks: follow the training; one that calls ``trainer.stop()`` ends it early.

        Returns:
            another solver, which knows these tasks and no others; this one stays as it is.

        Raises:
            UserError: the model is an exported file or on another GPU than the first, ``seconds`` is not positive, or
                there is no task.
        """
        if not isinstance(self.backend, TorchBackend):
            raise UserError(
                "fit", "an exported file cannot be trained: load the run or the weights that it was made from"
            )
        if not seconds > 0 or not tasks:
            raise UserError("fit", f"{seconds:g} seconds for {len(tasks)} tasks, expected more than 0 of both")
        device, precision = accelerator_of(self.backend.device), self.backend.precision
        boards = have_symmetries(tasks)
        recipe = finetuning_recipe("", seconds, seed, self.card, device, precision, boards)
        weights = {name: tensor.detach().float() for name, tensor in self.backend.model.state_dict().items()}
        with tempfile.TemporaryDirectory() as scratch:
            start = Pretrained(weights, self.card)
            trainer = Trainer(recipe, Corpus(solve=tuple(tasks)), pretrained=start, root=scratch, callbacks=callbacks)
            trainer.fit()
            card = trainer.card()
        place = next(trainer.model.parameters()).device
        return Solver(TorchBackend.of_card(trainer.model, card, place, precision), card)

    def _warn_if_unseen(self, tasks: Sequence[Task]) -> None:
        if not self._has_task_table():
            return
        for name in unseen_tasks(self.card, tasks):
            if name not in self._warned:
                self._warned.add(name)
                log.warning("task %s is not in the model's task table: it is answered as an unseen task", name)

    def _has_task_table(self) -> bool:
        if isinstance(self.backend, TorchBackend):
            return has_task_table(self.backend.model, self.card.model)
        return bool(find_model(self.card.model).task_tables)

    def __repr__(self) -> str:
        return f"Solver({self.card.model}, run {self.card.run_id}, step {self.card.step}, {len(self.card.tasks)} tasks)"


def evaluate(
    solver: Solver | str | Path,
    tasks: Sequence[Task] | str,
    votes: int = DEFAULT_VOTES,
    seed: int = 0,
    metrics: Sequence[Metric] = (),
) -> dict[str, Any]:
    """Score a model on tasks. Nothing is written.

    Example::

        scores = hrm_arc.evaluate("runs/20250903_100435_3652c9d8", "arc-agi-1/evaluation")
        print(scores["pass@2"], scores["intervals"]["pass@2"])

    Args:
        solver: a :class:`Solver`, or what :meth:`Solver.load` takes.
        tasks: tasks in memory, or a source such as ``arc-agi-1/evaluation``.
        votes: number of variants of each test input that are answered.
        seed: of the color permutations of the variants.
        metrics: computed beside those of every evaluation.

    Returns:
        all scores, as in scores.json: see :func:`hrm_arc.evaluation.evaluate.scores_of`.

    Raises:
        UserError: the model or the source cannot be loaded, or a metric failed.
    """
    if not isinstance(solver, Solver):
        solver = Solver.load(solver)
    if isinstance(tasks, str):
        tasks = load_tasks(tasks)
    predictions = solver.predict_all(tasks, votes, seed)
    return scores_of(
        solver.card, tasks, predictions, {"votes": limited_votes(solver.card, votes), "seed": seed}, metrics
    )
