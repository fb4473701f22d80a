"""What a segment of thought is trained towards: the answer's tokens, and when to halt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from hrm_arc.errors import check_at_least
from hrm_arc.models.reasoner import Output
from hrm_arc.puzzles.canvas import PAD


@dataclass(frozen=True)
class LossConfig:
    """The loss.

    Attributes:
        ignore_padding: count only cells of the grid and its EOS marks. The log counts
            padding too, which is three quarters of its canvas.
        normaliser: what turns logits into probabilities: ``softmax``, or ``stablemax``
            (Prieto et al. 2025, Grokking at the edge of numerical stability), as in HRM.
        label_smoothing: as in torch's cross_entropy; for softmax alone.
        halt: what the halting unit learns. ``correct``: whether this segment's answer is
            right (TRM, Jolicoeur-Martineau 2025). ``q-learning``: that, and what thinking on
            is worth by the next segment's own estimate (HRM, Wang et al. 2025). ``penalty``:
            to stay low, as in the log: its mean probability over the cycles is added.
            ``none``: nothing.
        halt_weight: weight of the halting term.
    """

    ignore_padding: bool = True
    normaliser: Literal["softmax", "stablemax"] = "softmax"
    label_smoothing: float = 0.0
    halt: Literal["correct", "q-learning", "penalty", "none"] = "correct"
    halt_weight: float = 0.1

    def __post_init__(self) -> None:
        check_at_least(self, 0, "label_smoothing", "halt_weight")
        if self.label_smoothing >= 1:
            raise ValueError(f"label_smoothing is {self.label_smoothing}, expected below 1")
        if self.normaliser == "stablemax" and self.label_smoothing:
            raise ValueError("label_smoothing goes with softmax, not with stablemax")


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


def segment_losses(
    output: Output, labels: Tensor, config: LossConfig, worth_thinking_on: Tensor | None = None
) -> Losses:
    """Losses of one segment's ``output`` against ``labels`` ``[batch, cells]``.

    Each sample weighs the same, however many of its cells count.

    Args:
        output: what the segment said.
        labels: the answers.
        config: which losses.
        worth_thinking_on: for q-learning, see :func:`value_of_thinking_on`.
    """
    logits = output.logits.float()
    counted = labels != PAD if config.ignore_padding else torch.ones_like(labels, dtype=torch.bool)
    count = counted.sum(dim=1).clamp_min(1)
    if config.normaliser == "stablemax":
        entropy = stablemax_cross_entropy(logits, labels)
    else:
        smoothing = config.label_smoothing
        entropy = F.cross_entropy(logits.transpose(1, 2), labels, reduction="none", label_smoothing=smoothing)
    answer = (entropy * counted).sum(dim=1) / count
    right = (logits.argmax(dim=-1) == labels) & counted
    exact = (right.sum(dim=1) == counted.sum(dim=1)).float()
    total = answer + config.halt_weight * _halt_loss(output, exact, config.halt, worth_thinking_on)
    return Losses(total, answer.detach(), right.sum(dim=1) / count, exact)


def stablemax_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy ``[batch, cells]`` of probabilities that are s(x) over their sum.

    s(x) is x + 1 from 0 on and 1 / (1 - x) below: it grows no faster than its logit. In double
    precision, as published, where the device has it.
    """
    # Apple's GPUs have no double precision.
    x = logits if logits.device.type == "mps" else logits.double()
    s = torch.where(x < 0, 1 / (1 - x.clamp_max(0)), x.clamp_min(0) + 1)
    chosen = torch.gather(s, -1, labels[..., None]).squeeze(-1)
    return (s.sum(dim=-1).log() - chosen.log()).float()


def value_of_thinking_on(following: Output, last: bool) -> Tensor:
    """What thinking on after a segment is worth, ``[batch]``: the best of what follows it.

    HRM's target (Wang et al. 2025, section 2), without a replay buffer or a second network.

    Args:
        following: what the next segment says, under the same weights.
        last: the segment is the last one; a next one could only halt.
    """
    halt = following.halt[:, -1].float()
    if last or following.think_on is None:
        return halt.sigmoid()
    return torch.maximum(halt, following.think_on.float()).sigmoid()


def _halt_loss(output: Output, exact: Tensor, kind: str, worth_thinking_on: Tensor | None) -> Tensor:
    """``[batch]`` from halting logits ``[batch, cycles]``."""
    halt = output.halt.float()
    if kind == "penalty":
        return halt.sigmoid().mean(dim=1)
    if kind == "none":
        # Processes that train together wait for a gradient of every parameter.
        return 0 * halt.sum(dim=1)
    loss = F.binary_cross_entropy_with_logits(halt[:, -1], exact, reduction="none")
    if kind == "q-learning" and output.think_on is not None and worth_thinking_on is not None:
        think_on = output.think_on.float()
        loss = loss + F.binary_cross_entropy_with_logits(think_on, worth_thinking_on, reduction="none")
    return loss
