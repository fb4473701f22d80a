"""The protocol of every model, and the tensors that pass through it.

A model works in segments. ``initial_carry`` makes the carry of a batch; ``forward`` runs one segment and
returns the next carry with an output: logits of the answer and halting logits. The trainer supervises each
segment (deep supervision), the evaluator runs segments until a sample halts, the exporter writes one segment
as a graph. None of them knows which model it has.

A batch lies on one canvas. ``forward_packed`` runs a segment for several batches at once; models that lay the
tokens of several canvases end to end extend :class:`PackedReasoner`, because many small passes are slow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from hrm_arc.errors import and_more
from hrm_arc.puzzles.augmented import Samples
from hrm_arc.puzzles.identity import Identity

# What a model hands from one segment to the next: tensors [batch, ...].
Carry = tuple[Tensor, ...]


@dataclass  # Not frozen: Fabric's precision plugins rebuild what passes through forward.
class Batch:
    """Samples on one canvas, as tensors on one device.

    Attributes:
        height, width: sides of the canvas.
        inputs: input tokens ``[batch, height * width]``, int64.
        labels: answer tokens of the same shape, or None.
        identity: task row, dihedral transform, colors and variant of each sample, int64.
    """

    height: int
    width: int
    inputs: Tensor
    labels: Tensor | None
    identity: Identity[Tensor]

    @classmethod
    def from_samples(cls, samples: Samples, device: torch.device | str = "cpu") -> Batch:
        """Samples as tensors on ``device``."""

        def tensor(array: Any) -> Tensor:
            return torch.as_tensor(array).to(device).long()

        labels = None if samples.labels is None else tensor(samples.labels)
        canvas = samples.canvas
        return cls(canvas.height, canvas.width, tensor(samples.inputs), labels, samples.identity.map(tensor))

    def select(self, chosen: Tensor) -> Batch:
        """Some of the samples, by indices or by a mask."""
        labels = None if self.labels is None else self.labels[chosen]
        return Batch(self.height, self.width, self.inputs[chosen], labels, self.identity.select(chosen))

    def __len__(self) -> int:
        return len(self.inputs)


class Output(NamedTuple):
    """The output of one segment.

    Attributes:
        logits: of the answer's tokens, ``[batch, height * width, 12]``.
        q_halt: halting logits ``[batch, cycles]``, one for each cycle that has one; the last column is the
            sample's halting signal at the end of the segment.
        q_continue: logits ``[batch]`` of continuing, for a model that learns them too.
        metrics: further figures of each sample, ``[batch, len(Reasoner.metrics)]``, for a model that names some. A run
            logs their means over the samples of a step, each in its last segment.
    """

    logits: Tensor
    q_halt: Tensor
    q_continue: Tensor | None = None
    metrics: Tensor | None = None

    def halt_logits(self) -> tuple[Tensor, Tensor]:
        """Halting logits at the end of the segment, and the logits they are compared with, both ``[batch]``."""
        q_halt = self.q_halt[:, -1]
        return q_halt, torch.zeros_like(q_halt) if self.q_continue is None else self.q_continue


class Reasoner(torch.nn.Module):
    """The base class of every model. A model has to define :meth:`initial_carry` and :meth:`forward`.

    Attributes:
        config: the dataclass that it was built with. A checkpoint of a model without one is loaded without options.
        segments: the number of segments it is trained for, and the most it may take in inference.
        variants: the number of variants of each task that have a puzzle embedding of their own.
        task_tables: names of the parameters that have a row for each task (row 0: unseen tasks), of every model of
            the class. A fine-tuned run on other tasks gets new rows there.
        metrics: names of the columns of :attr:`Output.metrics`: keys of the rows of metrics.jsonl, which the live views
            and charts show as they show those of every run.
    """

    config: Any = None
    segments: int = 1
    variants: int = 1
    task_tables: ClassVar[tuple[str, ...]] = ()
    metrics: ClassVar[tuple[str, ...]] = ()

    def initial_carry(self, batch: Batch) -> Carry:
        """The carry before the first segment: tensors ``[batch, ...]``."""
        raise NotImplementedError(type(self).__name__)

    def forward(self, carry: Carry, batch: Batch) -> tuple[Carry, Output]:
        """Run one segment; returns the next carry and the output.

        The next carry may have a gradient history; the trainer detaches it between segments.
        """
        raise NotImplementedError(type(self).__name__)

    def forward_packed(self, carries: Sequence[Carry], batches: Sequence[Batch]) -> list[tuple[Carry, Output]]:
        """Run one segment for batches on several canvases; by default one after the other."""
        return [self.forward(carry, batch) for carry, batch in zip(carries, batches, strict=True)]


class PackedReasoner(Reasoner):
    """A model that defines :meth:`forward_packed`; its ``forward`` is the case of one canvas."""

    def forward(self, carry: Carry, batch: Batch) -> tuple[Carry, Output]:
        """See :meth:`Reasoner.forward`."""
        ((carry, output),) = self.forward_packed([carry], [batch])
        return carry, output

    def forward_packed(self, carries: Sequence[Carry], batches: Sequence[Batch]) -> list[tuple[Carry, Output]]:
        """See :meth:`Reasoner.forward_packed`."""
        raise NotImplementedError(type(self).__name__)


def detach_carry(carry: Carry) -> Carry:
    """The carry without its gradient history, for the next segment of deep supervision."""
    return tuple(tensor.detach() for tensor in carry)


def select_carry(carry: Carry, chosen: Tensor) -> Carry:
    """The carry of some samples, by indices or by a mask."""
    return tuple(tensor[chosen] for tensor in carry)


def load_pretrained(
    model: Reasoner, weights: Mapping[str, Tensor], rows: Sequence[int | None], task_tables: Sequence[str]
) -> None:
    """Initialize a model with the weights of one that was trained on other tasks.

    Args:
        model: the model to initialize.
        weights: the state dict of a model of the same kind and size.
        rows: for each task of ``model``, its row in the task table of ``weights``; None for a task that has
            no row there and starts from the mean of all rows. Row 0, for unseen tasks, is kept. Where every
            variant has a row of its own, all variants of a task start from the row of the original, because variants
            are numbered anew.
        task_tables: names of the parameters that have a row for each task.

    Raises:
        ValueError: the weights belong to another model.
    """
    fitted = {}
    expected = model.state_dict()
    if missing := [name for name in expected if name not in weights]:
        raise ValueError(f"no weights for {missing[0]}{and_more(missing)}")
    if more := [name for name in weights if name not in expected]:
        raise ValueError(f"has weights for {more[0]}{and_more(more)}, which the model of the recipe lacks")
    for name, own in expected.items():
        given = weights[name]
        if name in task_tables and given.shape[1:] == own.shape[1:]:
            mean = given[1:].mean(dim=0, keepdim=True) if len(given) > 1 else given[:1]
            known = [row for row in rows for _ in range(model.variants)]
            given = torch.cat([given[:1], *(mean if row is None else given[row : row + 1] for row in known)])
        if given.shape != own.shape:
            raise ValueError(f"{name} has shape {tuple(given.shape)}, expected {tuple(own.shape)}")
        fitted[name] = given
    model.load_state_dict(fitted)


def parameter_counts(model: torch.nn.Module) -> tuple[int, int]:
    """The number of trainable parameters, and of all numbers in the state dict (buffers included)."""
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return trainable, sum(t.numel() for t in (*model.parameters(), *model.buffers()))
