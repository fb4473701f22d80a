"""Validation on a test split in one pass, resumable because it may take days on a small machine.

Totals are integers and batches are always the same, so a validation that was stopped and resumed gives exactly the
figures of one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hrm_arc import telemetry
from hrm_arc.deploy.agreement import Fingerprint
from hrm_arc.deploy.progress import Progress, read_file, write_progress
from hrm_arc.errors import UserError
from hrm_arc.evaluation.backend import Backend, PreparedBackend, check_finite
from hrm_arc.evaluation.baselines import baselines
from hrm_arc.evaluation.scores import score_samples
from hrm_arc.files import check_target
from hrm_arc.puzzles.augmented import AugmentedSet
from hrm_arc.puzzles.canvas import placed
from hrm_arc.puzzles.corpus import UNSEEN, Corpus, Puzzle
from hrm_arc.runs.card import Card

# Samples between two checks whether to save.
BATCH = 64
SAVE_SECONDS = 10.0


def with_model_rows(puzzles: Sequence[Puzzle], corpus: Corpus, card: Card) -> list[Puzzle]:
    """Puzzles of a corpus with the rows that their tasks have in the task table of a model.

    Args:
        puzzles: with the rows of ``corpus``.
        corpus: the tasks of the puzzles.
        card: of the model; a task without a row there gets the row for unseen tasks.
    """
    rows = card.rows()
    names = {row: task.id for row, task in enumerate(corpus.tasks, start=1)}
    return [replace(puzzle, row=rows.get(names[puzzle.row], UNSEEN)) for puzzle in puzzles]


def validate(
    backend: Backend,
    card: Card,
    held_out: AugmentedSet,
    indices: np.ndarray,
    fingerprint: Fingerprint,
    file: Path,
    progress: Callable[[Progress], None] = lambda progress: None,
) -> dict[str, Any]:
    """Score samples in order. What the progress file has is not computed again.

    Args:
        backend: runs the model.
        card: of the model.
        held_out: samples whose labels are on the full canvas.
        indices: the indices of the samples to score, ``[n]``.
        fingerprint: the identity of this validation; the progress file of another one is refused.
        file: the progress file, saved every ten seconds and at the end.
        progress: called after each batch.

    Returns:
        samples, token_accuracy and exact_accuracy, baselines, speed, memory, temperature and power.

    Raises:
        UserError: the file belongs to another validation, or cannot be written.
    """
    found, result = _read(file, fingerprint)
    state = found or Progress(fingerprint.whole, len(indices))
    if state.samples != len(indices) or (state.done % BATCH and state.done < state.samples):
        raise UserError(file, f"{state.done} of {state.samples} samples are not those of this validation")
    if result is not None:
        return result
    if isinstance(backend, PreparedBackend):
        cells = np.mean([placed(puzzle.canvas, card.canvas).cells for puzzle in held_out.puzzles])
        backend.prepare(int(len(indices) * cells))
    saved = -SAVE_SECONDS
    try:
        while state.done < len(indices):
            started = time.monotonic()
            state = _score(state, backend, card, held_out, indices[state.done : state.done + BATCH])
            now = time.monotonic()
            peak = max(state.peak_memory, telemetry.peak_memory())
            state = replace(state, seconds=state.seconds + now - started, peak_memory=peak)
            if now - saved > SAVE_SECONDS:
                write_progress(file, state)
                saved = now
            progress(state)
    finally:
        write_progress(file, state)
    # Baselines take inputs on the full canvas; the samples are the same.
    on_full_canvas = AugmentedSet(held_out.puzzles, augment=int(held_out.variants.max()) - 1, seed=held_out.seed)
    result = {
        **state.figures(),
        "baselines": baselines(on_full_canvas, indices),
        **state.speed(),
        "model": card.model,
        "run_id": card.run_id,
        "step": card.step,
        "data": fingerprint.data,
        "checkpoint": fingerprint.checkpoint,
    }
    write_progress(file, state, result)
    return result


def _read(file: Path, fingerprint: Fingerprint) -> tuple[Progress | None, dict[str, Any] | None]:
    """The progress of this validation and, if it is finished, its result."""
    try:
        progress, result = read_file(file)
    except FileNotFoundError:
        return None, None
    except UserError as error:
        raise UserError(file, f"not the progress of a validation: {error.what}; name another file with --out") from None
    if progress.fingerprint != fingerprint.whole:
        raise UserError(file, "belongs to a validation of another model or other data; name another file with --out")
    return progress, result


def prepare_file(file: Path, fingerprint: Fingerprint, resume: bool) -> None:
    """Check the progress file before a validation starts. Only that of a finished, equal validation is removed.

    Args:
        file: the progress file.
        fingerprint: the identity of the validation.
        resume: whether to continue one that was stopped.

    Raises:
        UserError: there is nothing to resume, or a validation that was stopped would be lost.
    """
    check_target(file)
    progress, result = _read(file, fingerprint)
    if resume and progress is None:
        raise UserError("--resume", f"there is no validation to resume at {file}")
    if not resume and progress is not None:
        if result is None:
            raise UserError(file, "holds a validation that was stopped: continue it with --resume, or remove the file")
        file.unlink()


def _score(state: Progress, backend: Backend, card: Card, held_out: AugmentedSet, indices: np.ndarray) -> Progress:
    """The progress after scoring the samples with these indices, too."""
    cells = exact = segments = 0
    for samples in held_out.samples(indices):
        answers = check_finite(backend.answer(samples))
        segments += int(answers.segments.sum())
        scores = score_samples(samples, answers.tokens, card.ignores_padding)
        cells += scores.correct_cells
        exact += scores.exact
    return replace(
        state,
        done=state.done + len(indices),
        correct_cells=state.correct_cells + cells,
        exact=state.exact + exact,
        segments=state.segments + segments,
    )
