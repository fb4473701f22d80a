"""The published Hierarchical Reasoning Model, 27M parameters (Wang et al. 2025)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hrm_arc.checks import check_at_least, check_at_most
from hrm_arc.models.published import EXPORT, Level, Published, PublishedConfig
from hrm_arc.models.reasoner import Batch, Carry, Output
from hrm_arc.models.spec import ModelSpec


@dataclass(frozen=True)
class HRMConfig(PublishedConfig):
    """HRM; the defaults give the published 27,276,290 parameters, the puzzle embedding not counted.

    Attributes:
        h_layers: layers of the H level (slow).
        l_layers: layers of the L level (fast).
        h_cycles: runs of the H level in a segment.
        l_cycles: runs of the L level before each run of the H level.
    """

    h_layers: int = 4
    l_layers: int = 4
    h_cycles: int = 2
    l_cycles: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "h_layers", "l_layers", "h_cycles", "l_cycles")
        check_at_most(self, 1000, "h_layers", "l_layers", "h_cycles", "l_cycles")


class HRM(Published):
    """Two levels of blocks; gradients flow through the last run of each level only (one-step gradient)."""

    def __init__(self, config: HRMConfig, num_tasks: int, num_variants: int):
        super().__init__(config, num_tasks, num_variants)
        self.config: HRMConfig = config
        self.H_level = Level(config, config.h_layers)
        self.L_level = Level(config, config.l_layers)

    def forward_packed(self, carries: Sequence[Carry], batches: Sequence[Batch]) -> list[tuple[Carry, Output]]:
        canvases, rotation, embedded, h, l = self.pack(carries, batches)

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
        return self.unpack(canvases, h, l, learns_to_continue=True)


SPEC = ModelSpec(
    config=HRMConfig,
    build=HRM,
    example_config={"hidden_size": 16, "num_heads": 2, "h_layers": 1, "l_layers": 1, "segments": 2},
    task_tables=HRM.task_tables,
    export=EXPORT,
    loss={"kind": "stablemax", "halt_kind": "q-learning", "halt_weight": 0.5},
)
