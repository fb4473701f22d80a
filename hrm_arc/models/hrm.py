"""The published Hierarchical Reasoning Model, 27M parameters (Wang et al. 2025)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hrm_arc.errors import check_at_least
from hrm_arc.models.published import Level, Published, PublishedConfig
from hrm_arc.models.reasoner import Batch, Output, State


@dataclass(frozen=True)
class HRMConfig(PublishedConfig):
    """HRM; the defaults are the published 27,276,290 parameters, the puzzle table apart.

    Attributes:
        h_layers: layers of the H level.
        l_layers: layers of the L level.
        h_cycles: how often a segment runs H.
        l_cycles: how often L runs before each H.
    """

    h_layers: int = 4
    l_layers: int = 4
    h_cycles: int = 2
    l_cycles: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "h_layers", "l_layers", "h_cycles", "l_cycles")


class HRM(Published):
    """Two levels of blocks; gradients flow through the last step of each (one-step gradient)."""

    def __init__(self, config: HRMConfig, tasks: int, variants: int):
        super().__init__(config, tasks, variants)
        self.config = config
        self.H_level = Level(config, config.h_layers)
        self.L_level = Level(config, config.l_layers)

    def think_all(self, states: Sequence[State], batches: Sequence[Batch]) -> list[tuple[State, Output]]:
        canvases, rotation, embedded, h, l = self.laid_out(states, batches)

        def fast(h: Tensor, l: Tensor) -> Tensor:
            return self.L_level(l, h + embedded, canvases, rotation)

        with torch.no_grad():
            for h_cycle in range(self.config.h_cycles):
                last = h_cycle == self.config.h_cycles - 1
                for _ in range(self.config.l_cycles - last):
                    l = fast(h, l)
                if not last:
                    h = self.H_level(h, l, canvases, rotation)
        l = fast(h, l)
        h = self.H_level(h, l, canvases, rotation)
        return self.answers(canvases, h, l, learns_to_continue=True)
