"""Would more training help? A sentence from a run's curves: still rising, flat since a step, or memorized."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Fewer training rows than this say nothing.
FEWEST_ROWS = 24
# The share of the rows at the end that is compared with as many before them.
PART = 4
# Training samples count as learned by heart from this share of exact ones on.
MEMORIZED = 0.99
# A change counts if it is this many standard errors, and this share of the value.
ERRORS, LEAST_CHANGE = 2.0, 0.02

Rows = Sequence[Mapping[str, Any]]


def outlook(rows: Rows, config: Mapping[str, Any]) -> list[str]:
    """Sentences on what more steps can be expected to bring.

    Args:
        rows: of metrics.jsonl.
        config: the recipe of the run.
    """
    train = [row for row in rows if row["kind"] == "train"]
    steps, loss = _series(train, "loss")
    if len(loss) < FEWEST_ROWS:
        return [f"too few rows of metrics ({len(loss)}) to say whether more training would help"]
    said = [_training(steps, loss, *_series(train, "exact_accuracy"))]
    held_out = _held_out([row for row in rows if row["kind"] == "validation"])
    return [*said, *held_out, *_schedule(train, config)]


def _series(rows: Rows, key: str) -> tuple[np.ndarray, np.ndarray]:
    """The steps at which a value is known, and the values."""
    known = [(row["step"], float(row[key])) for row in rows if isinstance(row.get(key), int | float)]
    steps, values = zip(*known, strict=True) if known else ((), ())
    return np.array(steps, dtype=np.int64), np.array(values)


def _training(steps: np.ndarray, loss: np.ndarray, exact_steps: np.ndarray, exact: np.ndarray) -> str:
    means = _running(exact)
    if len(means) and means[-1] >= MEMORIZED:
        # From the last step on that was below.
        below = np.flatnonzero(means < MEMORIZED)
        since = exact_steps[0 if not len(below) else below[-1] + 1]
        return (
            f"memorized: the training samples are exact since step {since:,}; more steps of the same teach little new"
        )
    late, early = loss[-len(loss) // PART :], loss[-2 * len(loss) // PART : -len(loss) // PART]
    change = early.mean() - late.mean()
    error = np.hypot(late.std() / np.sqrt(len(late)), early.std() / np.sqrt(len(early)))
    if change > max(ERRORS * error, LEAST_CHANGE * abs(early.mean())):
        first = int(steps[-len(loss) // PART])
        return (
            f"still rising: since step {first:,} the mean training loss is {late.mean():.3g}, before it was"
            f" {early.mean():.3g}; more steps help the training"
        )
    if -change > max(ERRORS * error, LEAST_CHANGE * abs(early.mean())):
        first = int(steps[-len(loss) // PART])
        return (
            f"getting worse: since step {first:,} the mean training loss is {late.mean():.3g}, before it was"
            f" {early.mean():.3g}; a lower learning rate may help"
        )
    smooth = _running(loss)
    since = steps[int(np.argmax(smooth <= (1 + LEAST_CHANGE) * late.mean()))]
    return f"flat since step {since:,}: the training loss stays at {late.mean():.3g}"


def _held_out(rows: Rows) -> list[str]:
    """What the held-out scores say, where there are at least three on the same samples."""
    # Fast validations score a fixed part, full ones everything: they cannot be compared.
    parts = [[row for row in rows if bool(row.get("full")) == is_full] for is_full in (True, False)]
    steps, exact = max((_series(part, "exact_accuracy") for part in parts), key=lambda found: len(found[0]))
    if len(exact) < 3:
        return []
    if not exact.any():
        return [f"held-out exact match is still 0, at step {steps[-1]:,}"]
    best = int(np.argmax(exact))
    if best >= len(exact) - 1 or exact[-1] >= exact[best]:
        return [f"held-out exact match is still at its highest, {exact[-1]:.1%}, at step {steps[-1]:,}"]
    return [f"held-out exact match was highest at step {steps[best]:,}: {exact[best]:.1%}, now {exact[-1]:.1%}"]


def _schedule(train: Rows, config: Mapping[str, Any]) -> list[str]:
    """What a longer run does to the learning rate."""
    schedule = config.get("schedule")
    kind = schedule.get("kind") if isinstance(schedule, Mapping) else None
    _, rates = _series(train, "lr")
    if kind not in ("cosine", "decay") or not rates.any():
        return []
    limit = _limit(train, config.get("training") or {})
    now = f"the learning rate is at {rates[-1] / rates.max():.0%} of its peak"
    return [f"{now}; a longer run (--override {limit}) stretches the schedule, so it rises again before it falls"]


def _limit(train: Rows, training: Mapping[str, Any]) -> str:
    """The key of the limit that a run is nearer to."""
    steps, seconds = train[-1].get("step") or 0, train[-1].get("seconds") or 0.0
    of_steps = steps / training["max_steps"] if training.get("max_steps") else 0.0
    of_time = seconds / (60 * training["max_minutes"]) if training.get("max_minutes") else 0.0
    return "training.max_minutes" if of_time > of_steps else "training.max_steps"


def _running(values: np.ndarray) -> np.ndarray:
    """A mean over a twelfth of the values up to each one."""
    width = max(1, len(values) // 12)
    if not len(values):
        return values
    sums = np.cumsum(np.concatenate([np.full(width, values[0]), values]))
    return (sums[width:] - sums[:-width]) / width
