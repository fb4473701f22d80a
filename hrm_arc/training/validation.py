"""Scoring held-back samples as training goes: one pass each, no votes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from hrm_arc.evaluation.predict import FORWARD_CELLS
from hrm_arc.evaluation.scores import right_tokens
from hrm_arc.evaluation.torch_backend import think_until_halted
from hrm_arc.models.reasoner import Batch, Output, Reasoner
from hrm_arc.puzzles.augmented import AugmentedSet, Samples
from hrm_arc.puzzles.canvas import FULL, clip, most_likely_grids
from hrm_arc.training.losses import LossConfig, segment_losses

BATCH = 256


class Totals(NamedTuple):
    """Sums over some samples; those of several processes add up."""

    samples: float
    loss: float
    tokens: float
    exact: float


@dataclass(frozen=True)
class Validation:
    """The result of one validation.

    Attributes:
        samples: how many were scored.
        loss: mean answer loss in nats per counted cell.
        token_accuracy: over all 900 cells, padding included: the log's metric.
        exact_accuracy: share of samples whose grid is exactly right.
        seconds: how long it took.
    """

    samples: int
    loss: float
    token_accuracy: float
    exact_accuracy: float
    seconds: float

    @classmethod
    def of(cls, totals: Totals, seconds: float) -> Validation:
        count = totals.samples
        tokens = totals.tokens / (count * FULL.cells)
        return cls(int(count), totals.loss / count, tokens, totals.exact / count, seconds)


def validate(model: Reasoner, held_back: AugmentedSet, indices: np.ndarray, loss: LossConfig) -> Totals:
    """Score samples of a set whose labels lie on the full canvas; the model is in eval mode."""
    device = next(model.parameters()).device
    total = right = exact = 0.0
    for samples in _forward_passes(held_back, indices):
        assert samples.labels is not None
        thought = think_until_halted(model, Batch.of(samples, device))
        labels = torch.as_tensor(clip(samples.labels, samples.canvas)).long().to(device)
        halt = torch.logit(thought.confidence[:, None], eps=1e-6)
        total += segment_losses(Output(thought.logits, halt), labels, loss).answer.sum().item()
        if loss.ignore_padding:
            answers = most_likely_grids(thought.logits.float().cpu().numpy(), samples.canvas)
        else:
            answers = thought.logits.argmax(dim=-1).to(torch.uint8).cpu().numpy()
        for tokens, truth in zip(answers, samples.labels, strict=True):
            cells, whole = right_tokens(samples.canvas, tokens, truth, loss.ignore_padding)
            right += cells
            exact += whole
    return Totals(len(indices), total, right, exact)


def _forward_passes(data: AugmentedSet, indices: np.ndarray) -> Iterator[Samples]:
    for start in range(0, len(indices), BATCH):
        for samples in data.samples(indices[start : start + BATCH]):
            yield from samples.parts(FORWARD_CELLS // samples.canvas.cells)
