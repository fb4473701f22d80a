"""Whether a model has learned the demonstrations of a task: its answers to them, and their loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hrm_arc.evaluation.backend import LogitsBackend
from hrm_arc.evaluation.scores import same
from hrm_arc.puzzles.augmented import AugmentedSet
from hrm_arc.puzzles.canvas import PAD
from hrm_arc.puzzles.corpus import UNSEEN, Corpus
from hrm_arc.puzzles.task import Grid, Task
from hrm_arc.runs.card import Card


@dataclass(frozen=True)
class LearnedPair:
    """A demonstration, answered by a model.

    Attributes:
        answer: the grid of one pass, without votes; None: not readable.
        exact: whether it is the demonstration's output.
        loss: cross-entropy of the output's tokens after the first segment, in nats a cell.
    """

    answer: Grid | None
    exact: bool
    loss: float


def learned_pairs(backend: LogitsBackend, card: Card, task: Task) -> list[LearnedPair]:
    """Answer the demonstrations of a task, as they are.

    Args:
        backend: runs the checkpoint's model.
        card: the checkpoint's card.
        task: its test outputs are not read. Boards to be solved may have no demonstrations, and then no pair.
    """
    if not task.demonstrations:
        return []
    data = AugmentedSet(Corpus(solve=(task,)).training_puzzles(), augment=0, seed=card.seed, canvas=card.canvas)
    (samples,) = data.samples(np.arange(len(data)))
    row = card.rows().get(task.id, UNSEEN)
    samples = replace(samples, identity=replace(samples.identity, task=np.full(len(samples), row, dtype=np.int64)))
    assert samples.labels is not None, "demonstrations have outputs"
    answers, logits = backend.answer(samples), backend.logits(samples).astype(np.float64)
    top = logits.max(axis=-1, keepdims=True)
    log_sums = np.log(np.exp(logits - top).sum(axis=-1)) + top[..., 0]
    losses = log_sums - np.take_along_axis(logits, samples.labels[..., None].astype(np.int64), axis=-1)[..., 0]
    found = []
    for pair, tokens, labels, loss in zip(task.demonstrations, answers.tokens, samples.labels, losses, strict=True):
        assert pair.output is not None, "demonstrations have outputs"
        counted = labels != PAD if card.ignores_padding else np.ones(len(labels), dtype=bool)
        answer = samples.canvas.decode(tokens)
        found.append(LearnedPair(answer, same(answer, pair.output), float(loss[counted].mean())))
    return found


def how_learned(pairs: Sequence[LearnedPair]) -> str:
    """What the pairs say, in words."""
    if not pairs:
        return "not known: there are no demonstrations"
    exact = sum(pair.exact for pair in pairs)
    if exact == len(pairs):
        return f"learned by heart: all {len(pairs)} demonstrations are answered exactly"
    if exact:
        return f"partly learned: {exact} of {len(pairs)} demonstrations are answered exactly"
    return f"not learned yet: none of {len(pairs)} demonstrations is answered exactly"
