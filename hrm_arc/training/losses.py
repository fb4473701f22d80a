"""What a segment of thought is trained towards: the answer's tokens, and when to halt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from hrm_arc.models.reasoner import Output
from hrm_arc.puzzles.canvas import PAD


@dataclass(frozen=True)
class LossConfig:
    """The loss.

    Attributes:
        ignore_padding: count only cells of the grid and its EOS marks. The log counts
            padding too, which is three quarters of its canvas.
        label_smoothing: as in torch's cross_entropy.
        halt: what the halting unit learns. ``correct``: whether this segment's answer is
            right (TRM, Jolicoeur-Martineau 2025). ``penalty``: to stay low, as in the
            log: its mean probability over the cycles is added. ``none``: nothing.
        halt_weight: weight of the halting term.
    """

    ignore_padding: bool = True
    label_smoothing: float = 0.0
    halt: Literal["correct", "penalty", "none"] = "correct"
    halt_weight: float = 0.1


class Losses(NamedTuple):
    """Of one segment, each ``[batch]``.

    Attributes:
        total: what to minimise.
        answer: the cross-entropy in it, in nats per counted cell.
        tokens: share of counted cells that are right.
        exact: 1 where every counted cell is right, else 0.
    """

    total: Tensor
    answer: Tensor
    tokens: Tensor
    exact: Tensor


def segment_losses(output: Output, labels: Tensor, config: LossConfig) -> Losses:
    """Losses of one segment's ``output`` against ``labels`` ``[batch, cells]``.

    Each sample weighs the same, however many of its cells count.
    """
    logits = output.logits.float()
    counted = labels != PAD if config.ignore_padding else torch.ones_like(labels, dtype=torch.bool)
    count = counted.sum(dim=1)
    entropy = F.cross_entropy(logits.transpose(1, 2), labels, reduction="none", label_smoothing=config.label_smoothing)
    answer = (entropy * counted).sum(dim=1) / count
    right = (logits.argmax(dim=-1) == labels) & counted
    exact = (right.sum(dim=1) == count).float()
    total = answer + config.halt_weight * _halt_loss(output.halt.float(), exact, config.halt)
    return Losses(total, answer.detach(), right.sum(dim=1) / count, exact)


def _halt_loss(halt: Tensor, exact: Tensor, kind: str) -> Tensor:
    """``[batch]`` from halting logits ``[batch, cycles]``."""
    if kind == "correct":
        return F.binary_cross_entropy_with_logits(halt[:, -1], exact, reduction="none")
    if kind == "penalty":
        return halt.sigmoid().mean(dim=1)
    return torch.zeros_like(exact)
