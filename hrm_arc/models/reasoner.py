"""The protocol every model keeps, and the tensors that pass through it.

A model thinks in segments. ``start`` lays out its state for a batch, ``think`` runs one
segment and gives an answer with a halting signal. The trainer supervises each segment,
the evaluator runs segments until a sample halts, the exporter freezes one. The log's
model is one segment with cycles inside.

A batch lies on one canvas. ``think_all`` runs a segment for several batches: small canvases that go
through the layers one after another each pay for calls of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from hrm_arc.puzzles.augmented import Samples

# What a model carries from one segment to the next, each [batch, ...].
State = tuple[Tensor, ...]


@dataclass  # Not frozen: Fabric's precision plugins rebuild what passes through forward.
class Batch:
    """Samples on one canvas, as tensors on one device.

    Attributes:
        height, width: the canvas.
        inputs: tokens ``[batch, height * width]``, int64.
        labels: the same for the answers, or None.
        task: row of the task in the model's task table, ``[batch]``, int64; 0 is unseen.
        dihedral: 0-7, ``[batch]``, int64.
        colours: what each colour 0-9 became, ``[batch, 10]``, int64.
        variant: which of its task's variants a sample is, ``[batch]``, int64; 0 is the
            original, ``OTHER`` one that training has no number for.
    """

    height: int
    width: int
    inputs: Tensor
    labels: Tensor | None
    task: Tensor
    dihedral: Tensor
    colours: Tensor
    variant: Tensor

    @classmethod
    def of(cls, samples: Samples, device: torch.device | str = "cpu") -> Batch:
        def tensor(array: object) -> Tensor:
            return torch.as_tensor(array).to(device, non_blocking=True).long()

        return cls(
            samples.canvas.height,
            samples.canvas.width,
            tensor(samples.inputs),
            None if samples.labels is None else tensor(samples.labels),
            tensor(samples.task),
            tensor(samples.dihedral),
            tensor(samples.colours),
            tensor(samples.variant),
        )

    def part(self, chosen: Tensor) -> Batch:
        """Some of the samples, by number or by a mask."""
        labels = None if self.labels is None else self.labels[chosen]
        told = (self.task[chosen], self.dihedral[chosen], self.colours[chosen], self.variant[chosen])
        return Batch(self.height, self.width, self.inputs[chosen], labels, *told)

    def __len__(self) -> int:
        return len(self.inputs)


class Output(NamedTuple):
    """What one segment of thought says.

    Attributes:
        logits: ``[batch, height * width, 12]``.
        halt: halting logits ``[batch, cycles]``, one for each cycle that was run; the
            last is the sample's signal at the end of the segment.
        think_on: logits of thinking on, ``[batch]``, for a model that learns them too.
    """

    logits: Tensor
    halt: Tensor
    think_on: Tensor | None = None

    def halts(self) -> Tensor:
        """Whether each sample would rather halt than think on, ``[batch]``."""
        return self.halt[:, -1] > (0 if self.think_on is None else self.think_on)


class Reasoner(torch.nn.Module):
    """What every model is to the trainer, the evaluator and the exporter.

    Attributes:
        segments: how many segments of thought it is trained for, and may take.
        variants: of how many variants of each task it has something of its own to remember.
    """

    segments: int = 1
    variants: int = 1

    def start(self, batch: Batch) -> State:
        """The state before the first segment."""
        raise NotImplementedError(type(self).__name__)

    def think_all(self, states: Sequence[State], batches: Sequence[Batch]) -> list[tuple[State, Output]]:
        """Run one segment for batches on several canvases.

        The new states carry gradients; ``detach`` them between segments.
        """
        raise NotImplementedError(type(self).__name__)

    def think(self, state: State, batch: Batch) -> tuple[State, Output]:
        """The same for one batch."""
        ((state, output),) = self([state], [batch])
        return state, output

    def forward(self, states: Sequence[State], batches: Sequence[Batch]) -> list[tuple[State, Output]]:
        """``think_all``, under the name by which wrappers for many devices see the call."""
        return self.think_all(states, batches)


def detach(state: State) -> State:
    """The state without its history, for the next segment of deep supervision."""
    return tuple(tensor.detach() for tensor in state)


def part_of(state: State, chosen: Tensor) -> State:
    """The state of some samples, by number or by a mask."""
    return tuple(tensor[chosen] for tensor in state)


def adopt(model: Reasoner, weights: Mapping[str, Tensor], rows: Sequence[int | None]) -> None:
    """Begin with the weights of a model that was trained on other tasks.

    Args:
        model: where they go.
        weights: of a model of the same kind and size.
        rows: the row that each of the model's tasks has in the table of tasks among the weights; None
            for a new task, which gets the mean of the table. The first row, for unseen tasks, is kept.
            A model with a row for each variant begins with the mean for all, since variants are numbered anew.

    Raises:
        ValueError: the weights are those of another model.
    """
    fitted = {}
    for name, own in model.state_dict().items():
        if name not in weights:
            raise ValueError(f"no weights for {name}")
        given = weights[name]
        if name in TASK_TABLES and given.shape[1:] == own.shape[1:]:
            mean = given[1:].mean(dim=0, keepdim=True) if len(given) > 1 else given[:1]
            known = rows if model.variants == 1 else [None] * (len(own) - 1)
            given = torch.cat([given[:1], *(mean if row is None else given[row : row + 1] for row in known)])
        if given.shape != own.shape:
            raise ValueError(f"{name} has shape {tuple(given.shape)}, expected {tuple(own.shape)}")
        fitted[name] = given
    model.load_state_dict(fitted)


# Tables with a row for each task, by their names in a model.
TASK_TABLES = ("conditioning.task.weight", "puzzle_emb.task.weight", "puzzle_emb.weights")


def parameter_counts(model: torch.nn.Module) -> tuple[int, int]:
    """Trainable parameters, and numbers in the whole state (with buffers)."""
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return trainable, sum(t.numel() for t in (*model.parameters(), *model.buffers()))
