"""The log's validation across machines: one pass over a test split, for days if it takes days.

Sums are whole numbers and batches are always the same, so a validation that was stopped and went
on ends with the figures of one that was not, bit for bit.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hrm_arc.deploy import board
from hrm_arc.errors import UserError
from hrm_arc.evaluation.baselines import baselines
from hrm_arc.evaluation.predict import Backend
from hrm_arc.evaluation.scores import same
from hrm_arc.files import write_json
from hrm_arc.puzzles.augmented import AugmentedSet
from hrm_arc.puzzles.canvas import FULL, tokens_on_full
from hrm_arc.puzzles.corpus import UNSEEN, Puzzle
from hrm_arc.runs.checkpoint import Card

# Samples between two looks at the clock; what a kill can cost.
BATCH = 64
SAVE_SECONDS = 10.0


@dataclass(frozen=True)
class Progress:
    """Where a validation stands.

    Attributes:
        fingerprint: of the model, the data and what was asked of it.
        done: samples scored.
        samples: how many there are.
        tokens: cells right, of 900 for each sample.
        exact: samples whose grid is exactly right.
        segments: segments of thought taken.
        seconds: spent, over all of its stretches.
    """

    fingerprint: str
    done: int
    samples: int
    tokens: int = 0
    exact: int = 0
    segments: int = 0
    seconds: float = 0.0

    def figures(self) -> dict[str, Any]:
        """Rates so far; the same for the same samples, however often it was stopped."""
        count = max(1, self.done)
        return {
            "samples": self.done,
            "progress": self.done / self.samples,
            "token_accuracy": self.tokens / (count * FULL.cells),
            "exact_accuracy": self.exact / count,
            "mean_segments": self.segments / count,
        }

    def speed(self) -> dict[str, Any]:
        """What depends on the machine."""
        return {
            "seconds": round(self.seconds, 2),
            "samples_per_second": self.done / self.seconds if self.seconds else 0.0,
            "peak_memory_bytes": board.peak_memory(),
            "temperature": board.temperature(),
            "watts": board.power(),
        }


def in_the_models_rows(puzzles: Sequence[Puzzle], names: Mapping[int, str], card: Card) -> list[Puzzle]:
    """Puzzles with the rows that their tasks have in a model's table.

    Args:
        puzzles: of a corpus, numbered as there.
        names: the task of each of those numbers.
        card: the model's.
    """
    known = card.rows()
    return [replace(puzzle, row=known.get(names[puzzle.row], UNSEEN)) for puzzle in puzzles]


def validate(
    backend: Backend,
    card: Card,
    held_back: AugmentedSet,
    indices: np.ndarray,
    fingerprint: str,
    file: Path,
    show: Callable[[Progress], None] = lambda progress: None,
) -> dict[str, Any]:
    """Score samples in order; what is done is in ``file``, and is not done again.

    Args:
        backend: what runs the model.
        card: the model's.
        held_back: samples whose labels lie on the full canvas.
        indices: which of them.
        fingerprint: of model and data; a file with another one is refused.
        file: the progress, rewritten atomically every ten seconds and at the end.
        show: called after each batch.

    Returns:
        samples, token_accuracy and exact_accuracy, baselines, speed, memory, temperature and power.

    Raises:
        UserError: the file belongs to another validation, or cannot be written.
    """
    progress = read_progress(file, fingerprint) or Progress(fingerprint, 0, len(indices))
    saved = -SAVE_SECONDS
    try:
        while progress.done < len(indices):
            started = time.monotonic()
            here = indices[progress.done : progress.done + BATCH]
            progress = _add(progress, backend, card, held_back, here)
            now = time.monotonic()
            progress = replace(progress, seconds=progress.seconds + now - started)
            if now - saved > SAVE_SECONDS:
                _save(progress, file)
                saved = now
            show(progress)
    finally:
        _save(progress, file)
    plain = AugmentedSet(held_back.puzzles, augment=int(held_back.variants.max()) - 1, seed=held_back.seed)
    result = {
        **progress.figures(),
        "baselines": baselines(plain, indices),
        **progress.speed(),
        "model": card.model,
        "run_id": card.run_id,
        "step": card.step,
    }
    write_json(file, {**asdict(progress), "result": result})
    return result


def read_progress(file: Path, fingerprint: str) -> Progress | None:
    """What a progress file says; None where there is none.

    Raises:
        UserError: it is damaged, or that of another validation.
    """
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
        fields.pop("result", None)
        progress = Progress(**fields)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError):
        raise UserError(file, "not the progress of a validation") from None
    if progress.fingerprint != fingerprint:
        raise UserError(file, "belongs to a validation of another model, data or fraction; remove it, or name another")
    return progress


def is_finished(file: Path) -> bool:
    """Whether a progress file holds a result."""
    try:
        return "result" in json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def read_result(file: Path) -> dict[str, Any]:
    """The result in the progress file of a validation that came to its end, here or elsewhere.

    Raises:
        UserError: it cannot be read, or holds none.
    """
    try:
        result = json.loads(file.read_text(encoding="utf-8"))["result"]
        return {**result, **{name: result[name] for name in ("model", "run_id", "step", "samples", *_ACCURACIES)}}
    except OSError as error:
        raise UserError(file, f"cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, KeyError):
        raise UserError(file, "not the file of a validation that came to its end") from None


_ACCURACIES = ("token_accuracy", "exact_accuracy")


@dataclass(frozen=True)
class Agreement:
    """Two machines' figures of the same validation."""

    agree: bool
    token_difference: float
    exact_difference: float
    verdict: str


def agreement(ours: Mapping[str, Any], theirs: Mapping[str, Any], points: float = 0.1) -> Agreement:
    """Whether two results are the same but for rounding.

    Args:
        ours, theirs: results of :func:`validate`.
        points: the largest difference, in hundredths, that is put down to rounding.

    Raises:
        ValueError: they are not of the same samples or model.
    """
    for name in ("model", "run_id", "step", "samples"):
        if ours[name] != theirs[name]:
            raise ValueError(f"{name} is {theirs[name]!r} there and {ours[name]!r} here")
    tokens = ours["token_accuracy"] - theirs["token_accuracy"]
    exact = ours["exact_accuracy"] - theirs["exact_accuracy"]
    agree = max(abs(tokens), abs(exact)) <= points / 100
    same_figures = "the same figures" if tokens == exact == 0 else f"within {points:g} points"
    verdict = f"the machines agree: {same_figures}" if agree else f"the machines differ by more than {points:g} points"
    return Agreement(agree, tokens, exact, verdict)


def _add(progress: Progress, backend: Backend, card: Card, held_back: AugmentedSet, indices: np.ndarray) -> Progress:
    tokens = exact = segments = 0
    for samples in held_back.samples(indices):
        assert samples.labels is not None
        answers = backend.answer(samples)
        segments += int(answers.segments.sum())
        for said, truth in zip(answers.tokens, samples.labels, strict=True):
            tokens += int((tokens_on_full(samples.canvas, said, card.ignores_padding) == truth).sum())
            wanted = FULL.decode(truth)
            assert wanted is not None
            exact += same(samples.canvas.decode(said), wanted)
    return replace(
        progress,
        done=progress.done + len(indices),
        tokens=progress.tokens + tokens,
        exact=progress.exact + exact,
        segments=progress.segments + segments,
    )


def _save(progress: Progress, file: Path) -> None:
    write_json(file, asdict(progress))
