"""The log's 6.95M model: two levels of post-norm Transformer layers in one loop.

The H level (strategic) and the L level (tactical) exchange their states through linear
links, up to eight cycles, and a halting unit may stop the batch early. The model sees
one test grid as tokens: neither the task's identity nor its demonstrations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hrm_arc.errors import check_at_least
from hrm_arc.models.conditioning import SHARED_LENGTH, SharedConditioning
from hrm_arc.models.layers import Canvases, PostNormBlock, sinusoids
from hrm_arc.models.reasoner import Batch, Output, Reasoner, State
from hrm_arc.puzzles.canvas import FULL, VOCABULARY

POSITIONS = 5_000


@dataclass(frozen=True)
class DualLoopConfig:
    """The log's model; the defaults are its 5,667,597 trainable parameters.

    Attributes:
        width: size of each token's vector.
        heads: attention heads.
        h_layers: layers of the H level.
        l_layers: layers of the L level.
        cycles: most cycles of the loop.
        dropout: rate on embeddings, attention and feed-forward.
        halt_threshold: the batch stops after a cycle, but not the first, whose mean
            halting probability is above this.
        recompute: keep each layer's input alone and compute the rest again when
            gradients are due: a third more time, a tenth of the memory.
        identity: ``none``, as in the log; or ``shared``: told its task like grid-hrm, by eleven
            tokens in front of the cells.
    """

    width: int = 256
    heads: int = 8
    h_layers: int = 4
    l_layers: int = 3
    cycles: int = 8
    dropout: float = 0.1
    halt_threshold: float = 0.9
    recompute: bool = False
    identity: Literal["none", "shared"] = "none"

    def __post_init__(self) -> None:
        check_at_least(self, 1, "width", "heads", "h_layers", "l_layers", "cycles")
        if self.width % 2 or self.width % self.heads:
            raise ValueError(f"width {self.width} is not even, or no multiple of {self.heads} heads")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}, expected at least 0 and below 1")


class DualLoop(Reasoner):
    """One segment holds all cycles; gradients flow through every one of them."""

    positions: Tensor

    def __init__(self, config: DualLoopConfig, tasks: int = 0):
        super().__init__()
        self.config = config
        width = config.width
        self.token_embedding = nn.Embedding(VOCABULARY, width)
        # Part of the state, as in the log, whose 6.95M counts it.
        self.register_buffer("positions", sinusoids(POSITIONS, width))
        self.dropout = nn.Dropout(config.dropout)
        self.h_layers = nn.ModuleList(_layer(config) for _ in range(config.h_layers))
        self.h_norm = nn.LayerNorm(width)
        self.l_layers = nn.ModuleList(_layer(config) for _ in range(config.l_layers))
        self.l_norm = nn.LayerNorm(width)
        self.h_to_l = nn.Linear(width, width)
        self.l_to_h = nn.Linear(width, width)
        self.halt_predictor = nn.Linear(2 * width, 1)
        self.output = nn.Linear(width, VOCABULARY)
        self.conditioning = SharedConditioning(tasks, width) if config.identity == "shared" else None
        self._prefix = SHARED_LENGTH if self.conditioning else 0

    def start(self, batch: Batch) -> State:
        # The first slice has fixed ends, so that an export can leave out the rows that no canvas reaches.
        embedded = self.token_embedding(batch.inputs) + self.positions[: FULL.cells][: batch.inputs.shape[1]]
        if self.conditioning is not None:
            embedded = torch.cat([self.conditioning.tokens(batch, self.token_embedding), embedded], dim=1)
        embedded = self.dropout(embedded)
        return embedded, embedded

    def think_all(self, states: Sequence[State], batches: Sequence[Batch]) -> list[tuple[State, Output]]:
        """All of the batches stop together, as the log's one batch does."""
        canvases = Canvases.of(batches, self._prefix)
        h, l = (canvases.join(parts) for parts in zip(*states, strict=True))
        if torch.compiler.is_exporting():
            h, l, halt = self._loop_as_graph(h, l, canvases)
        else:
            h, l, halt = self._loop(h, l, canvases)
        parts = zip(*(canvases.split(each) for each in (h, l, self.output(l))), strict=True)
        halts = torch.split(halt, [len(batch) for batch in batches])
        return [
            ((h, l), Output(logits[:, self._prefix :], halt)) for (h, l, logits), halt in zip(parts, halts, strict=True)
        ]

    def _loop(self, h: Tensor, l: Tensor, canvases: Canvases) -> tuple[Tensor, Tensor, Tensor]:
        """Cycles until the batch stops: states, and halting logits ``[batch, cycles]``."""
        halts: list[Tensor] = []
        for cycle in range(self.config.cycles):
            h, l, halt = self._cycle(h, l, canvases)
            halts.append(halt)
            if cycle > 0 and self._stops(halt):
                break
        return h, l, torch.cat(halts, dim=1)

    def _loop_as_graph(self, h: Tensor, l: Tensor, canvases: Canvases) -> tuple[Tensor, Tensor, Tensor]:
        """The same without a branch: cycles after the stop are run, and their results left out."""
        halt = h.new_zeros(canvases.sizes[0][0], 1)
        stopped = torch.zeros((), dtype=torch.bool)
        for cycle in range(self.config.cycles):
            new = self._cycle(h, l, canvases)
            h, l, halt = (torch.where(stopped, old, new) for old, new in zip((h, l, halt), new, strict=True))
            stopped = stopped | self._stops(halt) if cycle else stopped
        return h, l, halt

    def _cycle(self, h: Tensor, l: Tensor, canvases: Canvases) -> tuple[Tensor, Tensor, Tensor]:
        h = self._level(h, self.h_layers, self.h_norm, canvases)
        l = l + self.h_to_l(h)
        l = self._level(l, self.l_layers, self.l_norm, canvases)
        h = h + self.l_to_h(l)
        means = (torch.cat([part.mean(dim=1) for part in canvases.split(each)]) for each in (h, l))
        return h, l, self.halt_predictor(torch.cat([*means], dim=-1))

    def _stops(self, halt: Tensor) -> Tensor:
        return halt.sigmoid().mean() > self.config.halt_threshold

    def _level(self, x: Tensor, layers: nn.ModuleList, norm: nn.LayerNorm, canvases: Canvases) -> Tensor:
        for layer in layers:
            if self.config.recompute and self.training:
                x = checkpoint(layer, x, canvases, use_reentrant=False)
            else:
                x = layer(x, canvases)
        return norm(x)


def _layer(config: DualLoopConfig) -> PostNormBlock:
    return PostNormBlock(config.width, config.heads, 4 * config.width, config.dropout)
