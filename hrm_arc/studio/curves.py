"""The curves of a run as columns of numbers, drawn by the page; bounded, however long the run was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hrm_arc.report.charts import CHARTS, Panel, own_panels, smooth, thinned
from hrm_arc.report.names import BASELINES
from hrm_arc.report.watch import MetricsFollower
from hrm_arc.runs.folder import RunFolder
from hrm_arc.runs.metrics import NUMBERS, PLACES, SMALL_FILE, Row, read_between

# Rows of the first view of a large file, and of a range of it.
ROWS = 800
LAST_STEP = 2**62


class Curves:
    """The curves of one run as it goes: a first view at once, and from then on every new row.

    Args:
        run: the run.
    """

    def __init__(self, run: RunFolder):
        self._run = run
        self._follower = MetricsFollower(run.metrics_file)
        self._columns = Columns()
        self._is_first = True

    def read(self) -> dict[str, Any]:
        """The charts of all rows up to now; see :func:`charts`.

        Raises:
            UserError: metrics.jsonl is not a regular file.
        """
        file = self._run.metrics_file
        if self._is_first and file.is_file() and file.stat().st_size > SMALL_FILE:
            # To find every validation in gigabytes takes seconds; they follow.
            self._is_first = False
            return charts(read_between(file, 0, LAST_STEP, ROWS))
        self._is_first = False
        self._columns.add(self._follower.rows())
        return _charts(self._columns)


class Columns:
    """Rows by metric, kept from reading to reading, so that a live run costs what its new rows cost."""

    def __init__(self) -> None:
        self.last: int | None = None
        self._rows: list[Row] = []
        # By kind of row and metric: steps and values.
        self._columns: dict[tuple[str, str], tuple[list[int], list[float]]] = {}

    def add(self, rows: Sequence[Row]) -> None:
        """Take over all rows up to now: those that were taken before are not looked at again."""
        known = len(self._rows)
        # A reader that has thinned its rows, or has read a file anew, has other ones in the same places.
        if known > len(rows) or any(rows[n] is not self._rows[n] for n in (0, known // 2, known - 1) if known):
            self._columns, known = {}, 0
        for row in rows[known:]:
            for key, value in row.items():
                if type(value) in (int, float):
                    steps, values = self._columns.setdefault((row["kind"], key), ([], []))
                    steps.append(row["step"])
                    values.append(value)
        self._rows = list(rows)
        self.last = rows[-1]["step"] if rows else None

    def metrics_of_model(self) -> list[str]:
        """The names of the metrics that a model names itself."""
        return [key for kind, key in self._columns if kind == "train" and key not in (*NUMBERS, *PLACES)]

    def column(self, kind: str, key: str) -> tuple[np.ndarray, np.ndarray]:
        """The steps at which a metric is known, and its values."""
        steps, values = self._columns.get((kind, key), ([], []))
        return np.array(steps, dtype=float), np.array(values, dtype=float)


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
    columns = Columns()
    columns.add(rows)
    return _charts(columns)


def _charts(columns: Columns) -> dict[str, Any]:
    own = own_panels(columns.metrics_of_model())

    def column(panel: Panel, kind: str) -> tuple[np.ndarray, np.ndarray]:
        return columns.column(kind, panel.key) if panel.rows in (None, kind) else (np.array([]), np.array([]))

    drawn = [(panel, column(panel, "train"), column(panel, "validation")) for panel in (*CHARTS, *own)]
    return {
        "charts": [_chart(*each) for each in drawn if len(each[1][0]) or len(each[2][0])],
        "time": _short(*columns.column("train", "seconds")),
        "last": columns.last,
    }


def baseline_lines(status: dict[str, Any]) -> list[dict[str, Any]]:
    """The exact match and the token accuracy of each baseline, with its name in words."""
    found = status.get("baselines") or {}
    return [
        {"name": BASELINES.get(name, name), **{key: values.get(key) for key in ("exact_accuracy", "token_accuracy")}}
        for name, values in found.items()
        if isinstance(values, dict)
    ]


def _chart(panel: Panel, training: tuple[np.ndarray, ...], scored: tuple[np.ndarray, ...]) -> dict[str, Any]:
    means = smooth(training[1]) if panel.smooth and len(training[1]) else training[1]
    # A logarithmic axis has no place for zeros.
    positive = all((values[1] > 0).all() for values in (training, scored))
    return {
        "key": panel.name,
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
