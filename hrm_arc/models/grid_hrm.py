"""grid-hrm, this project's own: told its task, on a two-dimensional canvas, pre-norm.

It keeps HRM's two levels, nested cycles and halting (Wang et al. 2025, Hierarchical
Reasoning Model) and changes what stood in the way: the model knows which task it is
asked to solve, positions are rows and columns, and normalisation comes before each
layer, so that gradients reach the first one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hrm_arc.errors import check_at_least
from hrm_arc.models.conditioning import ROLES, SharedConditioning
from hrm_arc.models.layers import PreNormBlock, Rotation, rotary_2d
from hrm_arc.models.reasoner import Batch, Output, Reasoner, State
from hrm_arc.puzzles.canvas import VOCABULARY


@dataclass(frozen=True)
class GridHRMConfig:
    """grid-hrm's shape.

    Attributes:
        width: size of each token's vector.
        heads: attention heads; width / heads is a multiple of 4.
        h_layers: layers of the H level.
        l_layers: layers of the L level.
        cycles: how often a segment runs L then H.
        segments: segments of thought, each supervised, with the state handed on.
        expansion: size of the feed-forward before gating takes its third.
    """

    width: int = 128
    heads: int = 4
    h_layers: int = 2
    l_layers: int = 2
    cycles: int = 1
    segments: int = 1
    expansion: float = 4.0

    def __post_init__(self) -> None:
        check_at_least(self, 1, "width", "heads", "h_layers", "l_layers", "cycles", "segments", "expansion")
        if self.width % (4 * self.heads):
            raise ValueError(f"width {self.width} is no multiple of 4 x {self.heads} heads")


class GridHRM(Reasoner):
    """The model; see the module and :class:`GridHRMConfig`."""

    def __init__(self, config: GridHRMConfig, tasks: int):
        super().__init__()
        self.config = config
        self.segments = config.segments
        width = config.width
        self.tokens = nn.Embedding(VOCABULARY, width)
        self.conditioning = SharedConditioning(tasks, width)
        self.l_layers = nn.ModuleList(_block(config) for _ in range(config.l_layers))
        self.l_norm = nn.RMSNorm(width)
        self.h_layers = nn.ModuleList(_block(config) for _ in range(config.h_layers))
        self.h_norm = nn.RMSNorm(width)
        self.output = nn.Linear(width, VOCABULARY)
        self.halt = nn.Linear(width, 1)
        # Nothing is right at first: begin by not halting.
        nn.init.zeros_(self.halt.weight)
        nn.init.constant_(self.halt.bias, -3.0)

    def start(self, batch: Batch) -> State:
        blank = self.tokens.weight.new_zeros(len(batch), ROLES + batch.height * batch.width, self.config.width)
        return blank, blank

    def think(self, state: State, batch: Batch) -> tuple[State, Output]:
        x = self._embed(batch)
        rotation = rotary_2d(batch.height, batch.width, ROLES, self.config.width // self.config.heads, x.device)
        h, l = state
        for _ in range(self.config.cycles):
            l = self.l_norm(self._level(x + h + l, self.l_layers, rotation))
            h = self.h_norm(self._level(h + l, self.h_layers, rotation))
        return (h, l), Output(self.output(h[:, ROLES:]), self.halt(h.mean(dim=1)))

    def _embed(self, batch: Batch) -> Tensor:
        """Role tokens, then cells, all with the task's identity: ``[batch, tokens, width]``."""
        identity, roles = self.conditioning(batch, self.tokens)
        return torch.cat([roles, self.tokens(batch.inputs)], dim=1) + identity

    @staticmethod
    def _level(x: Tensor, layers: nn.ModuleList, rotation: Rotation) -> Tensor:
        for layer in layers:
            x = layer(x, rotation)
        return x


def _block(config: GridHRMConfig) -> PreNormBlock:
    return PreNormBlock(config.width, config.heads, config.expansion)
