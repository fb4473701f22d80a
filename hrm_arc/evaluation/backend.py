"""What runs a model: the protocols of torch and of ONNX Runtime, and what they give."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from hrm_arc.errors import ReportedError
from hrm_arc.puzzles.augmented import Samples

# Cells of one forward pass; more need memory and are not faster.
FORWARD_CELLS = 65_536


class Answers(NamedTuple):
    """A backend's answers to a batch of samples.

    Attributes:
        tokens: ``[n, cells]``, uint8.
        confidence: halting probability after the last segment of each sample, ``[n]``; NaN where the model's
            logits were no numbers.
        segments: number of segments of each sample, ``[n]``.
    """

    tokens: np.ndarray
    confidence: np.ndarray
    segments: np.ndarray


class SegmentAnswer(NamedTuple):
    """A backend's answers to a batch of samples after one segment.

    Attributes:
        tokens: ``[n, cells]``, uint8.
        confidence: halting probability, ``[n]``.
        halted: whether a sample would stop after this segment, ``[n]``.
    """

    tokens: np.ndarray
    confidence: np.ndarray
    halted: np.ndarray


class Backend(Protocol):
    """Runs a model: in torch, or an exported one in ONNX Runtime."""

    def answer(self, samples: Samples) -> Answers:
        """Run segments until each sample has halted."""
        ...

    def refine(self, samples: Samples) -> np.ndarray:
        """Tokens after each segment, without early exit, ``[segments, n, cells]``."""
        ...


class HaltingBackend(Backend, Protocol):
    """A backend of a model with halting logits."""

    def set_halting(self, halt_at: float, segments: int | None = None) -> None:
        """Set the halting probability above which a sample stops, and the most segments; None: as in training.

        Raises:
            UserError: its number of segments is fixed.
        """
        ...


class SegmentsBackend(Backend, Protocol):
    """A backend that can be followed from segment to segment."""

    def segment_answers(self, samples: Samples) -> Iterator[SegmentAnswer]:
        """The answers after each segment, as they are computed, without early exit."""
        ...


@runtime_checkable
class PreparedBackend(Backend, Protocol):
    """A backend that prepares itself for long work."""

    def prepare(self, cells: int) -> None:
        """Announce that samples with ``cells`` cells in total will be answered."""
        ...


class LogitsBackend(Backend, Protocol):
    """A backend that gives its logits, too."""

    def logits(self, samples: Samples) -> np.ndarray:
        """Logits after the first segment, ``[n, cells, 12]``."""
        ...


def check_finite(answers: Answers) -> Answers:
    """Refuse answers that come from logits which are no numbers: they would be scored as wrong ones.

    Raises:
        ReportedError: there are some.
    """
    if np.isnan(answers.confidence).any():
        what = "its logits are not numbers (NaN): its weights are damaged, or too large for its number format"
        raise ReportedError("the model", what)
    return answers
