"""A recipe: everything that makes one experiment, as data.

``recipe_files`` reads recipes from YAML and dotted flags; this file says what may stand in one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from hrm_arc.errors import UserError, and_more, check_at_least
from hrm_arc.puzzles.augmented import AugmentedSet
from hrm_arc.puzzles.canvas import CanvasKind
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.leaks import leaks
from hrm_arc.puzzles.selection import smallest
from hrm_arc.puzzles.sources import make_corpus
from hrm_arc.runs.checkpoint import Card
from hrm_arc.runs.trackers import TrackerName
from hrm_arc.training.batches import Draw
from hrm_arc.training.gate import ValidationConfig
from hrm_arc.training.halting import HaltingConfig
from hrm_arc.training.losses import LossConfig
from hrm_arc.training.optimisers import OptimiserConfig
from hrm_arc.training.schedules import ScheduleConfig

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


@dataclass(frozen=True)
class DataConfig:
    """What is learned from and what is to be solved.

    Attributes:
        solve: sources whose demonstrations are trained on and whose test outputs are held
            back; the run is scored on those.
        study: sources that are given away whole: test pairs are trained on too.
        without: sources whose tasks are left out of ``solve`` and ``study``, by name.
        smallest: of ``solve``, only so many tasks: those with the smallest canvases among
            the ones whose demonstrations keep the input's size; 0 takes all.
        augment: distinct variants of each task beside the original.
        canvas: ``full`` (30 x 30), ``cropped`` to what a solver may see, or ``squares``: the
            smallest of a few squares that holds that, which keeps batches together.
        shift: move training samples to random offsets inside the canvas.
        copies: how many times the set holds every sample.
        draw: ``samples``: each sample once an epoch; ``tasks``: each task equally often.
        allow_leak: train even if what is given away answers what is to be solved; every
            score of the run then says so.
    """

    solve: list[str] = field(default_factory=lambda: ["arc-agi-1/evaluation"])
    study: list[str] = field(default_factory=list)
    without: list[str] = field(default_factory=list)
    smallest: int = 0
    augment: int = 1000
    canvas: CanvasKind = "cropped"
    shift: bool = False
    copies: int = 1
    draw: Draw = "tasks"
    allow_leak: bool = False

    def __post_init__(self) -> None:
        check_at_least(self, 0, "smallest", "augment")
        check_at_least(self, 1, "copies")


@dataclass(frozen=True)
class TrainingConfig:
    """How long, in what portions, on what.

    Attributes:
        steps: draws of samples; each segment of thought about one moves the weights once.
        minutes: stop after so much wall-clock time, if that comes first; the schedule
            then follows the clock. 0: no limit, and the run is reproducible, bit by bit on a CPU.
        batch: samples of one forward pass, over all processes.
        accumulate: forward passes of one step, each of other samples; their gradients add up.
        precision: ``32-true``, ``bf16-mixed`` or ``16-mixed``.
        accelerator: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        log_every: steps between rows of metrics.jsonl.
        checkpoint_every: steps between checkpoints; 0 leaves them to the clock.
        checkpoint_minutes: the most minutes between checkpoints; 0 leaves them to the steps. There is
            always one at the end.
        keep: how many of the newest checkpoints are kept.
        trackers: where else the figures go: ``csv``, ``tensorboard``, ``wandb`` (offline).
    """

    steps: int = 1000
    minutes: float = 0.0
    batch: int = 96
    accumulate: int = 1
    precision: Precision = "32-true"
    accelerator: str = "auto"
    log_every: int = 10
    checkpoint_every: int = 0
    checkpoint_minutes: float = 10.0
    keep: int = 3
    trackers: list[TrackerName] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_at_least(self, 1, "steps", "batch", "accumulate", "log_every", "keep")
        check_at_least(self, 0, "minutes", "checkpoint_every", "checkpoint_minutes")


@dataclass(frozen=True)
class EvaluationConfig:
    """Scoring at the end.

    Attributes:
        votes: how many variants of each test input are answered and put to the vote.
    """

    votes: int = 64

    def __post_init__(self) -> None:
        check_at_least(self, 1, "votes")


@dataclass(frozen=True)
class Recipe:
    """One experiment. ``model`` is a name from ``hrm_arc.models`` with its options."""

    name: str
    seed: int
    data: DataConfig
    model: dict[str, Any]
    loss: LossConfig
    halting: HaltingConfig
    optimiser: OptimiserConfig
    schedule: ScheduleConfig
    training: TrainingConfig
    validation: ValidationConfig
    evaluation: EvaluationConfig

    def as_dict(self) -> dict[str, Any]:
        """The recipe as plain data, every default written out."""
        return _plain(asdict(self))

    @property
    def model_options(self) -> dict[str, Any]:
        """The model's configuration, without its name."""
        return {key: value for key, value in self.model.items() if key != "name"}

    def corpus(self) -> Corpus:
        """Load the tasks.

        Raises:
            UserError: a source is not to be had, or gives away what is to be solved.
        """
        corpus = make_corpus(self.data.solve, self.data.study, self.data.without)
        if self.data.smallest:
            corpus = replace(corpus, solve=smallest(corpus.solve, self.data.smallest))
        found = () if self.data.allow_leak else leaks(corpus)
        if found:
            raise UserError(
                "data.study",
                f"answers what is to be solved: {found[0]}{and_more(found)}; leave out {found[0].task} with "
                "--data.without, or accept it with --allow-leak",
            )
        return corpus

    def card(
        self,
        corpus: Corpus,
        variants: int,
        leaks: list[str],
        step: int,
        run_id: str,
        training: dict[str, Any],
    ) -> Card:
        """What a checkpoint of a run of this recipe says of itself."""
        return Card(
            model=self.model["name"],
            options=self.model_options,
            tasks=[task.id for task in corpus.tasks],
            canvas=self.data.canvas,
            ignores_padding=self.loss.ignore_padding,
            solve=self.data.solve,
            study=self.data.study,
            held_back=len(corpus.solve),
            variants=variants,
            seed=self.seed,
            leaks=leaks,
            step=step,
            run_id=run_id,
            training=training,
        )

    def training_set(self, corpus: Corpus) -> AugmentedSet:
        """What training draws from: no test output of a task to be solved."""
        return AugmentedSet(
            corpus.training_puzzles(),
            augment=self.data.augment,
            seed=self.seed,
            canvas=self.data.canvas,
            shift=self.data.shift,
            copies=self.data.copies,
        )

    def held_back_set(self, corpus: Corpus, canvas: CanvasKind | None = None) -> AugmentedSet:
        """What validation scores: the test pairs of tasks to be solved, unshifted.

        Inputs lie on ``canvas``, or as in training; labels on the full one, where token accuracy is counted.
        """
        return AugmentedSet(
            corpus.held_back_puzzles(),
            augment=self.validation.augment,
            seed=self.seed,
            canvas=canvas or self.data.canvas,
            label_canvas="full",
            copies=self.data.copies,
        )


SECTIONS: dict[str, type] = {
    "data": DataConfig,
    "loss": LossConfig,
    "halting": HaltingConfig,
    "optimiser": OptimiserConfig,
    "schedule": ScheduleConfig,
    "training": TrainingConfig,
    "validation": ValidationConfig,
    "evaluation": EvaluationConfig,
}


def _plain(value: Any) -> Any:
    """Tuples as lists, so that YAML and JSON read back what was written."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value
