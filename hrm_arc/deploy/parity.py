"""Compare the answers of two backends to the same samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hrm_arc.errors import UserError
from hrm_arc.evaluation.backend import Answers, Backend, LogitsBackend
from hrm_arc.evaluation.evaluate import predict_tasks
from hrm_arc.evaluation.scores import right_votes, score
from hrm_arc.puzzles.augmented import Samples
from hrm_arc.puzzles.symmetry import DIHEDRALS
from hrm_arc.puzzles.task import Task
from hrm_arc.runs.card import Card

# Logits are compared on about this many batches.
LOGIT_BATCHES = 20
# Logits below this mark tokens missing from a model's vocabulary; half precision clips the mark.
ABSENT = -5000.0


@dataclass(frozen=True)
class Parity:
    """How much two backends differ on variants of real test inputs.

    Attributes:
        samples: the number of samples that both answered.
        positions: the number of cells of their canvases.
        tokens_different: positions with different tokens.
        grids_different: samples with different grids, or with a readable grid from one backend only.
        largest_logit_difference: largest absolute difference of logits after the first segment, on about
            20 batches.
        exact_accuracy, other_exact_accuracy: share of test outputs that each backend gets right in one pass.
        sample_accuracy, other_sample_accuracy: share of samples (all variants) whose grid each backend gets
            exactly right, among those with a known answer.
        solved, other_solved: test outputs that each backend solves with two attempts.
        test_outputs: the number of test outputs with a known answer; where there is none, what is right is None.
    """

    samples: int
    positions: int
    tokens_different: int
    grids_different: int
    largest_logit_difference: float
    exact_accuracy: float | None
    other_exact_accuracy: float | None
    sample_accuracy: float | None
    other_sample_accuracy: float | None
    solved: int | None
    other_solved: int | None
    test_outputs: int

    def as_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


def parity(
    one: LogitsBackend,
    other: LogitsBackend,
    card: Card,
    tasks: Sequence[Task],
    samples: int = 2000,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Parity:
    """Compare two backends on the same variants of the same test inputs.

    Args:
        one, other: the backends.
        card: the card of the checkpoint that both were made from.
        tasks: the tasks whose test inputs are answered.
        samples: the least number of samples; each test input is answered in as many variants as that takes.
            Fewer if the model knows fewer variants.
        progress: called with the number of test inputs that were answered, counted for each backend, and
            with their total.

    Raises:
        UserError: the tasks have no test inputs.
    """
    outputs = sum(len(task.tests) for task in tasks)
    if not outputs:
        raise UserError("--data", "no test inputs to compare on, expected a source that has some")
    votes = -(-samples // outputs)
    if not card.permutes_colors:
        # The first ones are the orientations.
        votes = min(votes, DIHEDRALS)
    progress(0, 2 * outputs)
    recordings = [RecordingBackend(backend) for backend in (one, other)]
    predictions = []
    for number, backend in enumerate(recordings):

        def answered(done: int, before: int = number * outputs) -> None:
            progress(before + done, 2 * outputs)

        predictions.append(predict_tasks(backend, card, tasks, votes=votes, progress=answered))
    scores = [score(tasks, each) for each in predictions]
    pairs = list(zip(recordings[0].records, recordings[1].records, strict=True))
    grids = 0
    for (batch, tokens), (_, other_tokens) in pairs:
        for ours, theirs in zip(tokens, other_tokens, strict=True):
            grids += not _same(batch.canvas.decode(ours), batch.canvas.decode(theirs))
    compared = [batch for (batch, _), _ in pairs[:: max(1, len(pairs) // LOGIT_BATCHES)]]
    count = sum(len(tokens) for (_, tokens), _ in pairs)
    # Of some tasks there are fewer variants than of others.
    answered_ones = {(task.id, n) for task in tasks for n, test in enumerate(task.tests) if test.output is not None}
    known = sum(each.limit or 0 for each in predictions[0] if (each.task, each.test) in answered_ones)
    accuracy = [right_votes(tasks, each) / known if known else None for each in predictions]
    return Parity(
        samples=count,
        positions=sum(tokens.size for (_, tokens), _ in pairs),
        tokens_different=sum(int((ours != theirs).sum()) for (_, ours), (_, theirs) in pairs),
        grids_different=grids,
        largest_logit_difference=float(np.max([_difference(one.logits(b), other.logits(b)) for b in compared])),
        exact_accuracy=scores[0]["exact_accuracy"],
        other_exact_accuracy=scores[1]["exact_accuracy"],
        sample_accuracy=accuracy[0],
        other_sample_accuracy=accuracy[1],
        solved=scores[0]["solved_pass2"],
        other_solved=scores[1]["solved_pass2"],
        test_outputs=scores[0]["test_outputs"],
    )


class RecordingBackend:
    """A backend that records every batch and its answer tokens.

    Attributes:
        records: samples and tokens ``[n, cells]`` of each call of :meth:`answer`.
    """

    def __init__(self, backend: Backend):
        self._backend = backend
        self.records: list[tuple[Samples, np.ndarray]] = []

    def answer(self, samples: Samples) -> Answers:
        """See :class:`~hrm_arc.evaluation.backend.Backend`."""
        answers = self._backend.answer(samples)
        self.records.append((samples, answers.tokens))
        return answers

    def refine(self, samples: Samples) -> np.ndarray:
        """See :class:`~hrm_arc.evaluation.backend.Backend`; not recorded."""
        return self._backend.refine(samples)


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference of logits, but for tokens that a vocabulary does not have."""
    absent = (one < ABSENT) & (other < ABSENT)
    return float(np.abs(np.where(absent, 0, one - other)).max())


def _same(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    return one is other if one is None or other is None else np.array_equal(one, other)
