"""Inference in torch: segments until each sample halts."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from hrm_arc.errors import UserError, is_out_of_memory
from hrm_arc.evaluation.backend import Answers, SegmentAnswer
from hrm_arc.evaluation.halting import Halted, HaltingController, SegmentOutput, run_until_halted
from hrm_arc.evaluation.sharing import check_torchrun
from hrm_arc.hardware import Precision, autocast, chosen_precision, keep_buffers
from hrm_arc.models import build_model
from hrm_arc.models.compiled import can_compile, compile_token_wise, has_token_wise, try_to_compile
from hrm_arc.models.reasoner import Batch, Reasoner, select_carry
from hrm_arc.puzzles.augmented import Samples
from hrm_arc.puzzles.readings import Reading, read_tokens
from hrm_arc.runs.card import Card
from hrm_arc.runs.checkpoint import WEIGHTS, newest_checkpoint, read_card, read_tensors

log = logging.getLogger(__name__)

Found = TypeVar("Found")

# From this number of operations of products with weights on, compiled parts save more time than compilation takes: some
# minutes of work on a processor with bfloat16.
LONG_OPERATIONS = 1e13


def _if_it_fits(compute: Callable[[], Found]) -> Found | None:
    """The result of a computation, or None where memory runs out in it."""
    try:
        return compute()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    return None


class TorchSegment:
    """A batch in torch between two segments; see :class:`~hrm_arc.evaluation.halting.Segment`.

    Args:
        model: in evaluation mode.
        batch: the samples.
    """

    def __init__(self, model: Reasoner, batch: Batch):
        self._model = model
        self._batch = batch
        self._carry = model.initial_carry(batch)

    def run(self) -> SegmentOutput[Tensor]:
        self._carry, output = self._model(self._carry, self._batch)
        return SegmentOutput(output.logits, *output.halt_logits())

    def select(self, chosen: Tensor) -> None:
        self._batch, self._carry = self._batch.select(chosen), select_carry(self._carry, chosen)

    def indices(self) -> Tensor:
        return torch.arange(len(self._batch), device=self._batch.inputs.device)


@torch.inference_mode()
def infer(model: Reasoner, batch: Batch, controller: HaltingController) -> Halted[Tensor]:
    """Run segments of a model in evaluation mode until every sample has halted.

    Args:
        model: in evaluation mode.
        batch: the samples.
        controller: decides which samples stop after a segment.
    """
    return run_until_halted(TorchSegment(model, batch), controller)


class TorchBackend:
    """A :class:`~hrm_arc.evaluation.backend.Backend` around a model, in evaluation mode.

    Args:
        model: its training mode is restored after each batch.
        device: the device that it is on.
        ignores_padding: the model was not trained on padding, so its answer is the most likely grid.
        early_exit: whether a sample stops when its halting logit says so; otherwise it runs every segment.
        precision: in which the model computes.
        reading: how tokens are read as a grid.
        halt_at: the halting probability above which a sample stops.
    """

    def __init__(
        self,
        model: Reasoner,
        device: torch.device | str = "cpu",
        ignores_padding: bool = False,
        early_exit: bool = True,
        precision: Precision = "32-true",
        reading: Reading = "likely",
        halt_at: float = 0.5,
    ):
        self.model = model
        self.ignores_padding = ignores_padding
        self.device = torch.device(device)
        self.early_exit = early_exit
        self.halt_at = halt_at
        self.max_segments = model.segments
        self.precision = precision
        self.reading = reading
        self._compiles = False
        if self.device.type == "cpu":
            keep_buffers()

    @classmethod
    def of_card(
        cls,
        model: Reasoner,
        card: Card,
        device: torch.device | str = "cpu",
        precision: Precision = "32-true",
        early_exit: bool | None = None,
        reading: Reading = "likely",
    ) -> TorchBackend:
        """A model that answers as its card says.

        Args:
            model, card: the model.
            device, precision, reading: see the class.
            early_exit: see the class; None: as the card says.
        """
        early_exit = card.early_exit if early_exit is None else early_exit
        return cls(model, device, card.ignores_padding, early_exit, precision, reading, card.halt_at)

    def set_halting(self, halt_at: float, segments: int | None = None) -> None:
        """See :class:`~hrm_arc.evaluation.backend.HaltingBackend`."""
        self.halt_at = halt_at
        self.max_segments = self.model.segments if segments is None else segments

    def prepare(self, cells: int) -> None:
        """See :class:`~hrm_arc.evaluation.backend.PreparedBackend`: for long work on a CPU the model is compiled.

        That depends on the amount of work only, not on time, so the same work is rounded the same.
        """
        weights = sum(each.weight.numel() for each in self.model.modules() if isinstance(each, nn.Linear))
        is_long = 2 * cells * weights * self.max_segments >= LONG_OPERATIONS
        self._compiles = is_long and self.device.type == "cpu" and has_token_wise(self.model) and can_compile()
        if not self._compiles:
            compile_token_wise(self.model, "inference", False)

    def _compile(self, samples: Samples) -> None:
        """Compile the model by answering some samples; where that fails, warn and go on."""
        self._compiles = False
        log.info("compiling the model; that takes up to a minute")
        reason = try_to_compile(self.model, "inference", lambda: self._answer(samples))
        if reason is not None:
            log.warning("compilation: %s; going on without, slower and with other rounding", reason)

    def answer(self, samples: Samples) -> Answers:
        """See :class:`~hrm_arc.evaluation.backend.Backend`; if memory runs out, the batch is halved, again and again.

        Raises:
            UserError: one sample alone does not fit.
        """
        if self._compiles:
            self._compile(next(samples.parts(1)))
        if (answers := _if_it_fits(lambda: self._answer(samples))) is not None:
            return answers
        halves = [self.answer(half) for half in self._halves(samples)]
        return Answers(*(np.concatenate(each) for each in zip(*halves, strict=True)))

    def _halves(self, samples: Samples) -> Iterator[Samples]:
        """Both halves of samples that do not fit the memory.

        Raises:
            UserError: it is one sample alone.
        """
        if len(samples) == 1:
            rest = "" if self.device.type == "cpu" else "; try --device cpu"
            raise UserError("--device", f"a sample does not fit the memory of {self.device}{rest}")
        return samples.parts(-(-len(samples) // 2))

    def _answer(self, samples: Samples) -> Answers:
        with self._evaluating():
            batch = Batch.from_samples(samples, self.device)
            controller = HaltingController(self.max_segments, self.early_exit, self.halt_at)
            output, segments = infer(self.model, batch, controller)
        # NaN or +infinity in any logit: the answer is none, and the confidence says so.
        broken = (output.logits.isnan() | output.logits.isposinf()).flatten(1).any(dim=1)
        confidence = output.q_halt.float().sigmoid().masked_fill(broken, torch.nan)
        logits = output.logits.masked_fill(broken[:, None, None], 0)
        return Answers(self._tokens(logits, samples), _numpy(confidence.float()), _numpy(segments))

    def segment_answers(self, samples: Samples) -> Iterator[SegmentAnswer]:
        """See :class:`~hrm_arc.evaluation.backend.SegmentsBackend`."""
        controller, segment = HaltingController(self.max_segments, halt_at=self.halt_at), None
        for number in range(1, self.max_segments + 1):
            # Modes of torch are of this thread: they must not stay on while the caller does something else.
            with torch.inference_mode(), self._evaluating():
                segment = segment or TorchSegment(self.model, Batch.from_samples(samples, self.device))
                logits, q_halt, q_continue = segment.run()
                halted = controller.halted(number, q_halt, q_continue)
                confidence = q_halt.float().sigmoid()
                answer = SegmentAnswer(self._tokens(logits, samples), _numpy(confidence), _numpy(halted))
            yield answer

    def refine(self, samples: Samples) -> np.ndarray:
        """Tokens after each segment, without early exit, ``[segments, n, cells]``; in halves as :meth:`answer` is."""
        tokens = _if_it_fits(lambda: np.stack([answer.tokens for answer in self.segment_answers(samples)]))
        if tokens is not None:
            return tokens
        return np.concatenate([self.refine(half) for half in self._halves(samples)], axis=1)

    @torch.inference_mode()
    def logits(self, samples: Samples) -> np.ndarray:
        """Logits after the first segment, ``[n, cells, 12]``."""
        with self._evaluating():
            return _numpy(TorchSegment(self.model, Batch.from_samples(samples, self.device)).run().logits.float())

    @contextlib.contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Evaluation mode in the precision; the former mode is restored."""
        was_training = self.model.training
        self.model.eval()
        try:
            with autocast(self.precision, self.device.type):
                yield
        finally:
            self.model.train(was_training)

    def _tokens(self, logits: Tensor, samples: Samples) -> np.ndarray:
        return read_tokens(_numpy(logits.float()), samples.canvas, self.ignores_padding, self.reading)


def load_model(
    path: Path,
    device: str = "auto",
    precision: str = "auto",
    early_exit: bool | None = None,
    reading: Reading = "likely",
) -> tuple[TorchBackend, Card]:
    """Load a checkpoint, or a run's newest one. A newer checkpoint that is damaged is logged as a warning.

    Args:
        path: a run folder or a checkpoint folder.
        device: a torch device, or ``auto`` for the best one here.
        precision: in which the model computes, or ``auto`` for the one that the device is fastest in; see
            :mod:`hrm_arc.hardware`.
        early_exit, reading: see :meth:`TorchBackend.of_card`.

    Raises:
        UserError: there is none, it is damaged, its model is not importable here, its weights do not fit its
            card, or some of them are not finite.
    """
    folder = newest_checkpoint(path)
    card = read_card(folder)
    weights = read_tensors(folder, WEIGHTS)
    check_weights(folder / WEIGHTS, weights)
    try:
        model = build_model(card.model, card.options, len(card.tasks), card.variants)
        model.load_state_dict(weights)
    except (KeyError, TypeError, ValueError, RuntimeError):
        raise UserError(folder / WEIGHTS, f"does not fit the model {card.model!r} that its card names") from None
    place = find_device(device)
    chosen = chosen_precision(precision, place.type)
    return TorchBackend.of_card(model.to(place).eval(), card, place, chosen, early_exit, reading), card


def check_weights(file: Path, weights: Mapping[str, Tensor]) -> None:
    """Check that every weight is finite: a model with others gives no answer that means anything.

    Raises:
        UserError: naming the first tensor that has others.
    """
    for name, tensor in weights.items():
        if tensor.device.type == "meta":
            raise UserError(file, f"{name} has a shape and no values: save the weights themselves")
        # Eight-bit floats have no such operation of their own.
        values = tensor.float() if tensor.is_floating_point() and tensor.element_size() < 2 else tensor
        if values.is_floating_point() and not (finite := values.isfinite()).all():
            others = int((~finite).sum())
            what = f"{others:,} of {tensor.numel():,} values of {name} are not finite (NaN or infinite)"
            raise UserError(file, f"{what}: training has diverged, or the file was damaged")


def find_device(name: str) -> torch.device:
    """The device of a name; for ``auto`` the best one here.

    Raises:
        UserError: it is not available here.
    """
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if name == "auto" and accelerator is None:
        return torch.device("cpu")
    if accelerator is not None and name in ("auto", accelerator.type):
        check_torchrun()
        # Under torchrun each process has a device of its own, as long as there are enough.
        place = int(os.environ.get("LOCAL_RANK", "0")) % torch.accelerator.device_count()
        return torch.device(accelerator.type, place)
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError):
        raise UserError("--device", f"{name!r} is not available here") from None


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.cpu().numpy()
