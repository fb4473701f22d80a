"""The models by the names that recipes use. A new model is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from hrm_arc.models.dual_loop import DualLoop, DualLoopConfig
from hrm_arc.models.grid_hrm import GridHRM, GridHRMConfig
from hrm_arc.models.hrm import HRM, HRMConfig
from hrm_arc.models.reasoner import Reasoner
from hrm_arc.models.trm import TRM, TRMConfig


class Kind(NamedTuple):
    """A model's configuration class, and how to build it for so many tasks and variants of each."""

    config: type
    build: Callable[[Any, int, int], Reasoner]


KINDS: dict[str, Kind] = {
    "dual-loop": Kind(DualLoopConfig, lambda config, tasks, variants: DualLoop(config, tasks)),
    "grid-hrm": Kind(GridHRMConfig, lambda config, tasks, variants: GridHRM(config, tasks)),
    "hrm": Kind(HRMConfig, HRM),
    "trm": Kind(TRMConfig, TRM),
}


def build_model(name: str, options: Mapping[str, Any], tasks: int, variants: int = 1) -> Reasoner:
    """A model with fresh weights.

    Args:
        name: a key of ``KINDS``.
        options: fields of the model's configuration class.
        tasks: how many tasks its task table, if it has one, is to hold.
        variants: of each task, its original included, where it has a row for each.
    """
    kind = KINDS[name]
    return kind.build(kind.config(**options), tasks, variants)
