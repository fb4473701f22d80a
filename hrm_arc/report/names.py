"""Names of baselines and values of metrics, as tables show them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BASELINES = {
    "pad_only": "padding everywhere",
    "position_mode": "best constant output",
    "copy_input": "copy of the input",
}


def metric_value(metric: Mapping[str, Any], value: float | None) -> str:
    """The value of a metric as text.

    Args:
        metric: one of ``metrics`` in scores.json.
        value: None if it is not known.
    """
    if value is None:
        return "not known"
    return f"{value:.1%}" if metric["share"] else f"{value:.4g}"
