"""Answer a competition's tasks within a time limit: train, answer, and keep a complete submission on disk.

The time is divided by what this machine has shown so far. A trial, a few percent of the time, learns from all tasks; it
measures the speed, and its answers are the first ones. Then the tasks whose canvases are smallest are learned, as many
as get enough samples each, and answered again on the way and at the end. A submission is complete at every moment:
what no model has answered yet holds a guess (:mod:`hrm_arc.evaluation.guesses`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hrm_arc.competition.answering import SubmissionFile, TimedAnswerer, cost
from hrm_arc.errors import UserError
from hrm_arc.evaluation.submission import read_submission
from hrm_arc.evaluation.torch_backend import load_model
from hrm_arc.puzzles.listing import challenges, second_file, solutions_beside
from hrm_arc.puzzles.paths import puzzle_files
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.puzzles.task import Task
from hrm_arc.training.build import Pretrained
from hrm_arc.training.callbacks import Callback, Training
from hrm_arc.training.config import Recipe
from hrm_arc.training.metrics import StepMetrics
from hrm_arc.training.recipes import finetuning_recipe
from hrm_arc.training.trainer import Trainer

log = logging.getLogger(__name__)

# Shares of the time: the trial; when answers are made on the way; the most for the last answers; what is kept free.
TRIAL, ON_THE_WAY, ANSWERING, MARGIN = 0.06, (0.25, 0.5, 0.75), 0.15, 0.03
# The fewest seconds of the trial and of the margin, and the most that compilation may take.
LEAST_TRIAL, LEAST_MARGIN, COMPILATION = 8.0, 4.0, 45.0
# Samples that a task needs before its answers can be expected to be exact: from scratch, from weights that know it.
SAMPLES, FEWER_SAMPLES = 1500, 500
LEAST_TASKS = 8
VOTES = (1, 4, 16)


@dataclass(frozen=True)
class SubmissionResult:
    """A submission that was written.

    Attributes:
        path: the file.
        tasks: those that it answers.
        trained_on: the number of tasks that were learned until the end.
        answered: the number of test inputs that a model has answered.
        stopped: whether it was asked to end early.
    """

    path: Path
    tasks: tuple[Task, ...]
    trained_on: int
    answered: int
    stopped: bool


def challenge_of(place: Path) -> str:
    """The source to answer in a competition's folder, or a file of tasks.

    Of several challenges files, the one without solutions is to be answered; the test split comes first.

    Raises:
        UserError: there is nothing to answer, or it is not clear what.
    """
    if not place.exists():
        raise UserError(place, "there is no such folder or file")
    # A folder may have the name of a built-in source.
    folder = str(place) if place.is_absolute() else f"./{place}"
    if place.is_file():
        return folder
    found = {split: files[0] for split in ("test", "evaluation", "training") if (files := challenges(place, [split]))}
    hidden = {split: file for split, file in found.items() if solutions_beside(file) is None}
    if "test" in found:
        return f"{folder}/test"
    if len(hidden) == 1 or len(found) == 1:
        return f"{folder}/{next(iter(hidden or found))}"
    if found:
        names = ", ".join(file.name for file in found.values())
        raise UserError(place, f"which challenges are to be answered? Name one of {names}")
    return folder


def inputs_of(place: Path) -> list[Path]:
    """The files that a competition's folder, or a folder or file of tasks, is read from, solutions included."""
    kaggle = challenges(place, ("test", "evaluation", "training")) if place.is_dir() else []
    files = kaggle or [file for file, _ in puzzle_files(place)]
    return [*files, *(second for file in files if (second := second_file(file)) is not None)]


class _AnswerDuringTraining(Callback):
    """Answers the tasks at some moments of a training, and ends it when its time is over."""

    def __init__(self, answerer: TimedAnswerer, moments: Sequence[float], end: float):
        self._answerer = answerer
        self._moments = list(moments)
        self._end = end
        self._trainer: Training | None = None

    def on_run_start(self, trainer: Training) -> None:
        """Remember whom to ask."""
        self._trainer = trainer

    def on_step(self, metrics: StepMetrics) -> None:
        """Answer if it is time to."""
        assert self._trainer is not None
        now = time.monotonic()
        if now >= self._end:
            self._trainer.stop()
        elif self._moments and now >= self._moments[0]:
            self._moments = [moment for moment in self._moments if moment > now]
            with self._trainer.averaged() as model:
                self._answerer.of_model(model, self._trainer.card(), VOTES[0], stop=self._end)


def learnable(submission_file: SubmissionFile, cells_per_second: float, seconds: float, samples: int) -> int:
    """The largest canvas, in cells, up to which all tasks get enough samples.

    Args:
        submission_file: the tasks.
        cells_per_second: this machine's speed in training, in the cells of :func:`~hrm_arc.competition.answering.cost`.
        seconds: of training.
        samples: that a task needs.
    """
    sizes = sorted(submission_file.cells.values())
    total, largest = 0.0, sizes[min(LEAST_TASKS, len(sizes)) - 1]
    for cells in sizes:
        total += samples * cost(cells)
        if total > cells_per_second * seconds:
            break
        largest = max(largest, cells)
    return largest


class Competition:
    """Trains and answers within a time limit.

    Args:
        source: of the tasks to answer.
        out: the submission to write.
        root: where run folders are.
        seconds: the time limit, from ``began`` on.
        began: the start, of ``time.monotonic``.
        start: the weights to begin with; None: none.
        seed: of weights, variants and votes.
        progress: makes the callbacks that follow a training.
        note: called with a line that tells what happens.
    """

    def __init__(
        self,
        source: str,
        out: Path,
        root: Path,
        seconds: float,
        began: float,
        start: Path | None = None,
        seed: int = 0,
        progress: Callable[[], Sequence[Callback]] = tuple,
        note: Callable[[str], None] = log.info,
    ):
        self._source, self._root, self._seed = source, root, seed
        self._began, self._total = began, seconds
        self._start = start
        self._progress, self._note = progress, note
        self._trainer: Trainer | None = None
        self._stopped = False
        self._margin = max(LEAST_MARGIN, MARGIN * seconds)
        # Seconds to build and to save a trainer, measured in the trial.
        self._overhead = 0.0
        self.submission = SubmissionFile(load_tasks(source), out)
        self._answerer = TimedAnswerer(self.submission)

    def stop(self) -> None:
        """End the training after its step, answer once, and return."""
        self._stopped = True
        if self._trainer is not None:
            self._trainer.stop()

    @property
    def stopping(self) -> bool:
        """Whether it was asked to end."""
        return self._stopped

    def run(self) -> SubmissionResult:
        """Train and answer; the submission on disk is complete from the first second on.

        Raises:
            UserError: a source or the weights are not usable.
            ReportedError: the submission or a run cannot be written.
        """
        self.submission.write()
        pretrained = self._answer_with_what_is_known()
        # Building a trainer and its first steps take some seconds, whatever the limit.
        end = max(self._at(TRIAL), time.monotonic() + LEAST_TRIAL)
        trial = self._train(self._recipe(pretrained, end), pretrained, (), end)
        self._answer(trial, VOTES[:1], max(self._at(2 * TRIAL), time.monotonic() + LEAST_TRIAL))
        tasks, last = self.submission.tasks, trial
        if not self._stopped:
            end = self._end_of_training()
            recipe, tasks = self._chosen(trial, pretrained, end)
            self._note(f"{len(tasks)} of {len(self.submission.tasks)} tasks are learned until the end")
            learned = Pretrained.load(trial.folder.path)
            moments = [self._at(share) for share in ON_THE_WAY]
            last = self._train(recipe, learned, moments, end)
        # A first answer to each task may take half of what is kept free; more votes may not.
        self._answer(last, VOTES[:1], self._at(1) - self._margin / 2, tasks)
        if not self._stopped:
            self._answer(last, VOTES[1:], self._at(1) - self._margin, tasks)
        path, answered = self.submission.path, self.submission.answered
        read_submission(path, self.submission.tasks)  # Raises if the file does not answer the tasks.
        return SubmissionResult(path, self.submission.tasks, len(tasks), answered, self._stopped)

    def _at(self, share: float) -> float:
        """The moment at which a share of the time is over."""
        return self._began + share * self._total

    def _answer_with_what_is_known(self) -> Pretrained | None:
        """Answer the tasks that the weights to begin with know, and return these weights."""
        if self._start is None:
            return None
        backend, card = load_model(self._start)
        self._answerer.answer(backend, card, VOTES[0], self._at(TRIAL))
        return Pretrained.load(self._start)

    def _recipe(self, pretrained: Pretrained | None, end: float) -> Recipe:
        seconds = max(1.0, end - time.monotonic() - self._overhead)
        recipe = finetuning_recipe(self._source, seconds, self._seed, None if pretrained is None else pretrained.card)
        return replace(recipe, data=replace(recipe.data, sampling="inverse-size"))

    def _chosen(self, trial: Trainer, pretrained: Pretrained | None, end: float) -> tuple[Recipe, tuple[Task, ...]]:
        """The recipe of the training after the trial, and the tasks that it learns."""
        recipe = self._recipe(pretrained, end)
        if recipe.training.is_long:
            recipe = self._recipe(pretrained, end - COMPILATION)
        samples = SAMPLES if pretrained is None else FEWER_SAMPLES
        largest = learnable(self.submission, self._speed(trial), 60 * recipe.training.max_minutes, samples)
        tasks = tuple(task for task in self.submission.tasks if self.submission.cells[task.id] <= largest)
        return replace(recipe, data=replace(recipe.data, largest=largest)), tasks

    def _speed(self, trial: Trainer) -> float:
        """The speed of a training that has ended, in cells a second, see :func:`.answering.cost`."""
        shares = {name: cells**-0.5 for name, cells in self.submission.cells.items()}
        mean = sum(shares[name] * cost(cells) for name, cells in self.submission.cells.items()) / sum(shares.values())
        return trial.samples_per_second * mean

    def _end_of_training(self) -> float:
        """When the last answers begin: so early that all tasks get their votes, within a share of the time."""
        answers = sum(self._answerer.seconds(self.submission.tasks, votes) for votes in VOTES)
        return self._at(1) - self._margin - min(1.2 * answers + 1, ANSWERING * self._total)

    def _train(self, recipe: Recipe, pretrained: Pretrained | None, moments: Sequence[float], end: float) -> Trainer:
        began = time.monotonic()
        callbacks = [*self._progress(), _AnswerDuringTraining(self._answerer, moments, end)]
        trainer = Trainer(recipe, callbacks=callbacks, root=self._root, pretrained=pretrained)
        self._trainer = trainer
        if self._stopped:
            trainer.stop()
        result = trainer.fit()
        self._overhead = max(0.0, time.monotonic() - began - result["seconds"] - result.get("compile_seconds", 0.0))
        return trainer

    def _answer(self, trainer: Trainer, votes: Sequence[int], stop: float, tasks: Sequence[Task] = ()) -> None:
        card = trainer.card()
        for each in votes:
            self._answerer.of_model(trainer.model, card, each, stop, tasks)
