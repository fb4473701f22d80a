"""Charts as SVG text, ready to stand inside a page."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

TRAIN, HELD_BACK, MUTED = "#0b6e99", "#c2410c", "#888888"


def training_curve(rows: Sequence[dict[str, Any]]) -> str:
    """Loss and exact match over training time, from the rows of metrics.jsonl.

    The training lines are thinned by a running mean; validations are single points.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    train = [row for row in rows if row["kind"] == "train"]
    seconds = np.array([row["seconds"] for row in train])
    by_step = {row["step"]: row["seconds"] for row in train}
    scored = [row for row in rows if row["kind"] == "validation" and row["step"] in by_step]
    figure = Figure(figsize=(8.4, 2.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(seconds / 60, _smooth([row["loss"] for row in train]), color=TRAIN)
    left.set(title="answer loss in training", xlabel="minutes", ylabel="nats per cell", yscale="log")
    right.plot(seconds / 60, _smooth([row["exact"] for row in train]), color=TRAIN, label="training samples")
    if scored:
        right.plot(
            [by_step[row["step"]] / 60 for row in scored],
            [row["exact_accuracy"] for row in scored],
            "o-",
            color=HELD_BACK,
            markersize=4,
            label="held-back outputs, one pass, no votes",
        )
    right.set(title="share of grids exactly right", xlabel="minutes", ylim=(0, 1.02))
    right.legend(frameon=False, fontsize=8)
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
        axis.title.set_fontsize(10)
    with (
        rc_context({"svg.fonttype": "none", "svg.hashsalt": "hrm-arc", "font.family": "sans-serif"}),
        io.StringIO() as text,
    ):
        # Without metadata the picture has no date, and the same run draws the same page.
        bare = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(text, format="svg", transparent=True, metadata=bare)
        return text.getvalue()[text.getvalue().index("<svg") :]


def _smooth(values: Sequence[float]) -> np.ndarray:
    """A running mean over a fiftieth of the points."""
    width = max(1, len(values) // 50)
    padded = np.pad(np.asarray(values, dtype=float), (width // 2, width - 1 - width // 2), mode="edge")
    return np.convolve(padded, np.ones(width) / width, mode="valid")
