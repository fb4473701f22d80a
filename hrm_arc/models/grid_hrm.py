"""grid-hrm, this project's own: told its task, on a two-dimensional canvas, pre-norm.

It keeps HRM's two levels, nested cycles and halting (Wang et al. 2025, Hierarchical
Reasoning Model) and changes what stood in the way: the model knows which task it is
asked to solve, positions are rows and columns, and normalisation comes before each
layer, so that gradients reach the first one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrm_arc.errors import check_at_least
from hrm_arc.models.conditioning import PARTS, Part, SharedConditioning
from hrm_arc.models.layers import Canvases, PreNormBlock, Rotation, kept, rotary_2d, sinusoids
from hrm_arc.models.reasoner import Batch, Output, Reasoner, State
from hrm_arc.puzzles.canvas import VOCABULARY

# Computed once for each canvas, and kept where the model is.
_places = kept(sinusoids)


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
        positions: ``rotary-2d``: attention turns with rows and columns; ``sinusoids``: a fixed
            table is added for the place in the row of cells, as in the log's model.
        tied: the head that names tokens is their own table (Press and Wolf 2017), so that a
            model of blocks that start as the identity starts by copying its input.
        registers: learned tokens beside the roles, a place to keep what no cell holds (Darcet et al.
            2023, Vision transformers need registers).
        shared: one stack of ``h_layers`` serves both levels, as TRM's network does.
        gradient: through ``all`` cycles of a segment, or through the ``last`` alone.
        told: what the model knows of a sample beside its grid: which task it is of, in which of eight
            orientations it lies, which role each colour plays. All of it, unless one wants to see
            what a part is good for.
        convolution: side of a depthwise convolution over the canvas inside each feed-forward
            (URM, 2025); 0: none.
    """

    width: int = 128
    heads: int = 4
    h_layers: int = 2
    l_layers: int = 2
    cycles: int = 1
    segments: int = 1
    expansion: float = 4.0
    positions: Literal["rotary-2d", "sinusoids"] = "rotary-2d"
    tied: bool = False
    registers: int = 0
    shared: bool = False
    gradient: Literal["all", "last"] = "all"
    told: tuple[Part, ...] = PARTS
    convolution: int = 0

    def __post_init__(self) -> None:
        check_at_least(self, 1, "width", "heads", "h_layers", "l_layers", "cycles", "segments", "expansion")
        if self.width % (4 * self.heads):
            raise ValueError(f"width {self.width} is no multiple of 4 x {self.heads} heads")
        check_at_least(self, 0, "registers")
        if self.convolution < 0 or (self.convolution and self.convolution % 2 == 0):
            raise ValueError(f"convolution is {self.convolution}, expected 0 or an odd side")


class GridHRM(Reasoner):
    """The model; see the module and :class:`GridHRMConfig`."""

    def __init__(self, config: GridHRMConfig, tasks: int):
        super().__init__()
        self.config = config
        self.segments = config.segments
        width = config.width
        self.tokens = nn.Embedding(VOCABULARY, width)
        self.conditioning = SharedConditioning(tasks, width, config.told)
        self.prefix = self.conditioning.roles + config.registers
        self.registers = nn.Parameter(0.5 * torch.randn(config.registers, width)) if config.registers else None
        self.l_layers = None if config.shared else nn.ModuleList(_block(config) for _ in range(config.l_layers))
        self.l_norm = nn.RMSNorm(width)
        self.h_layers = nn.ModuleList(_block(config) for _ in range(config.h_layers))
        self.h_norm = nn.RMSNorm(width)
        self.output = None if config.tied else nn.Linear(width, VOCABULARY)
        self.bias = nn.Parameter(torch.zeros(VOCABULARY)) if config.tied else None
        self.halt = nn.Linear(width, 1)
        # Nothing is right at first: begin by not halting.
        nn.init.zeros_(self.halt.weight)
        nn.init.constant_(self.halt.bias, -3.0)

    def start(self, batch: Batch) -> State:
        blank = self.tokens.weight.new_zeros(len(batch), self.prefix + batch.height * batch.width, self.config.width)
        return blank, blank

    def think_all(self, states: Sequence[State], batches: Sequence[Batch]) -> list[tuple[State, Output]]:
        canvases = Canvases.of(batches, self.prefix)
        x = canvases.join([self._embed(batch) for batch in batches])
        rotation = self._rotation(canvases, x.device) if self.config.positions == "rotary-2d" else None
        h, l = (canvases.join(parts) for parts in zip(*states, strict=True))
        for cycle in range(self.config.cycles):
            learns = self.config.gradient == "all" or cycle == self.config.cycles - 1
            with torch.set_grad_enabled(learns and torch.is_grad_enabled()):
                l = self.l_norm(self._level(x + h + l, self.l_layers or self.h_layers, canvases, rotation))
                h = self.h_norm(self._level(h + l, self.h_layers, canvases, rotation))
        return [
            ((h, l), Output(logits[:, self.prefix :], self.halt(h.mean(dim=1))))
            for h, l, logits in zip(*(canvases.split(each) for each in (h, l, self._name(h))), strict=True)
        ]

    def _rotation(self, canvases: Canvases, device: torch.device) -> Rotation:
        head_width = self.config.width // self.config.heads
        return canvases.rotation(
            [rotary_2d(height, width, self.prefix, head_width, device) for _, height, width in canvases.sizes]
        )

    def _name(self, h: Tensor) -> Tensor:
        """Logits ``[tokens, 12]``."""
        if self.output is not None:
            return self.output(h)
        # A vector's product with itself is about its width: a copy begins with a logit of four,
        # which is sure of it and still open to correction.
        return F.linear(h, self.tokens.weight * (4 / self.config.width), self.bias)

    def _embed(self, batch: Batch) -> Tensor:
        """Role tokens, then cells, all with the task's identity: ``[batch, tokens, width]``."""
        identity, roles = self.conditioning(batch, self.tokens)
        blank = [] if self.registers is None else [self.registers.expand(len(batch), -1, -1)]
        x = torch.cat([roles, *blank, self.tokens(batch.inputs)], dim=1) + identity
        if self.config.positions == "sinusoids":
            x = x + _places(x.shape[1], x.shape[2], x.device).to(x)
        return x

    @staticmethod
    def _level(x: Tensor, layers: nn.ModuleList, canvases: Canvases, rotation: Rotation | None) -> Tensor:
        for layer in layers:
            x = layer(x, canvases, rotation)
        return x


def _block(config: GridHRMConfig) -> PreNormBlock:
    return PreNormBlock(config.width, config.heads, config.expansion, config.convolution)
