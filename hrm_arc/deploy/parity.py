"""The same answers there as here? Two backends asked the same questions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from hrm_arc.errors import UserError
from hrm_arc.evaluation.evaluate import predict_tasks
from hrm_arc.evaluation.predict import Answers, Backend
from hrm_arc.evaluation.scores import right_votes, score
from hrm_arc.puzzles.augmented import Samples
from hrm_arc.puzzles.task import Task
from hrm_arc.runs.checkpoint import Card


class Asked(Backend, Protocol):
    """A backend whose logits can be looked at."""

    def logits(self, samples: Samples) -> np.ndarray: ...


@dataclass(frozen=True)
class Parity:
    """How far two backends are apart on real test inputs under their symmetries.

    Attributes:
        samples: how many were asked.
        positions: cells of their canvases.
        tokens_different: positions that got another token.
        grids_different: samples that got another grid, or one of two none.
        largest_logit_difference: after the first segment of thought, over some twenty batches.
        exact, other_exact: each one's share of test outputs right in one pass.
        right, other_right: each one's share of samples whose grid is exactly right, of those whose answer is known.
        solved, other_solved: test outputs that two attempts solve, for each.
        test_outputs: how many there are with a known answer.
    """

    samples: int
    positions: int
    tokens_different: int
    grids_different: int
    largest_logit_difference: float
    exact: float
    other_exact: float
    right: float
    other_right: float
    solved: int
    other_solved: int
    test_outputs: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def parity(
    one: Asked,
    other: Asked,
    card: Card,
    tasks: Sequence[Task],
    samples: int = 2000,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Parity:
    """Let two backends answer the same test inputs, through the same votes.

    Args:
        one, other: the backends.
        card: of the checkpoint that both come from.
        tasks: whose test inputs are asked.
        samples: at least so many, in as many variants of each as that takes; fewer where the
            model knows no more variants.
        progress: called with how many test inputs have been answered, by one after the other, and of how many.

    Raises:
        UserError: there are no test inputs.
    """
    outputs = sum(len(task.tests) for task in tasks)
    if not outputs:
        raise UserError("--data", "no test inputs to compare on: name a source")
    votes = -(-samples // outputs)
    listening = [_Listening(backend) for backend in (one, other)]
    predictions = []
    for n, backend in enumerate(listening):

        def answered(done: int, before: int = n * outputs) -> None:
            progress(before + done, 2 * outputs)

        predictions.append(predict_tasks(backend, card, tasks, votes=votes, progress=answered))
    scores = [score(tasks, each) for each in predictions]
    pairs = list(zip(listening[0].heard, listening[1].heard, strict=True))
    grids = 0
    for (asked, tokens), (_, others) in pairs:
        for ours, theirs in zip(tokens, others, strict=True):
            grids += not _same(asked.canvas.decode(ours), asked.canvas.decode(theirs))
    looked_at = [asked for (asked, _), _ in pairs[:: max(1, len(pairs) // 20)]]
    count = sum(len(tokens) for (_, tokens), _ in pairs)
    # Every test input was asked equally often.
    known = count // outputs * scores[0]["test_outputs"]
    right = [right_votes(tasks, each) / max(1, known) for each in predictions]
    return Parity(
        samples=count,
        positions=sum(tokens.size for (_, tokens), _ in pairs),
        tokens_different=sum(int((ours != theirs).sum()) for (_, ours), (_, theirs) in pairs),
        grids_different=grids,
        largest_logit_difference=float(np.max([np.abs(one.logits(a) - other.logits(a)).max() for a in looked_at])),
        exact=scores[0]["exact_accuracy"],
        other_exact=scores[1]["exact_accuracy"],
        right=right[0],
        other_right=right[1],
        solved=scores[0]["solved_pass2"],
        other_solved=scores[1]["solved_pass2"],
        test_outputs=scores[0]["test_outputs"],
    )


class _Listening:
    """A backend that remembers what it was asked and what it said."""

    def __init__(self, backend: Backend):
        self._backend = backend
        self.heard: list[tuple[Samples, np.ndarray]] = []

    def answer(self, samples: Samples) -> Answers:
        answers = self._backend.answer(samples)
        self.heard.append((samples, answers.tokens))
        return answers

    def refine(self, samples: Samples) -> np.ndarray:
        return self._backend.refine(samples)


def _same(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    return one is other if one is None or other is None else np.array_equal(one, other)
