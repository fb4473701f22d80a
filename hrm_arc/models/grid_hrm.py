"""grid-hrm, this project's own model: conditioned on the task, with 2D positions, pre-norm.

It keeps HRM's two levels, nested cycles and halting (Wang et al. 2025, Hierarchical Reasoning Model) and differs
in three points: it is conditioned on the task that it is to solve, positions are rows and columns, and
normalization comes before each layer (pre-norm), so that gradients reach the first layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrm_arc.checks import check_at_least, check_at_most
from hrm_arc.models.canvases import Canvases
from hrm_arc.models.conditioning import PARTS, Part, SharedConditioning
from hrm_arc.models.fused import Rotation, rms_norm
from hrm_arc.models.layers import LearnedPositions, PreNormBlock, cached_table, rotary_2d, sinusoids
from hrm_arc.models.reasoner import Batch, Carry, Output, PackedReasoner
from hrm_arc.models.spec import ExportSpec, ModelSpec
from hrm_arc.puzzles.canvas import VOCABULARY

_sinusoids = cached_table(sinusoids)


@dataclass(frozen=True)
class GridHRMConfig:
    """grid-hrm's configuration.

    Attributes:
        hidden_size: size of each token's vector.
        num_heads: attention heads; hidden_size / num_heads is a multiple of 4.
        h_layers: layers of the H level.
        l_layers: layers of the L level.
        h_cycles: cycles of a segment; each runs the L level, then the H level.
        segments: segments, each supervised; the carry goes from one to the next.
        expansion: inner size of the feed-forward relative to hidden_size, before SwiGLU's factor 2/3.
        positions: ``rotary-2d``: rotary embeddings of row and column; ``sinusoids``: a fixed table of
            positions in the sequence of cells is added, as in the log's model.
        learned_positions: a learned embedding of its row and one of its column is added to each cell. Rotary
            embeddings alone say how far apart two cells are, not where they lie; a box of a Sudoku needs both.
        tie_embeddings: tied input and output embeddings (Press and Wolf 2017); a new model, whose blocks are the
            identity, then starts by copying its input.
        registers: learned tokens beside the role tokens, for information that belongs to no cell (Darcet et al.
            2023, Vision transformers need registers).
        share_levels: one stack of ``h_layers`` serves both levels, as in TRM.
        grad_cycles: gradients flow through ``all`` cycles of a segment, or through the ``last`` one only.
        conditioning: the parts of a sample's identity that the model is conditioned on: ``task``,
            ``dihedral`` transform, color ``roles``. Fewer than all are for ablations.
        convolution: kernel side of a depthwise convolution over the canvas in each feed-forward
            (URM, 2025); 0: none.
    """

    hidden_size: int = 128
    num_heads: int = 4
    h_layers: int = 2
    l_layers: int = 2
    h_cycles: int = 1
    segments: int = 1
    expansion: float = 4.0
    positions: Literal["rotary-2d", "sinusoids"] = "rotary-2d"
    learned_positions: bool = False
    tie_embeddings: bool = False
    registers: int = 0
    share_levels: bool = False
    grad_cycles: Literal["all", "last"] = "all"
    conditioning: tuple[Part, ...] = PARTS
    convolution: int = 0

    def __post_init__(self) -> None:
        check_at_least(self, 1, "hidden_size", "num_heads", "h_layers", "l_layers", "h_cycles", "segments", "expansion")
        if self.hidden_size % (4 * self.num_heads):
            raise ValueError(f"hidden_size {self.hidden_size} is not a multiple of 4 x {self.num_heads} heads")
        check_at_least(self, 0, "registers")
        check_at_most(self, 65_536, "hidden_size", "num_heads", "segments")
        check_at_most(self, 1000, "h_layers", "l_layers", "h_cycles", "expansion", "registers", "convolution")
        if self.convolution < 0 or (self.convolution and self.convolution % 2 == 0):
            raise ValueError(f"convolution is {self.convolution}, expected 0 or an odd kernel side")


class GridHRM(PackedReasoner):
    """The model; see the module and :class:`GridHRMConfig`."""

    task_tables = ("conditioning.task.weight",)

    def __init__(self, config: GridHRMConfig, num_tasks: int):
        super().__init__()
        self.config = config
        self.segments = config.segments
        hidden_size = config.hidden_size
        self.tokens = nn.Embedding(VOCABULARY, hidden_size)
        self.conditioning = SharedConditioning(num_tasks, hidden_size, config.conditioning)
        self.prefix = self.conditioning.roles + config.registers
        self.places = LearnedPositions(hidden_size) if config.learned_positions else None
        self.registers = nn.Parameter(0.5 * torch.randn(config.registers, hidden_size)) if config.registers else None
        self.l_layers = None if config.share_levels else nn.ModuleList(_block(config) for _ in range(config.l_layers))
        self.l_norm = nn.RMSNorm(hidden_size)
        self.h_layers = nn.ModuleList(_block(config) for _ in range(config.h_layers))
        self.h_norm = nn.RMSNorm(hidden_size)
        self.output = None if config.tie_embeddings else nn.Linear(hidden_size, VOCABULARY)
        self.bias = nn.Parameter(torch.zeros(VOCABULARY)) if config.tie_embeddings else None
        self.halt = nn.Linear(hidden_size, 1)
        # No answer is right at first, so the model starts by continuing.
        nn.init.zeros_(self.halt.weight)
        nn.init.constant_(self.halt.bias, -3.0)

    def initial_carry(self, batch: Batch) -> Carry:
        blank = self.tokens.weight.new_zeros(
            len(batch), self.prefix + batch.height * batch.width, self.config.hidden_size
        )
        return blank, blank

    def forward_packed(self, carries: Sequence[Carry], batches: Sequence[Batch]) -> list[tuple[Carry, Output]]:
        canvases = Canvases.of(batches, self.prefix)
        x = canvases.join([self._embed(batch) for batch in batches])
        rotation = self._rotation(canvases, x.device) if self.config.positions == "rotary-2d" else None
        h, l = (canvases.join(parts) for parts in zip(*carries, strict=True))
        for cycle in range(self.config.h_cycles):
            with_grad = self.config.grad_cycles == "all" or cycle == self.config.h_cycles - 1
            with torch.set_grad_enabled(with_grad and torch.is_grad_enabled()):
                l = rms_norm(
                    self._level(x + h + l, self.l_layers or self.h_layers, canvases, rotation), self.l_norm.weight
                )
                h = rms_norm(self._level(h + l, self.h_layers, canvases, rotation), self.h_norm.weight)
        return [
            ((h, l), Output(logits[:, self.prefix :], self.halt(h.mean(dim=1))))
            for h, l, logits in zip(*(canvases.split(each) for each in (h, l, self._logits(h))), strict=True)
        ]

    def _rotation(self, canvases: Canvases, device: torch.device) -> Rotation:
        head_size = self.config.hidden_size // self.config.num_heads
        return canvases.rotation(
            [rotary_2d(height, width, self.prefix, head_size, device) for _, height, width in canvases.sizes]
        )

    def _logits(self, h: Tensor) -> Tensor:
        """Logits ``[tokens, 12]``."""
        if self.output is not None:
            return self.output(h)
        # The product of an embedding with itself is about hidden_size, so the copied token starts with a logit of
        # four: likely, and still easy to correct.
        return F.linear(h, self.tokens.weight * (4 / self.config.hidden_size), self.bias)

    def _embed(self, batch: Batch) -> Tensor:
        """Role tokens, registers, then cells, the task's embedding added to all: ``[batch, tokens, hidden_size]``."""
        task, roles = self.conditioning(batch, self.tokens)
        blank = [] if self.registers is None else [self.registers.expand(len(batch), -1, -1)]
        cells = self.tokens(batch.inputs)
        if self.places is not None:
            cells = cells + self.places(batch.height, batch.width)
        x = torch.cat([roles, *blank, cells], dim=1) + task
        if self.config.positions == "sinusoids":
            x = x + _sinusoids(x.shape[1], x.shape[2], x.device).to(x)
        return x

    @staticmethod
    def _level(x: Tensor, layers: nn.ModuleList, canvases: Canvases, rotation: Rotation | None) -> Tensor:
        for layer in layers:
            x = layer(x, canvases, rotation)
        return x


def _block(config: GridHRMConfig) -> PreNormBlock:
    return PreNormBlock(config.hidden_size, config.num_heads, config.expansion, config.convolution)


SPEC = ModelSpec(
    config=GridHRMConfig,
    build=lambda config, num_tasks, num_variants: GridHRM(config, num_tasks),
    example_config={"hidden_size": 16, "num_heads": 2, "h_layers": 1, "l_layers": 1, "segments": 2},
    task_tables=GridHRM.task_tables,
    export=ExportSpec(carry=("h", "l"), num_heads=lambda config: config.num_heads),
)
