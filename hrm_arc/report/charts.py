"""Charts as SVG text, ready to stand inside a page."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Read on white and on black.
COLOURS = ("#2f81b7", "#d9622b")
INK = "#808080"
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "hrm-arc",
    "font.family": "sans-serif",
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
}
# A line of a chart this wide shows no more points.
POINTS = 400

Rows = Sequence[dict[str, Any]]


def training_curves(runs: Mapping[str, Rows]) -> str:
    """Loss and exact match over training time, from the rows of each run's metrics.jsonl.

    Lines of training are running means; validations are single points.

    Args:
        runs: one or two, by name.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE), io.StringIO() as text:
        figure = Figure(figsize=(8.4, 2.9), layout="constrained")
        left, right = figure.subplots(1, 2)
        if len(runs) == 1:
            (rows,) = runs.values()
            _draw(left, right, rows, *COLOURS)
        else:
            for colour, (name, rows) in zip(COLOURS, runs.items(), strict=True):
                _draw(left, right, rows, colour, colour, f"{name}: ")
        left.set(title="answer loss in training", xlabel="minutes", ylabel="nats per cell", yscale="log")
        right.set(title="share of grids exactly right", xlabel="minutes", ylim=(0, 1.02))
        if right.get_lines():
            right.legend(frameon=False, fontsize=8)
        for axis in (left, right):
            axis.spines[["top", "right"]].set_visible(False)
            axis.title.set_fontsize(10)
        # Without metadata the picture has no date, and the same run draws the same page.
        bare = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(text, format="svg", transparent=True, metadata=bare)
        return text.getvalue()[text.getvalue().index("<svg") :]


def _draw(left: Any, right: Any, rows: Rows, training: str, held_back: str, prefix: str = "") -> None:
    train = [row for row in rows if row["kind"] == "train"]
    if not train:
        return
    minutes = _thinned([row["seconds"] / 60 for row in train])
    by_step = {row["step"]: row["seconds"] for row in train}
    scored = [row for row in rows if row["kind"] == "validation" and row["step"] in by_step]
    left.plot(minutes, _thinned(_smooth([row["loss"] for row in train])), color=training)
    exact = _thinned(_smooth([row["exact"] for row in train]))
    right.plot(minutes, exact, color=training, alpha=0.55, linewidth=1, label=f"{prefix}training samples")
    if scored:
        times = [by_step[row["step"]] / 60 for row in scored]
        shares = [row["exact_accuracy"] for row in scored]
        label = f"{prefix}held-back outputs, one pass, no votes"
        right.plot(times, shares, "o-", color=held_back, markersize=4, label=label)


def _smooth(values: Sequence[float]) -> np.ndarray:
    """A running mean over a fiftieth of the points."""
    width = max(1, len(values) // 50)
    padded = np.pad(np.asarray(values, dtype=float), (width // 2, width - 1 - width // 2), mode="edge")
    return np.convolve(padded, np.ones(width) / width, mode="valid")


def _thinned(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """At most ``POINTS`` of the values, evenly spaced, the first and the last among them."""
    array = np.asarray(values, dtype=float)
    return array[np.unique(np.linspace(0, len(array) - 1, min(POINTS, len(array))).round().astype(int))]
