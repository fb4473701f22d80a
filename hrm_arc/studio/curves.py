"""The curves of a run as columns of numbers, drawn by the page; bounded, however long the run was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hrm_arc.report.charts import CHARTS, Panel, smooth, thinned
from hrm_arc.report.names import BASELINES
from hrm_arc.report.watch import MetricsFollower
from hrm_arc.runs.folder import RunFolder
from hrm_arc.runs.metrics import SMALL_FILE, Row, read_between

# Keys of a row that are no metric.
PLACES = ("kind", "step", "epoch", "progress", "seconds", "full")
# Rows of the first view of a large file, and of a range of it; the most charts of metrics of one's own.
ROWS, MOST_OWN = 800, 24
LAST_STEP = 2**62


class Curves:
    """The curves of one run as it goes: a first view at once, and from then on every new row.

    Args:
        run: the run.
    """

    def __init__(self, run: RunFolder):
        self._run = run
        self._follower = MetricsFollower(run.metrics_file)
        self._is_first = True

    def read(self) -> dict[str, Any]:
        """The charts of all rows up to now; see :func:`charts`.

        Raises:
            UserError: metrics.jsonl is not a regular file.
        """
        file = self._run.metrics_file
        if self._is_first and file.is_file() and file.stat().st_size > SMALL_FILE:
            # To find every validation in gigabytes takes seconds; they follow.
            rows = read_between(file, 0, LAST_STEP, ROWS)
        else:
            rows = self._follower.rows()
        self._is_first = False
        return charts(rows)


def charts_between(run: RunFolder, first: int, last: int) -> dict[str, Any]:
    """The charts of the steps ``first`` to ``last``; see :func:`charts`."""
    return charts(read_between(run.metrics_file, first, last, ROWS))


def charts(rows: Sequence[Row]) -> dict[str, Any]:
    """Rows of metrics.jsonl as charts.

    Returns:
        ``charts``: those that have a value, each with ``key``, ``title``, ``scale`` (``linear`` or ``log``),
        ``prefixes`` (whether ticks are such as 3M), ``train`` (columns of steps, values and running means) and
        ``validation`` (columns of steps and values); ``time``: columns of steps and seconds of training; ``last``: the
        last step.
    """
    training = [row for row in rows if row["kind"] == "train"]
    scored = [row for row in rows if row["kind"] == "validation"]
    panels = [*CHARTS, *_own(rows)]
    drawn = [(panel, _column(training, panel.key), _column(scored, panel.key)) for panel in panels]
    return {
        "charts": [_chart(*each) for each in drawn if len(each[1][0]) or len(each[2][0])],
        "time": _short(*_column(training, "seconds")),
        "last": rows[-1]["step"] if rows else None,
    }


def baseline_lines(status: dict[str, Any]) -> list[dict[str, Any]]:
    """The exact match of each baseline, with its name in words."""
    found = status.get("baselines") or {}
    return [
        {"name": BASELINES.get(name, name), "exact_accuracy": values.get("exact_accuracy")}
        for name, values in found.items()
        if isinstance(values, dict)
    ]


def _own(rows: Sequence[Row]) -> list[Panel]:
    """Panels of metrics that this program does not know, such as those of a model of one's own."""
    known = {*PLACES, *(panel.key for panel in CHARTS)}
    keys = dict.fromkeys(key for row in rows[:: max(1, len(rows) // 100)] for key in row if key not in known)
    return [Panel(key, key.replace("_", " ")) for key in list(keys)[:MOST_OWN]]


def _column(rows: Sequence[Row], key: str) -> tuple[np.ndarray, np.ndarray]:
    """The steps at which a value is known, and the values."""
    known = [(row["step"], row[key]) for row in rows if type(row.get(key)) in (int, float)]
    return np.array([step for step, _ in known], dtype=float), np.array([value for _, value in known], dtype=float)


def _chart(panel: Panel, training: tuple[np.ndarray, ...], scored: tuple[np.ndarray, ...]) -> dict[str, Any]:
    means = smooth(training[1]) if panel.smooth and len(training[1]) else training[1]
    # A logarithmic axis has no place for zeros.
    positive = all((values[1] > 0).all() for values in (training, scored))
    return {
        "key": panel.key,
        "title": panel.title,
        "scale": panel.scale if positive else "linear",
        "prefixes": panel.prefixes,
        "train": _short(*training, means),
        "validation": _short(*scored),
    }


def _short(*columns: np.ndarray) -> list[list[float]]:
    """Columns of at most as many values as a chart shows, with five digits each; steps are whole."""
    steps, *rest = (thinned(column) if len(column) else column for column in columns)
    return [[int(step) for step in steps], *([float(f"{value:.5g}") for value in column] for column in rest)]
