"""Running a model in torch: segments of thought until each sample halts."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hrm_arc.errors import UserError
from hrm_arc.evaluation.predict import Answers
from hrm_arc.models import build_model
from hrm_arc.models.reasoner import Batch, Reasoner, part_of
from hrm_arc.puzzles.augmented import Samples
from hrm_arc.puzzles.canvas import most_likely_grids
from hrm_arc.runs.checkpoint import WEIGHTS, Card, newest_checkpoint, read_card, read_tensors


class Thought(NamedTuple):
    """The end of thinking: each sample's answer from the segment in which it halted.

    Attributes:
        logits: ``[batch, cells, 12]``.
        confidence: halting probability, ``[batch]``.
        segments: segments taken, ``[batch]``.
    """

    logits: Tensor
    confidence: Tensor
    segments: Tensor


@torch.inference_mode()
def think_until_halted(model: Reasoner, batch: Batch, halting: bool = True) -> Thought:
    """Run segments until every sample would rather halt, at most ``model.segments``.

    A sample that has halted leaves the batch, so that it costs no more.

    Args:
        model: in evaluation mode.
        batch: the samples.
        halting: False runs every segment for every sample.
    """
    state = model.start(batch)
    thinking = torch.arange(len(batch), device=batch.inputs.device)
    for segment in range(1, model.segments + 1):
        state, output = model.think(state, batch)
        confidence = output.halt[:, -1].sigmoid()
        if segment == 1:
            taken = torch.ones_like(thinking)
            thought = Thought(output.logits.clone(), confidence, taken)
        else:
            thought.logits[thinking] = output.logits
            thought.confidence[thinking] = confidence
            thought.segments[thinking] = segment
        going_on = ~output.halts() if halting else torch.ones_like(thinking, dtype=torch.bool)
        if segment == model.segments or not going_on.any():
            break
        if not going_on.all():
            batch, state, thinking = batch.part(going_on), part_of(state, going_on), thinking[going_on]
    return thought


class TorchBackend:
    """A :class:`~hrm_arc.evaluation.predict.Backend` around a model, in evaluation mode.

    Args:
        model: its training mode is put back after each batch.
        device: where it lies.
        ignores_padding: the model was not trained on padding: its answer is the most likely grid.
        halting: whether a sample stops when the model says so, or thinks to the end.
    """

    def __init__(
        self,
        model: Reasoner,
        device: torch.device | str = "cpu",
        ignores_padding: bool = False,
        halting: bool = True,
    ):
        self.model = model
        self.ignores_padding = ignores_padding
        self.device = device
        self.halting = halting

    def answer(self, samples: Samples) -> Answers:
        """Half of the samples at a time, and half of that, where the device's memory runs out.

        Raises:
            UserError: one sample alone does not fit.
        """
        with contextlib.suppress(torch.OutOfMemoryError):
            return self._answer(samples)
        if len(samples) == 1:
            raise UserError("--device", f"a sample does not fit the memory of {self.device}; try --device cpu")
        halves = [self.answer(half) for half in samples.parts(-(-len(samples) // 2))]
        return Answers(*(np.concatenate(each) for each in zip(*halves, strict=True)))

    def _answer(self, samples: Samples) -> Answers:
        with _evaluating(self.model):
            thought = think_until_halted(self.model, Batch.of(samples, self.device), self.halting)
        tokens = self._tokens(thought.logits, samples)
        return Answers(tokens, _numpy(thought.confidence.float()), _numpy(thought.segments))

    @torch.inference_mode()
    def refine(self, samples: Samples) -> np.ndarray:
        """Tokens after each segment, halting put aside, ``[segments, n, cells]``."""
        with _evaluating(self.model):
            batch = Batch.of(samples, self.device)
            state = self.model.start(batch)
            after = []
            for _ in range(self.model.segments):
                state, output = self.model.think(state, batch)
                after.append(self._tokens(output.logits, samples))
        return np.stack(after)

    @torch.inference_mode()
    def logits(self, samples: Samples) -> np.ndarray:
        """Logits after the first segment, ``[n, cells, 12]``."""
        with _evaluating(self.model):
            batch = Batch.of(samples, self.device)
            return _numpy(self.model.think(self.model.start(batch), batch)[1].logits.float())

    def _tokens(self, logits: Tensor, samples: Samples) -> np.ndarray:
        if self.ignores_padding:
            return most_likely_grids(_numpy(logits.float()), samples.canvas)
        return _numpy(logits.argmax(dim=-1).to(torch.uint8))


def load_model(
    path: Path, device: str = "auto", say: Callable[[str], None] = lambda text: None
) -> tuple[TorchBackend, Card]:
    """A checkpoint, or a run's newest one, ready to answer.

    Args:
        path: a run folder or a checkpoint folder.
        device: a torch device, or ``auto`` for the best one here.
        say: called with a line for each newer checkpoint that is damaged.

    Raises:
        UserError: there is none, it is damaged, or its weights do not fit its card.
    """
    folder = newest_checkpoint(path, say)
    card = read_card(folder)
    try:
        model = build_model(card.model, card.options, len(card.tasks), card.variants)
        model.load_state_dict(read_tensors(folder, WEIGHTS))
    except (KeyError, TypeError, ValueError, RuntimeError):
        raise UserError(folder / WEIGHTS, f"does not fit the model {card.model!r} on its card") from None
    place = _device(device)
    return TorchBackend(model.to(place).eval(), place, card.ignores_padding), card


def _device(name: str) -> torch.device:
    """The device of that name, or the best one here for ``auto``."""
    if name == "auto":
        accelerator = torch.accelerator.current_accelerator()
        if not torch.accelerator.is_available() or accelerator is None:
            return torch.device("cpu")
        # Under torchrun each process has a device of its own, as long as there are enough.
        place = int(os.environ.get("LOCAL_RANK", "0")) % torch.accelerator.device_count()
        return torch.device(accelerator.type, place)
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError):
        raise UserError("--device", f"{name!r} is not to be had here") from None


@contextlib.contextmanager
def _evaluating(model: Reasoner) -> Iterator[None]:
    """Evaluation mode; what was is put back."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.cpu().numpy()
