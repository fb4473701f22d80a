"""Charts of training as SVG text, to be put into a page."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hrm_arc.runs.metrics import metrics_of_model

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Readable on white and on black.
COLORS = ("#2f81b7", "#d9622b")
INK = "#808080"
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "hrm-arc",
    "font.family": "sans-serif",
    # A dollar sign in a name is no formula.
    "text.parse_math": False,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
}
# The most points of a line; a chart of this width shows no more.
POINTS = 400

# Rows of metrics.jsonl. Any value may be missing or None.
Rows = Sequence[Mapping[str, Any]]


class Panel(NamedTuple):
    """A small chart of one metric of training."""

    key: str
    title: str
    scale: str = "linear"
    smooth: bool = True
    # Ticks such as 3M and 2.5G.
    prefixes: bool = False
    # The rows that it shows, "train" or "validation"; by default both.
    rows: str | None = None

    @property
    def name(self) -> str:
        """Identifies the panel: the key, unless another panel shows the rows of training under this key."""
        return self.key if self.rows != "validation" else f"validation_{self.key}"


PANELS = (
    Panel("grad_norm", "gradient norm", "log"),
    Panel("lr", "learning rate", smooth=False),
    Panel("halt_loss", "halting loss"),
    Panel("halt_accuracy", "halting accuracy"),
    Panel("mean_segments", "segments, mean"),
    Panel("model_flops_per_sec", "model FLOP/s", prefixes=True),
    Panel("peak_memory_bytes", "peak memory, bytes", smooth=False, prefixes=True),
)
PANELS_IN_A_ROW = 4
# Charts of metrics that a model names itself.
MOST_OWN = 24
# Every metric of training that a run logs, with the two that the page of a run draws large.
CHARTS = (
    Panel("loss", "loss of the answer, nats per cell", "log"),
    Panel("exact_accuracy", "grids exactly right"),
    # Two metrics under one key: shares of other cells.
    Panel("token_accuracy", "token accuracy, cells that matter", rows="train"),
    Panel("token_accuracy", "token accuracy, 900 cells, padding included", rows="validation"),
    *PANELS,
    Panel("samples_per_sec", "samples/s", prefixes=True),
    Panel("cells_per_sec", "cells that matter/s", prefixes=True),
)


def own_panels(names: Sequence[str]) -> list[Panel]:
    """A chart for each of the metrics that a model names itself, up to a number."""
    return [Panel(name, name.replace("_", " ")) for name in names[:MOST_OWN]]


def training_curves(runs: Mapping[str, Rows]) -> str:
    """Loss and exact match over training time, as one SVG element.

    Values of training are running means, values of validations single points.

    Args:
        runs: the rows of metrics.jsonl of one run or of two, by name.
    """
    with _svg(8.4, 3.1 if len(runs) == 1 else 3.3, title_size=10) as (figure, text):
        left, right = figure.subplots(1, 2)
        for color, (name, rows) in zip(COLORS, runs.items(), strict=False):
            held_out, prefix = (COLORS[1], "") if len(runs) == 1 else (color, f"{name}: ")
            _draw_loss(left, rows, color)
            _draw_exact(right, rows, color, held_out, prefix)
        left.set(title="loss of the answer in training", xlabel="minutes", ylabel="nats per cell", yscale="log")
        _plain_ticks(left)
        right.set(title="share of grids exactly right", xlabel="minutes", ylim=(0, 1.02))
        if right.get_lines():
            figure.legend(loc="outside lower right", ncols=2, frameon=False, fontsize=8)
    return text[0]


def training_details(runs: Mapping[str, Rows]) -> str:
    """Small charts of the other metrics of training, as one SVG element; empty if the rows have none of them.

    Metrics that the models name themselves come last.

    Args:
        runs: the rows of metrics.jsonl of one run or of two, by name.
    """
    lines = _detail_lines(runs)
    panels = list(lines)
    if not panels:
        return ""
    height = -(-len(panels) // PANELS_IN_A_ROW)
    with _svg(8.4, 1.75 * height + 0.25, title_size=8) as (figure, text):
        for place, panel in enumerate(panels, start=1):
            axes = figure.add_subplot(height, PANELS_IN_A_ROW, place)
            for color, (minutes, values) in zip(COLORS, lines[panel], strict=False):
                if len(minutes):
                    drawn = smooth(values) if panel.smooth else values
                    axes.plot(thinned(minutes), thinned(drawn), color=color, linewidth=1.2)
            _dress(axes, panel, last_row=place > len(panels) - PANELS_IN_A_ROW)
    return text[0]


def has_details(runs: Mapping[str, Rows]) -> bool:
    """Whether :func:`training_details` has anything to draw."""
    return bool(_detail_lines(runs))


def _detail_lines(runs: Mapping[str, Rows]) -> dict[Panel, list[tuple[np.ndarray, np.ndarray]]]:
    """Minutes and values of each run, by the panels that any of them has a value for."""
    known = (*PANELS, *own_panels(metrics_of_model(row for rows in runs.values() for row in rows)))
    lines = {panel: [_training(rows, panel.key) for rows in runs.values()] for panel in known}
    return {panel: each for panel, each in lines.items() if any(len(minutes) for minutes, _ in each)}


def _dress(axes: Axes, panel: Panel, last_row: bool) -> None:
    from matplotlib.ticker import EngFormatter

    # A logarithmic axis has no place for zeros.
    positive = all((np.asarray(line.get_ydata(), dtype=float) > 0).all() for line in axes.get_lines())
    axes.set_title(panel.title)
    axes.set_yscale(panel.scale if positive else "linear")
    _plain_ticks(axes)
    axes.tick_params(labelsize=7)
    if last_row:
        axes.set_xlabel("minutes", fontsize=8)
    if panel.prefixes:
        axes.yaxis.set_major_formatter(EngFormatter(sep=""))
    elif axes.get_yscale() == "linear":
        axes.ticklabel_format(axis="y", scilimits=(-2, 4))
        axes.yaxis.get_offset_text().set_fontsize(7)
    if panel.prefixes or panel.key == "lr":
        axes.set_ylim(0, 1.08 * max(np.max(line.get_ydata()) for line in axes.get_lines()) or 1)


def _plain_ticks(axes: Axes) -> None:
    """Label a logarithmic axis with plain numbers: matplotlib's own labels are formulas, which are not parsed here."""
    from matplotlib.ticker import LogLocator, NullLocator

    if axes.get_yscale() == "log":
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=6))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter("{x:g}")


@contextmanager
def _svg(width: float, height: float, title_size: float) -> Iterator[tuple[Figure, list[str]]]:
    """A figure of a size in inches to draw in, and a list that has its SVG text at the end."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    text: list[str] = []
    with rc_context(STYLE), io.StringIO() as file:
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, text
        for axes in figure.get_axes():
            axes.spines[["top", "right"]].set_visible(False)
            axes.title.set_fontsize(title_size)
        # Without metadata the picture has no date, so the page of a run is always the same.
        bare: Any = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=bare)
        written = file.getvalue()
    text.append(written[written.index("<svg") :])


def _draw_loss(axes: Axes, rows: Rows, color: str) -> None:
    minutes, losses = _training(rows, "loss")
    if len(minutes):
        axes.plot(thinned(minutes), thinned(smooth(losses)), color=color)


def _draw_exact(axes: Axes, rows: Rows, training: str, held_out: str, prefix: str) -> None:
    minutes, shares = _training(rows, "exact_accuracy")
    if len(minutes):
        label = f"{prefix}training samples"
        axes.plot(thinned(minutes), thinned(smooth(shares)), color=training, alpha=0.7, linewidth=1, label=label)
    timed = sorted((r["step"], r["seconds"]) for r in rows if r["kind"] == "train" and _number(r, "seconds"))
    scored = [row for row in rows if row["kind"] == "validation" and _number(row, "exact_accuracy")]
    if scored and timed:
        # Between two rows of training, if none is of the same step.
        steps, seconds = zip(*timed, strict=True)
        times = np.interp([row["step"] for row in scored], steps, seconds) / 60
        values = [row["exact_accuracy"] for row in scored]
        label = f"{prefix}held-out test outputs, one pass, no votes"
        axes.plot(times, values, "o-", color=held_out, markersize=4, label=label)


def _training(rows: Rows, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Minutes and values of a metric, from the rows of training that have it."""
    known = [row for row in rows if row["kind"] == "train" and _number(row, "seconds") and _number(row, key)]
    minutes = np.array([row["seconds"] / 60 for row in known], dtype=float)
    return minutes, np.array([row[key] for row in known], dtype=float)


def _number(row: Mapping[str, Any], key: str) -> bool:
    """Whether the row has a finite number under the key."""
    value = row.get(key)
    return isinstance(value, int | float) and math.isfinite(value)


def smooth(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """A running mean over a fiftieth of the points."""
    width = max(1, len(values) // 50)
    padded = np.pad(np.asarray(values, dtype=float), (width // 2, width - 1 - width // 2), mode="edge")
    return np.convolve(padded, np.ones(width) / width, mode="valid")


def thinned(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """At most ``POINTS`` of the values, evenly spaced, the first and the last among them."""
    array = np.asarray(values, dtype=float)
    return array[np.unique(np.linspace(0, len(array) - 1, min(POINTS, len(array))).round().astype(int))]
