"""The Tiny Recursive Model, 7M parameters (Jolicoeur-Martineau 2025)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hrm_arc.checks import check_at_least, check_at_most
from hrm_arc.models.published import EXPORT, Level, Published, PublishedConfig
from hrm_arc.models.reasoner import Batch, Carry, Output
from hrm_arc.models.spec import ModelSpec


@dataclass(frozen=True)
class TRMConfig(PublishedConfig):
    """TRM; the defaults give the published 6,829,058 parameters, the puzzle embedding not counted.

    Attributes:
        layers: layers of the one network that serves both levels.
        h_cycles: updates of the answer (the H state) in a segment.
        l_cycles: updates of the L state before each update of the answer.
        mixing: how positions exchange information: by ``attention``, or by an ``mlp`` over a fixed
            number of positions.
    """

    puzzle_emb_len: int = 16
    layers: int = 2
    h_cycles: int = 3
    l_cycles: int = 4
    mixing: Literal["attention", "mlp"] = "attention"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "layers", "h_cycles", "l_cycles")
        check_at_most(self, 1000, "layers", "h_cycles", "l_cycles")

    @property
    def fixed_canvas(self) -> str | None:
        """See :attr:`PublishedConfig.fixed_canvas`."""
        return "feed-forwards over positions" if self.mixing == "mlp" else super().fixed_canvas


class TRM(Published):
    """One small network for both levels; gradients flow through the whole last cycle."""

    def __init__(self, config: TRMConfig, num_tasks: int, num_variants: int):
        super().__init__(config, num_tasks, num_variants)
        self.config: TRMConfig = config
        self.L_level = Level(config, config.layers, config.cells + config.prefix if config.mixing == "mlp" else None)

    def forward_packed(self, carries: Sequence[Carry], batches: Sequence[Batch]) -> list[tuple[Carry, Output]]:
        canvases, rotation, embedded, h, l = self.pack(carries, batches)

        def cycle(h: Tensor, l: Tensor) -> tuple[Tensor, Tensor]:
            for _ in range(self.config.l_cycles):
                l = self.L_level(l, h + embedded, canvases, rotation)
            return self.L_level(h, l, canvases, rotation), l

        with torch.no_grad():
            for _ in range(self.config.h_cycles - 1):
                h, l = cycle(h, l)
        h, l = cycle(h, l)
        return self.unpack(canvases, h, l, learns_to_continue=False)


SPEC = ModelSpec(
    config=TRMConfig,
    build=TRM,
    example_config={"hidden_size": 16, "num_heads": 2, "layers": 1, "segments": 2, "puzzle_emb": "shared"},
    task_tables=TRM.task_tables,
    export=EXPORT,
    loss={"kind": "stablemax", "halt_kind": "correct", "halt_weight": 0.5},
)
