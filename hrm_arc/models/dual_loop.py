"""The log's 6.95M model: two levels of post-norm Transformer layers in one loop.

The H level (strategic) and the L level (tactical) exchange their states through linear layers, for up to eight
cycles, and a halting unit may stop the batch early. The model sees one test grid as tokens: neither the task nor
its demonstrations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hrm_arc.checks import check_at_least, check_at_most
from hrm_arc.models.canvases import Canvases
from hrm_arc.models.conditioning import SHARED_LENGTH, SharedConditioning
from hrm_arc.models.layers import PostNormBlock, sinusoids
from hrm_arc.models.reasoner import Batch, Carry, Output, PackedReasoner
from hrm_arc.models.spec import ExportSpec, ModelSpec
from hrm_arc.puzzles.canvas import FULL, VOCABULARY

POSITIONS = 5_000


@dataclass(frozen=True)
class DualLoopConfig:
    """The log's model; the defaults give its 5,667,597 trainable parameters.

    Attributes:
        hidden_size: size of each token's vector.
        num_heads: attention heads.
        h_layers: layers of the H level.
        l_layers: layers of the L level.
        h_cycles: the most cycles of the loop.
        dropout: dropout rate of embeddings, attention and feed-forward.
        halt_threshold: the batch stops after a cycle, the first one excepted, if its mean halting probability
            is above this; 1: the number of cycles is fixed, and no value is read in between, which makes a GPU wait.
        recompute: activation checkpointing: keep each layer's input only and recompute the rest for the
            gradients: a third more time, a tenth of the memory.
        puzzle_emb: ``none``, as in the log; or ``shared``: conditioned on the task as grid-hrm is, by eleven
            tokens in front of the cells.
    """

    hidden_size: int = 256
    num_heads: int = 8
    h_layers: int = 4
    l_layers: int = 3
    h_cycles: int = 8
    dropout: float = 0.1
    halt_threshold: float = 0.9
    recompute: bool = False
    puzzle_emb: Literal["none", "shared"] = "none"

    def __post_init__(self) -> None:
        check_at_least(self, 1, "hidden_size", "num_heads", "h_layers", "l_layers", "h_cycles")
        check_at_most(self, 65_536, "hidden_size", "num_heads")
        check_at_most(self, 1000, "h_layers", "l_layers", "h_cycles")
        if self.hidden_size % 2 or self.hidden_size % self.num_heads:
            raise ValueError(f"hidden_size {self.hidden_size} is odd, or not a multiple of {self.num_heads} heads")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}, expected at least 0 and below 1")


class DualLoop(PackedReasoner):
    """One segment holds all cycles; gradients flow through every one of them."""

    task_tables = ("conditioning.task.weight",)
    positions: Tensor

    def __init__(self, config: DualLoopConfig, num_tasks: int = 0):
        super().__init__()
        self.config = config
        hidden_size = config.hidden_size
        self.token_embedding = nn.Embedding(VOCABULARY, hidden_size)
        # A buffer in the state dict, because the log's 6.95M counts it.
        self.register_buffer("positions", sinusoids(POSITIONS, hidden_size))
        self.dropout = nn.Dropout(config.dropout)
        self.h_layers = nn.ModuleList(_layer(config) for _ in range(config.h_layers))
        self.h_norm = nn.LayerNorm(hidden_size)
        self.l_layers = nn.ModuleList(_layer(config) for _ in range(config.l_layers))
        self.l_norm = nn.LayerNorm(hidden_size)
        self.h_to_l = nn.Linear(hidden_size, hidden_size)
        self.l_to_h = nn.Linear(hidden_size, hidden_size)
        self.halt_predictor = nn.Linear(2 * hidden_size, 1)
        self.output = nn.Linear(hidden_size, VOCABULARY)
        self.conditioning = SharedConditioning(num_tasks, hidden_size) if config.puzzle_emb == "shared" else None
        self._prefix = SHARED_LENGTH if self.conditioning else 0

    def initial_carry(self, batch: Batch) -> Carry:
        # The first slice has constant ends, so that an export can leave out the rows that no canvas reaches.
        embedded = self.token_embedding(batch.inputs) + self.positions[: FULL.cells][: batch.inputs.shape[1]]
        if self.conditioning is not None:
            embedded = torch.cat([self.conditioning.tokens(batch, self.token_embedding), embedded], dim=1)
        embedded = self.dropout(embedded)
        return embedded, embedded

    def forward_packed(self, carries: Sequence[Carry], batches: Sequence[Batch]) -> list[tuple[Carry, Output]]:
        """See :meth:`Reasoner.forward_packed`. All batches stop after the same cycle, as the log's one batch does."""
        canvases = Canvases.of(batches, self._prefix)
        h, l = (canvases.join(parts) for parts in zip(*carries, strict=True))
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
        """Run cycles until the batch stops: both states, and halting logits ``[batch, cycles]``."""
        halts: list[Tensor] = []
        for cycle in range(self.config.h_cycles):
            h, l, halt = self._cycle(h, l, canvases)
            halts.append(halt)
            # To ask makes a GPU wait, so a run with a fixed number of cycles does not.
            may_stop = self.config.halt_threshold < 1 and 0 < cycle < self.config.h_cycles - 1
            if may_stop and self._stops(halt):
                break
        return h, l, torch.cat(halts, dim=1)

    def _loop_as_graph(self, h: Tensor, l: Tensor, canvases: Canvases) -> tuple[Tensor, Tensor, Tensor]:
        """The same without a branch: cycles after the stop are run, and their results discarded."""
        halt = h.new_zeros(canvases.sizes[0][0], 1)
        stopped = torch.zeros((), dtype=torch.bool)
        for cycle in range(self.config.h_cycles):
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
    return PostNormBlock(config.hidden_size, config.num_heads, 4 * config.hidden_size, config.dropout)


SPEC = ModelSpec(
    config=DualLoopConfig,
    build=lambda config, num_tasks, num_variants: DualLoop(config, num_tasks),
    example_config={"hidden_size": 16, "num_heads": 2, "h_layers": 1, "l_layers": 1, "h_cycles": 2, "dropout": 0.0},
    task_tables=DualLoop.task_tables,
    export=ExportSpec(carry=("h", "l"), num_heads=lambda config: config.num_heads),
)
