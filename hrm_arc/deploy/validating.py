"""The log's validation across machines: one pass over a test split, for days if it takes days.

Sums are whole numbers and batches are always the same, so a validation that was stopped and went
on ends with the figures of one that was not, bit for bit.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hrm_arc.deploy import board
from hrm_arc.deploy.agreement import Marks
from hrm_arc.errors import UserError
from hrm_arc.evaluation.baselines import baselines
from hrm_arc.evaluation.predict import Backend
from hrm_arc.evaluation.scores import right_tokens
from hrm_arc.files import write_json
from hrm_arc.puzzles.augmented import AugmentedSet
from hrm_arc.puzzles.canvas import FULL
from hrm_arc.puzzles.corpus import UNSEEN, Corpus, Puzzle
from hrm_arc.runs.checkpoint import Card

# Samples between two looks at the clock; what a kill can cost.
BATCH = 64
SAVE_SECONDS = 10.0


@dataclass(frozen=True)
class Progress:
    """Where a validation stands.

    Attributes:
        mark: of the whole validation.
        samples: how many there are.
        done: how many are scored.
        tokens: cells right, of 900 for each sample.
        exact: samples whose grid is exactly right.
        segments: segments of thought taken.
        seconds: spent, over all of its stretches.
        peak_memory: of any of them, in bytes.
    """

    mark: str
    samples: int
    done: int = 0
    tokens: int = 0
    exact: int = 0
    segments: int = 0
    seconds: float = 0.0
    peak_memory: int = 0

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
            "peak_memory_bytes": self.peak_memory,
            "temperature": board.temperature(),
            "watts": board.power(),
        }


def in_the_models_rows(puzzles: Sequence[Puzzle], corpus: Corpus, card: Card) -> list[Puzzle]:
    """Puzzles of a corpus, with the rows that their tasks have in a model's table."""
    known = card.rows()
    names = {row: task.id for row, task in enumerate(corpus.tasks, start=1)}
    return [replace(puzzle, row=known.get(names[puzzle.row], UNSEEN)) for puzzle in puzzles]


def validate(
    backend: Backend,
    card: Card,
    held_back: AugmentedSet,
    indices: np.ndarray,
    known: Marks,
    file: Path,
    show: Callable[[Progress], None] = lambda progress: None,
) -> dict[str, Any]:
    """Score samples in order; what is done is in ``file``, and is not done again.

    Args:
        backend: what runs the model.
        card: the model's.
        held_back: samples whose labels lie on the full canvas.
        indices: which of them.
        known: what tells this validation from others; a file of another one is refused.
        file: the progress, brought to the disk every ten seconds and at the end.
        show: called after each batch.

    Returns:
        samples, token_accuracy and exact_accuracy, baselines, speed, memory, temperature and power.

    Raises:
        UserError: the file belongs to another validation, or cannot be written.
    """
    progress = read_progress(file, known) or Progress(known.whole, len(indices))
    if (result := _result(file)) is not None:
        return result
    saved = -SAVE_SECONDS
    try:
        while progress.done < len(indices):
            started = time.monotonic()
            here = indices[progress.done : progress.done + BATCH]
            progress = _add(progress, backend, card, held_back, here)
            now = time.monotonic()
            peak = max(progress.peak_memory, board.peak_memory())
            progress = replace(progress, seconds=progress.seconds + now - started, peak_memory=peak)
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
        "data": known.data,
        "checkpoint": known.checkpoint,
    }
    write_json(file, {**asdict(progress), "result": result}, lasting=True)
    return result


def read_progress(file: Path, known: Marks) -> Progress | None:
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
        raise UserError(file, "not the progress of a validation; name another file with --out") from None
    if progress.mark != known.whole:
        raise UserError(file, "belongs to a validation of another model or other data; name another file with --out")
    return progress


def begin(file: Path, known: Marks, resume: bool) -> None:
    """Make way for a validation: a finished one of the same kind may be made again, nothing else is touched.

    Raises:
        UserError: there is nothing to go on with, or something that would be lost.
    """
    progress = read_progress(file, known)
    if resume and progress is None:
        raise UserError("--resume", f"there is no validation to go on with at {file}")
    if not resume and progress is not None:
        if _result(file) is None:
            raise UserError(file, "holds a validation that was stopped: go on with --resume, or remove it")
        file.unlink()


def _result(file: Path) -> dict[str, Any] | None:
    """The result in a progress file, if the validation came to its end."""
    try:
        return json.loads(file.read_text(encoding="utf-8")).get("result")
    except FileNotFoundError:
        return None


def _add(progress: Progress, backend: Backend, card: Card, held_back: AugmentedSet, indices: np.ndarray) -> Progress:
    tokens = exact = segments = 0
    for samples in held_back.samples(indices):
        assert samples.labels is not None
        answers = backend.answer(samples)
        segments += int(answers.segments.sum())
        for said, truth in zip(answers.tokens, samples.labels, strict=True):
            cells, whole = right_tokens(samples.canvas, said, truth, card.ignores_padding)
            tokens += cells
            exact += whole
    return replace(
        progress,
        done=progress.done + len(indices),
        tokens=progress.tokens + tokens,
        exact=progress.exact + exact,
        segments=progress.segments + segments,
    )


def _save(progress: Progress, file: Path) -> None:
    write_json(file, asdict(progress), lasting=True)
