"""The loss of a segment: cross-entropy of the answer's tokens, and the loss of the halting logits."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from hrm_arc.errors import UserError
from hrm_arc.models.reasoner import Output
from hrm_arc.puzzles.canvas import PAD
from hrm_arc.registry import Registry
from hrm_arc.training.config import LossConfig

# From float32 logits [batch, cells, 12] and labels [batch, cells] to the loss of each cell [batch, cells].
TokenLoss = Callable[[Tensor, Tensor], Tensor]


class SegmentLosses(NamedTuple):
    """Losses and accuracies of one segment, ``[batch]`` unless stated otherwise.

    Attributes:
        total: the loss to minimize.
        loss: the answer's loss in it, in nats per counted cell.
        halt_loss: the halting loss in it, before its weight.
        token_accuracy: share of counted cells that are right.
        exact_accuracy: 1 where every counted cell is right, else 0.
        halt_accuracy: 1 where the sample halts with a right answer or continues with a wrong one, else 0.
        cells: number of counted cells.
        model_metrics: the model's own metrics, ``[batch, metrics]``.
    """

    total: Tensor
    loss: Tensor
    halt_loss: Tensor
    token_accuracy: Tensor
    exact_accuracy: Tensor
    halt_accuracy: Tensor
    cells: Tensor
    model_metrics: Tensor

    def detach(self) -> SegmentLosses:
        """The same without a gradient history."""
        return SegmentLosses(*(values.detach() for values in self))

    def select(self, chosen: Tensor) -> SegmentLosses:
        """Those of some samples, without a gradient history."""
        return SegmentLosses(*(values[chosen].detach() for values in self))


def segment_losses(
    output: Output, labels: Tensor, config: LossConfig, q_continue_target: Tensor | None = None
) -> SegmentLosses:
    """Losses of one segment. Every sample has the same weight, however many of its cells count.

    Args:
        output: of the segment.
        labels: the answers, ``[batch, cells]``.
        config: the kinds and weights of losses.
        q_continue_target: ``[batch]``, for ``q-learning``; see :func:`q_continue_target`.
    """
    logits = output.logits.float()
    counted = labels != PAD if config.ignore_padding else torch.ones_like(labels, dtype=torch.bool)
    cells = counted.sum(dim=1).clamp_min(1)
    loss = (find_loss(config)(logits, labels) * counted).sum(dim=1) / cells
    right = (logits.argmax(dim=-1) == labels) & counted
    exact = (right.sum(dim=1) == counted.sum(dim=1)).float()
    halt_loss = _halt_loss(output, exact, config.halt_kind, q_continue_target)
    q_halt, threshold = output.halt_logits()
    return SegmentLosses(
        total=loss + config.halt_weight * halt_loss,
        loss=loss.detach(),
        halt_loss=halt_loss.detach(),
        token_accuracy=right.sum(dim=1) / cells,
        exact_accuracy=exact,
        halt_accuracy=((q_halt > threshold) == (exact > 0)).float(),
        cells=cells,
        model_metrics=logits.new_zeros(len(logits), 0) if output.metrics is None else output.metrics.detach().float(),
    )


def softmax_cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """The usual cross-entropy, ``[batch, cells]``."""
    return F.cross_entropy(logits.transpose(1, 2), labels, reduction="none", label_smoothing=label_smoothing)


def stablemax_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy ``[batch, cells]`` of the probabilities s(x) / sum of s(x).

    s(x) is x + 1 for x >= 0 and 1 / (1 - x) below: it grows no faster than its logit. Computed in double
    precision, as published, where the device has it.
    """
    # Apple's GPUs have no double precision.
    x = logits if logits.device.type == "mps" else logits.double()
    s = torch.where(x < 0, 1 / (1 - x.clamp_max(0)), x.clamp_min(0) + 1)
    chosen = torch.gather(s, -1, labels[..., None]).squeeze(-1)
    return (s.sum(dim=-1).log() - chosen.log()).float()


LOSSES: Registry[TokenLoss] = Registry("loss", {"softmax": softmax_cross_entropy, "stablemax": stablemax_cross_entropy})


def register_loss(name: str, loss: TokenLoss) -> None:
    """Make a loss of the answer's tokens available to recipes as ``loss.kind: NAME``.

    Args:
        name: the name.
        loss: from float32 logits ``[batch, cells, 12]`` and labels ``[batch, cells]`` to ``[batch, cells]``.
    """
    LOSSES.register(name, loss)


def find_loss(config: LossConfig) -> TokenLoss:
    """The loss that ``loss.kind`` names.

    Raises:
        UserError: there is no such loss, it is not importable here, or it is no function.
    """
    if config.kind == "softmax":
        return partial(softmax_cross_entropy, label_smoothing=config.label_smoothing)
    loss: object = LOSSES.find(config.kind, "loss.kind")
    if not callable(loss):
        raise UserError("loss.kind", f"{config.kind} is {type(loss).__name__}, expected a function")
    return partial(_checked, loss, config.kind)


def _checked(loss: TokenLoss, name: str, logits: Tensor, labels: Tensor) -> Tensor:
    """The result of a loss, if it has the right form."""
    result: object = loss(logits, labels)
    if not isinstance(result, Tensor) or result.shape != labels.shape:
        found = f"shape {tuple(result.shape)}" if isinstance(result, Tensor) else type(result).__name__
        raise UserError("loss.kind", f"{name} returned {found}, expected a tensor of shape {tuple(labels.shape)}")
    return result


def q_continue_target(following: Output, last: bool) -> Tensor:
    """The target of q_continue after a segment, ``[batch]``: the best value of the next segment.

    HRM's target (Wang et al. 2025, section 2), without a replay buffer or a second network.

    Args:
        following: the output of the next segment under the same weights.
        last: whether the segment is the last one, so that the next one could only halt.
    """
    q_halt = following.q_halt[:, -1].float()
    if last or following.q_continue is None:
        return q_halt.sigmoid()
    return torch.maximum(q_halt, following.q_continue.float()).sigmoid()


def _halt_loss(output: Output, exact: Tensor, kind: str, target: Tensor | None) -> Tensor:
    """``[batch]``, from halting logits ``[batch, cycles]``."""
    q_halt = output.q_halt.float()
    if kind == "penalty":
        return q_halt.sigmoid().mean(dim=1)
    if kind == "none":
        # Distributed training waits for a gradient of every parameter.
        return 0 * q_halt.sum(dim=1)
    loss = F.binary_cross_entropy_with_logits(q_halt[:, -1], exact, reduction="none")
    if kind == "q-learning" and output.q_continue is not None and target is not None:
        loss = loss + F.binary_cross_entropy_with_logits(output.q_continue.float(), target, reduction="none")
    return loss
