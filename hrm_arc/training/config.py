"""The schema of a recipe: everything that makes one experiment, as data. No torch and no data code here.

:mod:`hrm_arc.training.recipes` reads recipes from YAML and dotted flags, and :mod:`hrm_arc.training.build` makes from
them what a run needs.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from hrm_arc.checks import LARGEST_SEED, check_at_least, check_at_most
from hrm_arc.evaluation.prediction import DEFAULT_VOTES
from hrm_arc.puzzles.canvas import CanvasKind
from hrm_arc.runs.trackers import TrackerName

Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]
Compile = Literal["auto", "always", "never"]
BoardKind = Literal["variants", "symmetries", "fresh"]
Sampling = Literal["samples", "tasks", "inverse-size"]
# Most variants of a task; few tasks have more that differ.
MOST_VARIANTS = 1_000_000
# Upper bound of learning rates and weight decays: the range of single precision. Far smaller values already diverge.
LARGEST_RATE = 1e38


@dataclass(frozen=True)
class DataConfig:
    """The tasks that are learned from and the tasks that are to be solved.

    Attributes:
        solve: sources whose demonstrations are trained on and whose test outputs are held out; the run is
            scored on those.
        study: sources that are given away whole: their test pairs are trained on, too. With these alone a run makes
            weights that others begin with (``--init-from``).
        exclude: sources whose tasks are left out of ``solve`` and ``study``, by name.
        smallest: take only this many tasks of ``solve``: those with the smallest canvases among the tasks whose
            demonstrations keep the input's size; 0 takes all.
        largest: take only the tasks of ``solve`` whose canvases have at most this many cells; 0 takes all. Like
            ``smallest`` it looks at what a solver may see, never at test outputs.
        augment: distinct variants of each task beside the original.
        canvas: ``full`` (30 x 30), ``cropped`` to what a solver may see, or ``squares``: the smallest of a few
            squares that holds the cropped canvas, so that more samples share a canvas.
        translate: move training samples to random offsets inside the canvas.
        repeat: how many times the set holds every sample.
        sampling: ``samples``: every sample once an epoch; ``tasks``: every task equally often; ``inverse-size``: each
            task in inverse proportion to the square root of its canvas's cells, because large tasks cost more and are
            solved less often.
        boards: how boards of games are varied for training. ``variants``: each as a task of its own, by ``augment``,
            rotations, reflections and permutations of colors. ``symmetries``: by ``augment`` and the symmetries of the
            game. ``fresh``: for generated games: new boards all the time, none of which is one to be solved.
        transforms: sample transforms applied to each training batch: registered names, or
            ``package.module:function``.
        allow_leak: train even if a study task gives away the answer of a solve task; every score of the run then
            says so.
    """

    solve: list[str] = field(default_factory=lambda: ["arc-agi-1/evaluation"])
    study: list[str] = field(default_factory=list)
    exclude: list[str] = field(default_factory=list)
    smallest: int = 0
    largest: int = 0
    augment: int = 1000
    canvas: CanvasKind = "cropped"
    translate: bool = False
    repeat: int = 1
    sampling: Sampling = "tasks"
    boards: BoardKind = "variants"
    transforms: list[str] = field(default_factory=list)
    allow_leak: bool = False

    def __post_init__(self) -> None:
        check_at_least(self, 0, "smallest", "largest", "augment")
        check_at_least(self, 1, "repeat")
        check_at_most(self, MOST_VARIANTS, "augment", "repeat")


@dataclass(frozen=True)
class LossConfig:
    """The loss of a segment: cross-entropy of the answer's tokens, plus a halting loss.

    Attributes:
        ignore_padding: count only cells of the grid and its EOS tokens. The log also counts padding, which
            is 71% of its canvases.
        kind: ``softmax`` cross-entropy; ``stablemax`` cross-entropy (Prieto et al. 2025, Grokking at the edge of
            numerical stability), as in HRM; a registered loss, or ``package.module:function``.
        label_smoothing: as in torch's cross_entropy; only with ``softmax``.
        halt_kind: the target of the halting logits. ``correct``: whether this segment's answer is exactly
            right (TRM, Jolicoeur-Martineau 2025). ``q-learning``: that, and for q_continue the next segment's
            own estimate (HRM, Wang et al. 2025). ``penalty``: the mean halting probability over the cycles is
            added to the loss, as in the log. ``none``: no halting loss.
        halt_weight: weight of the halting loss.
    """

    ignore_padding: bool = True
    kind: str = "softmax"
    label_smoothing: float = 0.0
    halt_kind: Literal["correct", "q-learning", "penalty", "none"] = "correct"
    halt_weight: float = 0.1

    def __post_init__(self) -> None:
        check_at_least(self, 0, "label_smoothing", "halt_weight")
        if self.label_smoothing >= 1:
            raise ValueError(f"label_smoothing is {self.label_smoothing}, expected below 1")
        if self.kind != "softmax" and self.label_smoothing:
            raise ValueError(f"label_smoothing goes with kind softmax, not with {self.kind}")


@dataclass(frozen=True)
class HaltingConfig:
    """Whether samples stop before the last segment in training.

    Attributes:
        early_exit: a sample whose halting logit says so leaves the batch. HRM and TRM then fill the batch up with
            new samples; here a step ends when all samples have left.
        exploration_prob: share of samples that have to run a random number of segments first, so that the model
            sees what continuing is worth.
    """

    early_exit: bool = False
    exploration_prob: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.exploration_prob <= 1:
            raise ValueError(f"exploration_prob is {self.exploration_prob}, expected 0 to 1")


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimizer.

    Attributes:
        name: ``adamw``; or ``muon``: Muon for matrices, AdamW for all other parameters.
        lr: AdamW's peak learning rate.
        matrix_lr: Muon's peak learning rate.
        weight_decay: decoupled weight decay of every parameter.
        betas: AdamW's betas.
        grad_clip: the largest norm of the gradient; 0: no clipping.
        ema: decay of the exponential moving average of the weights, which is scored and saved in their
            place; 0: none.
        puzzle_emb_lr: learning rate of a puzzle embedding's rows, which are moved by sign descent.
        puzzle_emb_weight_decay: weight decay of the rows that a batch uses.
    """

    name: Literal["adamw", "muon"] = "adamw"
    lr: float = 1e-3
    matrix_lr: float = 1e-2
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    grad_clip: float = 1.0
    ema: float = 0.999
    puzzle_emb_lr: float = 1e-2
    puzzle_emb_weight_decay: float = 0.1

    def __post_init__(self) -> None:
        check_at_least(self, 0, "lr", "matrix_lr", "weight_decay", "grad_clip")
        check_at_least(self, 0, "puzzle_emb_lr", "puzzle_emb_weight_decay")
        check_at_most(self, LARGEST_RATE, "lr", "matrix_lr", "weight_decay", "puzzle_emb_lr", "puzzle_emb_weight_decay")
        for name, value in (("ema", self.ema), *(("betas", beta) for beta in self.betas)):
            if not 0 <= value < 1:
                raise ValueError(f"{name} is {value}, expected at least 0 and below 1")


@dataclass(frozen=True)
class ScheduleConfig:
    """The learning rate's schedule.

    Attributes:
        warmup_steps: steps of linear warm-up.
        kind: ``constant``; ``cosine`` to ``min_lr_ratio`` at the end of the run; ``decay``: constant, then
            falling in a line that would reach 0 at the end of the run, but not below ``min_lr_ratio``; or
            ``restarts``: a cosine that restarts every ``restart_steps`` steps, as in the log's session 5.
        restart_steps: steps between restarts.
        decay_fraction: share of the run, its last part, over which ``decay`` falls.
        min_lr_ratio: the lowest learning rate, relative to its peak.
    """

    warmup_steps: int = 100
    kind: Literal["constant", "cosine", "decay", "restarts"] = "cosine"
    restart_steps: int = 20_000
    decay_fraction: float = 0.2
    min_lr_ratio: float = 0.02

    def __post_init__(self) -> None:
        check_at_least(self, 0, "warmup_steps")
        check_at_least(self, 1, "restart_steps")
        if not 0 <= self.min_lr_ratio <= 1 or not 0 < self.decay_fraction <= 1:
            raise ValueError("min_lr_ratio and decay_fraction are expected between 0 and 1")


# Compilation takes about half a minute, and then saves a sixth or more of the time.
LONG_MINUTES, LONG_SAMPLES = 8, 100_000


@dataclass(frozen=True)
class TrainingConfig:
    """Length, batch size, device and output of a run.

    Attributes:
        max_steps: number of batches; each batch gives ``segments`` optimizer updates.
        max_minutes: stop after this many minutes of training, if that comes first; the schedule then follows the
            clock. 0: no limit, and the run is reproducible, bit by bit on a CPU.
        batch_size: samples of one batch, over all processes.
        grad_accum_steps: batches of one step, each with other samples; their gradients add up.
        precision: ``32-true``, ``bf16-mixed`` or ``16-mixed``; ``auto``: bf16-mixed where the device multiplies
            bfloat16 in hardware, 32-true elsewhere. The run records which it was.
        compile: whether a block's token-wise parts run through torch.compile: ``always``, ``never``; ``auto``: on a
            CPU with a C++ compiler, if the run is long enough for it to pay (8 minutes, or 100,000 samples where there
            is no time limit). The run records which it was.
        accelerator: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        log_every: steps between rows of metrics.jsonl.
        checkpoint_every: steps between checkpoints; 0: only by the clock.
        checkpoint_minutes: the most minutes between checkpoints; 0: only by steps. The end of a run always has one.
        keep_last: number of newest checkpoints to keep.
        trackers: where metrics go beside metrics.jsonl: ``csv``, ``tensorboard``, ``wandb`` (offline).
    """

    max_steps: int = 1000
    max_minutes: float = 0.0
    batch_size: int = 96
    grad_accum_steps: int = 1
    precision: Precision = "auto"
    compile: Compile = "auto"
    accelerator: str = "auto"
    log_every: int = 10
    checkpoint_every: int = 0
    checkpoint_minutes: float = 10.0
    keep_last: int = 3
    trackers: list[TrackerName] = field(default_factory=list)

    @property
    def is_long(self) -> bool:
        """Whether the run is long enough for compilation to pay."""
        if self.max_minutes:
            return self.max_minutes >= LONG_MINUTES
        return self.max_steps * self.batch_size * self.grad_accum_steps >= LONG_SAMPLES

    def __post_init__(self) -> None:
        check_at_least(self, 1, "max_steps", "batch_size", "grad_accum_steps", "log_every", "keep_last")
        check_at_most(self, 1_000_000, "batch_size", "grad_accum_steps")
        check_at_least(self, 0, "max_minutes", "checkpoint_every", "checkpoint_minutes")


@dataclass(frozen=True)
class ValidationConfig:
    """Scoring the held-out test outputs during training, without votes.

    The scores are displayed and logged. Nothing is chosen by them unless ``keep_best`` is set.

    Attributes:
        every: steps between fast validations; 0: no validation.
        fraction: share of the held-out samples in a fast validation, the same ones every time.
        full_when: when the whole set is scored. ``improved``: when a fast validation is better than the best fast
            one by ``min_improvement``; ``every``: each ``full_every`` steps; ``never``.
        full_every: steps between full validations under ``every``.
        min_improvement: the relative improvement that triggers a full validation.
        metric: the metric that has to improve: ``exact_accuracy``, or the log's ``token_accuracy``.
        augment: variants of each held-out pair beside the original.
        keep_best: also keep the checkpoint with the best score, as the log did. The checkpoint is then chosen by
            the held-out answers, so its score on them is biased.
    """

    every: int = 0
    fraction: float = 1.0
    full_when: Literal["never", "improved", "every"] = "never"
    full_every: int = 0
    min_improvement: float = 0.01
    metric: Literal["exact_accuracy", "token_accuracy"] = "exact_accuracy"
    augment: int = 0
    keep_best: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction is {self.fraction}, expected above 0 and at most 1")
        if self.full_when == "every" and self.full_every < 1:
            raise ValueError("full_when is 'every', so full_every has to be at least 1")
        check_at_least(self, 0, "every", "full_every", "min_improvement", "augment")
        check_at_most(self, MOST_VARIANTS, "augment")


@dataclass(frozen=True)
class EvaluationConfig:
    """Scoring after training.

    Attributes:
        votes: the number of variants of each test input that are answered and vote on its output.
        halt_at: the halting probability above which a sample stops before its last segment.
        metrics: metrics beside the usual ones: registered names, or ``package.module:METRIC``.
    """

    votes: int = DEFAULT_VOTES
    halt_at: float = 0.5
    metrics: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_at_least(self, 1, "votes")
        if not 0 < self.halt_at < 1:
            raise ValueError(f"halt_at is {self.halt_at}, expected a probability between 0 and 1")
        check_at_most(self, MOST_VARIANTS, "votes")


@dataclass(frozen=True)
class Recipe:
    """One experiment.

    Attributes:
        name: what the experiment is called.
        seed: of weights, variants and the order of samples.
        model: ``name``: a registered model or ``package.module:Name``; the other keys are fields of its
            configuration.
    """

    name: str = "unnamed"
    seed: int = 0
    data: DataConfig = field(default_factory=DataConfig)
    model: dict[str, Any] = field(default_factory=lambda: {"name": "grid-hrm"})
    loss: LossConfig = field(default_factory=LossConfig)
    halting: HaltingConfig = field(default_factory=HaltingConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        check_at_least(self, 0, "seed")
        check_at_most(self, LARGEST_SEED, "seed")

    def as_dict(self) -> dict[str, Any]:
        """The recipe as plain data, every default written out."""
        return _plain(asdict(self))

    def resolve_auto(self, precision: Precision, compile: Compile) -> Recipe:
        """The recipe with values in place of ``auto``."""
        training = self.training
        return replace(
            self,
            training=replace(
                training,
                precision=precision if training.precision == "auto" else training.precision,
                compile=compile if training.compile == "auto" else training.compile,
            ),
        )

    @property
    def model_options(self) -> dict[str, Any]:
        """The model's configuration, without its name."""
        return {key: value for key, value in self.model.items() if key != "name"}


SECTIONS: dict[str, type] = {
    "data": DataConfig,
    "loss": LossConfig,
    "halting": HaltingConfig,
    "optimizer": OptimizerConfig,
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
