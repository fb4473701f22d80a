"""The parts that the published HRM and TRM share: post-norm blocks whose norms have no weights.

Wang et al. 2025 (Hierarchical Reasoning Model) and Jolicoeur-Martineau 2025 (Less is More: Recursive Reasoning
with Tiny Networks). Parameters have the names of their checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from hrm_arc.checks import check_at_least, check_at_most
from hrm_arc.errors import UserError
from hrm_arc.models.attention import attention_within
from hrm_arc.models.canvases import Canvases
from hrm_arc.models.compiled import Linear, TokenWise, apply_linear
from hrm_arc.models.conditioning import (
    SHARED_LENGTH,
    Conditioning,
    NoConditioning,
    PuzzleEmbedding,
    SharedConditioning,
)
from hrm_arc.models.fused import Rotation, add_rms_norm, linear_dtype, silu_gate, split_heads
from hrm_arc.models.layers import cached_table
from hrm_arc.models.reasoner import Batch, Carry, Output, PackedReasoner
from hrm_arc.models.spec import ExportSpec
from hrm_arc.models.vocabulary import OwnTokens, Vocabulary

# What specs of both models share.
EXPORT = ExportSpec(
    carry=("h", "l"),
    num_heads=lambda config: config.num_heads,
    fixed_cells=lambda config: None if config.fixed_canvas is None else config.cells,
)


@dataclass(frozen=True)
class PublishedConfig:
    """The common part of both configurations; the defaults are the published sizes.

    Attributes:
        hidden_size: size of each token's vector.
        num_heads: attention heads.
        expansion: inner size of the feed-forward relative to ``hidden_size``, before SwiGLU's factor 2/3.
        segments: the most segments.
        puzzle_emb: ``variants``: a row for each variant of each task, as published; ``shared``: a row for each
            task, a row for each dihedral transform, and ten color-role tokens; ``none``: nothing.
        puzzle_emb_len: tokens in front of the cells for a row of the puzzle embedding under ``variants``.
        vocabulary: ``arc``: 12 tokens; ``sudoku``: the 11 tokens of published Sudoku models; ``maze``: the 6 of
            published Maze models. Inputs and logits are translated, so that all programs see 12 tokens.
        positions: ``rotary-1d``: rotary embeddings of the position in the sequence; ``learned``: a table of
            positions is added to the tokens; ``none``.
        cells: cells of the canvas, for ``learned`` positions and TRM's ``mlp``, which need one canvas.
    """

    hidden_size: int = 512
    num_heads: int = 8
    expansion: float = 4.0
    segments: int = 16
    puzzle_emb: Literal["variants", "shared", "none"] = "variants"
    puzzle_emb_len: int = 1
    vocabulary: Vocabulary = "arc"
    positions: Literal["rotary-1d", "learned", "none"] = "rotary-1d"
    cells: int = 900

    def __post_init__(self) -> None:
        check_at_least(self, 1, "hidden_size", "num_heads", "expansion", "segments", "puzzle_emb_len", "cells")
        check_at_most(self, 1000, "cells")
        check_at_most(self, 65_536, "hidden_size", "num_heads", "segments", "puzzle_emb_len")
        check_at_most(self, 256, "expansion")
        if self.hidden_size % (2 * self.num_heads):
            raise ValueError(f"hidden_size {self.hidden_size} is not a multiple of 2 x {self.num_heads} heads")
        if self.vocabulary != "arc" and self.puzzle_emb == "shared":
            raise ValueError(f"vocabulary {self.vocabulary} has no color-role tokens; take puzzle_emb variants or none")

    @property
    def prefix(self) -> int:
        """The number of tokens in front of the cells."""
        return {"variants": self.puzzle_emb_len, "shared": SHARED_LENGTH, "none": 0}[self.puzzle_emb]

    @property
    def fixed_canvas(self) -> str | None:
        """What of the configuration needs a canvas of ``cells`` cells; None if any canvas will do."""
        return "learned positions" if self.positions == "learned" else None


class Published(PackedReasoner):
    """Embeddings, heads and initial carry of HRM and TRM; the levels between them belong to each model.

    The carry is the slow state (H) and the fast state (L); each starts as one fixed vector for all positions.
    The first position feeds the Q head.
    """

    task_tables = ("puzzle_emb.task.weight", "puzzle_emb.weights")
    H_init: Tensor
    L_init: Tensor

    def __init__(self, config: PublishedConfig, num_tasks: int, num_variants: int):
        super().__init__()
        self.config = config
        # Read once: torch.export would trace the property, and then fix the size of the canvas.
        self._needs_canvas = config.fixed_canvas
        self.segments = config.segments
        self.variants = num_variants if config.puzzle_emb == "variants" else 1
        self.hidden_size, self.num_heads = config.hidden_size, config.num_heads
        vocabulary = OwnTokens(config.vocabulary)
        self.embed_tokens = nn.Embedding(vocabulary.size, config.hidden_size)
        self.puzzle_emb = _conditioning(config, num_tasks, num_variants)
        self.lm_head = nn.Linear(config.hidden_size, vocabulary.size, bias=False)
        self.q_head = nn.Linear(config.hidden_size, 2)
        self.own_tokens = vocabulary
        self.embed_pos = None
        if config.positions == "learned":
            self.embed_pos = nn.Embedding(config.cells + config.prefix, config.hidden_size)
            truncated_normal(self.embed_pos.weight, config.hidden_size**-0.5)
        self.register_buffer("H_init", truncated_normal(torch.empty(config.hidden_size), 1.0))
        self.register_buffer("L_init", truncated_normal(torch.empty(config.hidden_size), 1.0))
        truncated_normal(self.embed_tokens.weight, config.hidden_size**-0.5)
        truncated_normal(self.lm_head.weight, config.hidden_size**-0.5)
        # No answer is right at first, so the model starts by continuing.
        nn.init.zeros_(self.q_head.weight)
        nn.init.constant_(self.q_head.bias, -5.0)

    def initial_carry(self, batch: Batch) -> Carry:
        """See :meth:`Reasoner.initial_carry`.

        Raises:
            UserError: the model needs one canvas, and this is another one.
        """
        needs, cells = self._needs_canvas, batch.height * batch.width
        if needs is not None and cells != self.config.cells:
            what = f"{self.config.cells}, and the canvas has {cells}; {needs} need one canvas"
            raise UserError("model.cells", what)
        shape = (len(batch), self.puzzle_emb.length + batch.height * batch.width, self.hidden_size)
        return self.H_init.expand(shape), self.L_init.expand(shape)

    def embed(self, batch: Batch) -> Tensor:
        """The puzzle embedding, then the cells: ``[batch, puzzle_emb_len + cells, hidden_size]``."""
        conditioning = self.puzzle_emb.tokens(batch, self.embed_tokens)
        tokens = torch.cat([conditioning, self.embed_tokens(self.own_tokens.of_inputs(batch.inputs))], dim=1)
        if self.embed_pos is not None:
            # As published: the sum of two has twice the variance.
            tokens = math.sqrt(0.5) * (tokens + self.embed_pos.weight)
        return math.sqrt(self.hidden_size) * tokens

    def pack(
        self, carries: Sequence[Carry], batches: Sequence[Batch]
    ) -> tuple[Canvases, Rotation | None, Tensor, Tensor, Tensor]:
        """The layout of all tokens, their rotary angles, and ``[tokens, hidden_size]``: embedded input, H and L.

        The angles are None where positions are not rotary.
        """
        canvases = Canvases.of(batches, self.puzzle_emb.length)
        embedded = canvases.join([self.embed(batch) for batch in batches])
        rotation = None
        if self.config.positions == "rotary-1d":
            head_size = self.hidden_size // self.num_heads
            tables = [rotary_1d(length, head_size, embedded.device) for length in canvases.lengths]
            rotation = canvases.rotation(tables)
        h, l = (canvases.join(parts) for parts in zip(*carries, strict=True))
        # As published, the states are in the precision of the products.
        dtype = linear_dtype(embedded)
        return canvases, rotation, embedded.to(dtype), h.to(dtype), l.to(dtype)

    def unpack(self, canvases: Canvases, h: Tensor, l: Tensor, learns_to_continue: bool) -> list[tuple[Carry, Output]]:
        """Each canvas's carry and output: logits of the answer from H, and Q values of halting and continuing."""
        results: list[tuple[Carry, Output]] = []
        answers = self.own_tokens.to_logits(self.lm_head(h))
        for h_part, l_part, logits in zip(*(canvases.split(each) for each in (h, l, answers)), strict=True):
            q = self.q_head(h_part[:, 0])
            output = Output(logits[:, canvases.prefix :], q[:, :1], q[:, 1] if learns_to_continue else None)
            results.append(((h_part, l_part), output))
        return results


def _conditioning(config: PublishedConfig, num_tasks: int, num_variants: int) -> Conditioning:
    if config.puzzle_emb == "variants":
        return PuzzleEmbedding(num_tasks, num_variants, config.hidden_size, config.puzzle_emb_len)
    return NoConditioning() if config.puzzle_emb == "none" else SharedConditioning(num_tasks, config.hidden_size)


class PublishedBlock(TokenWise):
    """Attention (or a feed-forward over positions), then a feed-forward; each sum is normalized (post-norm).

    Args:
        config: hidden_size, num_heads, expansion.
        positions: the number of positions to mix by a feed-forward instead of attention; None: attention.
    """

    def __init__(self, config: PublishedConfig, positions: int | None = None):
        super().__init__()
        self.mlp_t = None if positions is None else PublishedFeedForward(positions, config.expansion)
        if positions is None:
            self.self_attn = PublishedAttention(config.hidden_size, config.num_heads)
        self.mlp = PublishedFeedForward(config.hidden_size, config.expansion)

    def forward(self, x: Tensor, canvases: Canvases, rotation: Rotation | None) -> Tensor:
        """``x`` and the result: ``[tokens, hidden_size]``."""
        feed_forward = (self.mlp.gate_up_proj, self.mlp.down_proj)
        if self.mlp_t is None:
            attention = self.self_attn
            if rotation is None:
                heads = self.token_wise(_heads_as_they_are, x, attention.qkv_proj, attention.num_heads)
            else:
                heads = self.token_wise(_heads, x, *rotation, attention.qkv_proj, attention.num_heads)
            mixed = attention_within(canvases, *heads)
            return self.token_wise(_add_both, x, mixed, attention.o_proj, *feed_forward)
        transposed = [part.transpose(1, 2) for part in canvases.split(x)]
        # As published, this norm is taken over positions.
        x = canvases.join([sum_normed(part, self.mlp_t(part)).transpose(1, 2) for part in transposed])
        return self.token_wise(_add_feed_forward, x, *feed_forward)


def _heads(x: Tensor, cos: Tensor, sin: Tensor, qkv: Linear, num_heads: int) -> tuple[Tensor, Tensor, Tensor]:
    return split_heads(apply_linear(x, qkv), num_heads, (cos, sin), normalize=False)


def _heads_as_they_are(x: Tensor, qkv: Linear, num_heads: int) -> tuple[Tensor, Tensor, Tensor]:
    return split_heads(apply_linear(x, qkv), num_heads, None, normalize=False)


def _add_both(x: Tensor, mixed: Tensor, out: Linear, gate_up: Linear, down: Linear) -> Tensor:
    return _add_feed_forward(sum_normed(x, apply_linear(mixed, out)), gate_up, down)


def _add_feed_forward(x: Tensor, gate_up: Linear, down: Linear) -> Tensor:
    return sum_normed(x, apply_linear(silu_gate(apply_linear(x, gate_up)), down))


class Level(nn.Module):
    """A stack of blocks; the other level's state or the embedded input is added to its input."""

    def __init__(self, config: PublishedConfig, layers: int, positions: int | None = None):
        super().__init__()
        self.layers = nn.ModuleList(PublishedBlock(config, positions) for _ in range(layers))

    def forward(self, x: Tensor, injected: Tensor, canvases: Canvases, rotation: Rotation | None) -> Tensor:
        """``x``, ``injected`` and the result: ``[tokens, hidden_size]``."""
        x = x + injected
        for layer in self.layers:
            x = layer(x, canvases, rotation)
        return x


class PublishedAttention(nn.Module):
    """Self-attention with rotary positions and without biases; :class:`PublishedBlock` computes it."""

    def __init__(self, hidden_size: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.qkv_proj = linear(hidden_size, 3 * hidden_size)
        self.o_proj = linear(hidden_size, hidden_size)


class PublishedFeedForward(nn.Module):
    """SwiGLU (Shazeer 2020) whose inner size is rounded up to a multiple of 256."""

    def __init__(self, hidden_size: int, expansion: float):
        super().__init__()
        inner = -(round(expansion * hidden_size * 2 / 3) // -256) * 256
        self.gate_up_proj = linear(hidden_size, 2 * inner)
        self.down_proj = linear(inner, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(silu_gate(self.gate_up_proj(x)))


def sum_normed(x: Tensor, update: Tensor) -> Tensor:
    """RMSNorm without weights of a residual sum."""
    return add_rms_norm(x, update, None, eps=1e-5)[1]


def linear(inner: int, outer: int) -> nn.Linear:
    """A linear layer without bias, with the published initialization."""
    layer = nn.Linear(inner, outer, bias=False)
    truncated_normal(layer.weight, inner**-0.5)
    return layer


def truncated_normal(tensor: Tensor, deviation: float) -> Tensor:
    """Fill with a normal distribution cut off at two standard deviations, scaled to the given deviation."""
    with torch.no_grad():
        # The standard deviation of a standard normal distribution that is cut off at two.
        return nn.init.trunc_normal_(tensor).mul_(deviation / 0.87962566)


@cached_table
def rotary_1d(tokens: int, head_size: int, device: torch.device) -> Rotation:
    """Rotary angles of positions in a sequence, base 10,000 (Su et al. 2021, RoFormer).

    Returns:
        cosines and sines, each ``[tokens, head_size / 2]``.
    """
    frequencies = 10_000.0 ** (-torch.arange(0, head_size, 2) / head_size)
    angles = (torch.arange(tokens)[:, None] * frequencies).to(device)
    return angles.cos(), angles.sin()
