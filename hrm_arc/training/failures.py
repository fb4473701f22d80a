"""What ends a training: a loss that is not finite, and a batch that does not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hrm_arc.errors import ReportedError, UserError
from hrm_arc.files import write_json
from hrm_arc.training.config import TrainingConfig


class DivergedError(ReportedError):
    """The loss or a gradient is not finite."""


def explain_divergence(error: DivergedError, path: Path, step: int, indices: np.ndarray) -> DivergedError:
    """Write the samples of a step that diverged to a file; returns the error that names it."""
    write_json(path, {"step": step, "indices": indices.tolist()})
    what = "the weights did not move, and the last checkpoint is untouched; a lower learning rate or 32-true may help"
    return DivergedError(error.where, f"{error.what}; the samples are in {path}, {what}")


def out_of_memory(options: TrainingConfig) -> UserError:
    """The error for a batch that does not fit, with a smaller one that trains the same where there is one."""
    if options.batch_size == 1:
        return UserError("training.batch_size", "one sample does not fit the device's memory; take a smaller model")
    smaller, odd = divmod(options.batch_size, 2)
    return UserError(
        "training.batch_size",
        f"{options.batch_size} samples do not fit the device's memory; try --training.batch_size {smaller} "
        f"--training.grad_accum_steps {options.grad_accum_steps * 2}, which trains {'nearly ' if odd else ''}the same",
    )
