"""The Tiny Recursive Model, 7M parameters (Jolicoeur-Martineau 2025)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hrm_arc.errors import UserError, check_at_least
from hrm_arc.models.conditioning import SHARED_LENGTH
from hrm_arc.models.published import Level, Published, PublishedConfig
from hrm_arc.models.reasoner import Batch, Output, State


@dataclass(frozen=True)
class TRMConfig(PublishedConfig):
    """TRM; the defaults are the published 6,829,058 parameters, the puzzle table apart.

    Attributes:
        layers: layers of the one network that serves both levels.
        h_cycles: how often a segment updates its answer.
        l_cycles: how often it thinks before each update.
        mixing: how positions hear of each other: by ``attention``, or by an ``mlp`` over a
            fixed number of them.
        cells: of the canvas, for ``mlp``.
    """

    prefix: int = 16
    layers: int = 2
    h_cycles: int = 3
    l_cycles: int = 4
    mixing: Literal["attention", "mlp"] = "attention"
    cells: int = 900

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "layers", "h_cycles", "l_cycles", "cells")


class TRM(Published):
    """One small network for both levels; gradients flow through the whole last cycle."""

    def __init__(self, config: TRMConfig, tasks: int, variants: int):
        super().__init__(config, tasks, variants)
        self.config = config
        length = config.prefix if config.identity == "variants" else SHARED_LENGTH
        positions = config.cells + length if config.mixing == "mlp" else None
        self.L_level = Level(config, config.layers, positions)

    def start(self, batch: Batch) -> State:
        """As every model's; an MLP over positions refuses other canvases than its own.

        Raises:
            UserError: naming the number of cells that would be right.
        """
        cells = batch.height * batch.width
        if self.config.mixing == "mlp" and cells != self.config.cells:
            raise UserError("model.cells", f"{self.config.cells}, and the canvas has {cells}; an mlp needs one canvas")
        return super().start(batch)

    def think_all(self, states: Sequence[State], batches: Sequence[Batch]) -> list[tuple[State, Output]]:
        canvases, rotation, embedded, h, l = self.laid_out(states, batches)

        def cycle(h: Tensor, l: Tensor) -> tuple[Tensor, Tensor]:
            for _ in range(self.config.l_cycles):
                l = self.L_level(l, h + embedded, canvases, rotation)
            return self.L_level(h, l, canvases, rotation), l

        with torch.no_grad():
            for _ in range(self.config.h_cycles - 1):
                h, l = cycle(h, l)
        h, l = cycle(h, l)
        return self.answers(canvases, h, l, learns_to_continue=False)
