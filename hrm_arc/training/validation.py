"""Validation: scores of the held-out samples during training, one pass each, without votes.

A fast validation scores a fixed part of the held-out samples. The full one follows only when the fast one
improves on its best by a relative margin, or every so many steps. The log's full validation took 50 minutes, its
fast one 3.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from hrm_arc.checks import number, whole
from hrm_arc.evaluation.backend import FORWARD_CELLS
from hrm_arc.evaluation.baselines import Baselines, baselines
from hrm_arc.evaluation.halting import HaltingController
from hrm_arc.evaluation.scores import score_samples
from hrm_arc.evaluation.torch_backend import infer
from hrm_arc.models.reasoner import Batch, Output, Reasoner
from hrm_arc.puzzles.augmented import AugmentedSet, Samples
from hrm_arc.puzzles.canvas import FULL, clip
from hrm_arc.puzzles.readings import read_tokens
from hrm_arc.training.callbacks import Callback
from hrm_arc.training.config import LossConfig, ValidationConfig
from hrm_arc.training.distributed import Distributed
from hrm_arc.training.losses import segment_losses
from hrm_arc.training.metrics import Validation
from hrm_arc.training.optim import EMA, swapped_in

SAMPLES_AT_ONCE = 256


class Totals(NamedTuple):
    """Sums over samples; those of several processes add up."""

    samples: float
    loss: float
    correct_cells: float
    exact: float


@dataclass
class Gate:
    """Decides after each fast validation whether the full one follows.

    Attributes:
        best: the best fast score so far.
        opened: number of full validations that ran.
        kept_shut: number of full validations that were saved.
        full_seconds: duration of all full validations.
    """

    config: ValidationConfig
    best: float | None = None
    opened: int = 0
    kept_shut: int = 0
    full_seconds: float = 0.0

    def fast_is_due(self, step: int) -> bool:
        """Whether a fast validation is due after ``step`` steps."""
        return self.config.every > 0 and step % self.config.every == 0

    def decide(self, step: int, fast: float | None) -> bool:
        """Decide whether the full set is to be scored, and keep the fast score if it is the best.

        Args:
            step: steps done.
            fast: the fast score of this step, or None where there was none.
        """
        if self.config.full_when == "never":
            return False
        if self.config.full_when == "every":
            return step % self.config.full_every == 0
        if fast is None:
            return False
        improved = self.best is None or (fast > self.best and fast >= self.best * (1 + self.config.min_improvement))
        self.best = fast if self.best is None else max(self.best, fast)
        self.kept_shut += not improved
        return improved

    def full_took(self, seconds: float) -> None:
        """Count a full validation."""
        self.opened += 1
        self.full_seconds += seconds

    @property
    def seconds_saved(self) -> float:
        """An estimate of the time that the saved full validations would have taken."""
        return self.kept_shut * self.full_seconds / self.opened if self.opened else 0.0

    def as_dict(self) -> dict[str, Any]:
        """The gate's state, without its configuration."""
        return {key: value for key, value in asdict(self).items() if key != "config"}


class Validator:
    """Scores a model on held-out samples as training goes.

    Args:
        config: when and how much.
        loss: the loss that is reported.
        held_out: the held-out samples, with labels on the full canvas.
        on_full_canvas: the same with inputs on the full canvas, for the baselines.
        distributed: the processes share the samples.
        model, ema: what is scored: the average, where there is one.
        halt_at: the halting probability above which a sample stops.

    Attributes:
        gate: when the whole set is scored.
        best: the best score, with its step; None before the first.
    """

    def __init__(
        self,
        config: ValidationConfig,
        loss: LossConfig,
        held_out: AugmentedSet,
        on_full_canvas: AugmentedSet,
        distributed: Distributed,
        model: Reasoner,
        ema: EMA | None,
        halt_at: float = 0.5,
    ):
        self._config = config
        self._loss = loss
        self._held_out = held_out
        self._on_full_canvas = on_full_canvas
        self._distributed = distributed
        self._model, self._ema = model, ema
        self._halt_at = halt_at
        self.gate = Gate(config)
        self.best: dict[str, Any] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether validations are wanted and no test output is known."""
        return self._config.every > 0 and not len(self._held_out)

    def baselines(self) -> Baselines:
        """The baselines' scores on the part that a fast validation scores."""
        data = self._on_full_canvas
        return baselines(data, data.part(self._config.fraction) if len(data) else None)

    def as_dict(self) -> dict[str, Any]:
        """The state that a resumed run needs."""
        return {"best": self.best, "gate": self.gate.as_dict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`as_dict`.

        Raises:
            KeyError, TypeError, ValueError: the state is another one.
        """
        best, gate = state["best"], Gate(self._config, **state["gate"])
        for name in ("opened", "kept_shut"):
            whole(name, getattr(gate, name))
        number("full_seconds", gate.full_seconds, 0)
        if gate.best is not None:
            number("gate.best", gate.best)
        if best is not None:
            whole("step", best["step"])
            number("score", best["score"])
            for name in ("loss", "token_accuracy", "exact_accuracy"):
                if best[name] is not None:  # A loss that was not finite.
                    number(name, best[name])
        self.best, self.gate = best, gate
        if self.best is not None and self.best["score"] != self.best[self._config.metric]:
            # Scores of another metric, which the run was resumed with, cannot be compared.
            self.best = self.gate.best = None

    def maybe_run(self, step: int, callback: Callback) -> bool:
        """Score the fixed part when it is due, and the whole set when the gate opens.

        Returns:
            whether this is the best score so far.
        """
        if not self._config.every or not len(self._held_out):
            return False
        fast = self._run(step, self._config.fraction, callback) if self.gate.fast_is_due(step) else None
        if self.gate.decide(step, None if fast is None else getattr(fast, self._config.metric)):
            full = self._run(step, 1.0, callback)
            self.gate.full_took(full.seconds)
            return self._is_best(step, full)
        return fast is not None and self._config.full_when == "never" and self._is_best(step, fast)

    def _run(self, step: int, fraction: float, callback: Callback) -> Validation:
        callback.on_validation_start(step)
        started = time.monotonic()
        self._model.eval()
        with swapped_in(self._ema), self._distributed.autocast():
            own = self._held_out.part(fraction)[self._distributed.rank :: self._distributed.world_size]
            totals = validate(self._model, self._held_out, own, self._loss, self._halt_at)
            sums = Totals(*self._distributed.all_reduce(totals, "sum"))
        result = Validation(
            samples=int(sums.samples),
            loss=sums.loss / sums.samples,
            token_accuracy=sums.correct_cells / (sums.samples * FULL.cells),
            exact_accuracy=sums.exact / sums.samples,
            seconds=time.monotonic() - started,
            full=fraction == 1,
        )
        callback.on_validation(step, result)
        return result

    def _is_best(self, step: int, result: Validation) -> bool:
        score = getattr(result, self._config.metric)
        if self.best is not None and score <= self.best["score"]:
            return False
        self.best = {"step": step, "score": score, **result.as_row()}
        return True


def validate(
    model: Reasoner, held_out: AugmentedSet, indices: np.ndarray, loss: LossConfig, halt_at: float = 0.5
) -> Totals:
    """Score samples of a set whose labels lie on the full canvas; the model is in evaluation mode.

    A sample stops when its halting probability is above ``halt_at``.
    """
    device = next(model.parameters()).device
    controller = HaltingController(model.segments, halt_at=halt_at)
    total = 0.0
    correct_cells = exact = 0
    for samples in _forward_passes(held_out, indices):
        assert samples.labels is not None
        output, _ = infer(model, Batch.from_samples(samples, device), controller)
        labels = torch.as_tensor(clip(samples.labels, samples.canvas)).long().to(device)
        single = Output(output.logits.float(), output.q_halt[:, None].float())
        total += segment_losses(single, labels, loss).loss.sum().item()
        tokens = read_tokens(output.logits.float().cpu().numpy(), samples.canvas, loss.ignore_padding, "likely")
        scored = score_samples(samples, tokens, complete=loss.ignore_padding)
        correct_cells += scored.correct_cells
        exact += scored.exact
    return Totals(len(indices), total, correct_cells, exact)


def _forward_passes(data: AugmentedSet, indices: np.ndarray) -> Iterator[Samples]:
    for start in range(0, len(indices), SAMPLES_AT_ONCE):
        for samples in data.samples(indices[start : start + SAMPLES_AT_ONCE]):
            yield from samples.parts(FORWARD_CELLS // samples.canvas.cells)
