"""What can go wrong in a step, told in one line with what to do about it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hrm_arc.errors import ReportedError, UserError
from hrm_arc.files import write_json
from hrm_arc.training.recipe import TrainingConfig


class DivergedError(ReportedError):
    """The loss or a gradient is no number any more."""


def diverged(folder: Path, step: int, indices: np.ndarray, rank: int) -> DivergedError:
    """The error for a loss that is no number, with the step's samples kept for a look."""
    path = folder / f"diverged-step-{step:08d}-rank-{rank}.json"
    write_json(path, {"step": step, "indices": indices.tolist()})
    return DivergedError(
        f"step {step}",
        f"the loss or a gradient is not finite; the samples are in {path}, the weights were not moved, "
        "and the last checkpoint is untouched; a lower learning rate or 32-true may help",
    )


def out_of_memory(options: TrainingConfig) -> UserError:
    """The error for a batch that does not fit, with one that may and trains the same where there is one."""
    if options.batch == 1:
        return UserError("training.batch", "one sample does not fit the device's memory; take a smaller model")
    smaller, odd = divmod(options.batch, 2)
    return UserError(
        "training.batch",
        f"{options.batch} samples do not fit the device's memory; try --training.batch {smaller} "
        f"--training.accumulate {options.accumulate * 2}, which trains {'nearly ' if odd else ''}the same",
    )
