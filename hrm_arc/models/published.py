"""What the published HRM and TRM are made of: post-norm blocks without a single norm weight.

Wang et al. 2025 (Hierarchical Reasoning Model) and Jolicoeur-Martineau 2025 (Less is More:
Recursive Reasoning with Tiny Networks). Parameters have the names of their checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrm_arc.errors import check_at_least
from hrm_arc.models.conditioning import PuzzleTable, SharedConditioning
from hrm_arc.models.layers import Canvases, Rotation, attention_within, kept, rotate
from hrm_arc.models.reasoner import Batch, Output, Reasoner, State
from hrm_arc.puzzles.canvas import VOCABULARY

Identity = Literal["variants", "shared"]


@dataclass(frozen=True)
class PublishedConfig:
    """What HRM and TRM have in common; the defaults are the published sizes.

    Attributes:
        width: size of each token's vector.
        heads: attention heads.
        expansion: size of the feed-forward before gating takes its third.
        segments: most segments of thought.
        identity: how a model is told its task. ``variants``: a row for each task and variant,
            as published; ``shared``: a row for each task, one for each dihedral transform, and
            ten colour roles.
        prefix: tokens in front of the cells that a row of the table fills.
    """

    width: int = 512
    heads: int = 8
    expansion: float = 4.0
    segments: int = 16
    identity: Identity = "variants"
    prefix: int = 1

    def __post_init__(self) -> None:
        check_at_least(self, 1, "width", "heads", "expansion", "segments", "prefix")
        if self.width % (2 * self.heads):
            raise ValueError(f"width {self.width} is no multiple of 2 x {self.heads} heads")


class Published(Reasoner):
    """Embeddings, heads and start of HRM and TRM; what lies between them is theirs.

    Two states, the slow one (H) and the fast one (L), begin as one fixed vector each for all
    positions. The first position feeds the Q head.
    """

    H_init: Tensor
    L_init: Tensor

    def __init__(self, config: PublishedConfig, tasks: int, variants: int):
        super().__init__()
        self.segments = config.segments
        self.variants = variants if config.identity == "variants" else 1
        self.width, self.heads = config.width, config.heads
        self.embed_tokens = nn.Embedding(VOCABULARY, config.width)
        self.puzzle_emb = (
            PuzzleTable(tasks, variants, config.width, config.prefix)
            if config.identity == "variants"
            else SharedConditioning(tasks, config.width)
        )
        self.lm_head = nn.Linear(config.width, VOCABULARY, bias=False)
        self.q_head = nn.Linear(config.width, 2)
        self.register_buffer("H_init", truncated_normal(torch.empty(config.width), 1.0))
        self.register_buffer("L_init", truncated_normal(torch.empty(config.width), 1.0))
        truncated_normal(self.embed_tokens.weight, config.width**-0.5)
        truncated_normal(self.lm_head.weight, config.width**-0.5)
        # Nothing is right at first: begin by thinking on.
        nn.init.zeros_(self.q_head.weight)
        nn.init.constant_(self.q_head.bias, -5.0)

    def start(self, batch: Batch) -> tuple[Tensor, ...]:
        shape = (len(batch), self.puzzle_emb.length + batch.height * batch.width, self.width)
        return self.H_init.expand(shape), self.L_init.expand(shape)

    def embed(self, batch: Batch) -> Tensor:
        """The task, then the cells, ``[batch, prefix + cells, width]``."""
        told = self.puzzle_emb.tokens(batch, self.embed_tokens)
        return math.sqrt(self.width) * torch.cat([told, self.embed_tokens(batch.inputs)], dim=1)

    def laid_out(
        self, states: Sequence[State], batches: Sequence[Batch]
    ) -> tuple[Canvases, Rotation, Tensor, Tensor, Tensor]:
        """Where all tokens lie, their rotary angles, and ``[tokens, width]``: the puzzle, H and L."""
        canvases = Canvases.of(batches, self.puzzle_emb.length)
        embedded = canvases.join([self.embed(batch) for batch in batches])
        head_width = self.width // self.heads
        rotation = canvases.rotation([rotary_1d(length, head_width, embedded.device) for length in canvases.lengths])
        h, l = (canvases.join(parts) for parts in zip(*states, strict=True))
        return canvases, rotation, embedded, h, l

    def answers(self, canvases: Canvases, h: Tensor, l: Tensor, learns_to_continue: bool) -> list[tuple[State, Output]]:
        """What the slow state says: an answer, and Q values of halting and thinking on."""
        said: list[tuple[State, Output]] = []
        for h_part, l_part, logits in zip(*(canvases.split(each) for each in (h, l, self.lm_head(h))), strict=True):
            q = self.q_head(h_part[:, 0])
            output = Output(logits[:, canvases.prefix :], q[:, :1], q[:, 1] if learns_to_continue else None)
            said.append(((h_part, l_part), output))
        return said


class PublishedBlock(nn.Module):
    """Attention (or a feed-forward over positions), then a feed-forward; a norm after each sum.

    Args:
        config: width, heads, expansion.
        positions: mix positions by a feed-forward of this length instead of attention.
    """

    def __init__(self, config: PublishedConfig, positions: int | None = None):
        super().__init__()
        self.mlp_t = None if positions is None else PublishedFeedForward(positions, config.expansion)
        if positions is None:
            self.self_attn = PublishedAttention(config.width, config.heads)
        self.mlp = PublishedFeedForward(config.width, config.expansion)

    def forward(self, x: Tensor, canvases: Canvases, rotation: Rotation) -> Tensor:
        """``x`` and the result: ``[tokens, width]``."""
        if self.mlp_t is None:
            x = normed(x + self.self_attn(x, canvases, rotation))
        else:
            turned = [part.transpose(1, 2) for part in canvases.split(x)]
            # As published, the norm after it is taken over positions, too.
            x = canvases.join([normed(part + self.mlp_t(part)).transpose(1, 2) for part in turned])
        return normed(x + self.mlp(x))


class Level(nn.Module):
    """Blocks that take in what another level, or the puzzle, has to say, by addition."""

    def __init__(self, config: PublishedConfig, layers: int, positions: int | None = None):
        super().__init__()
        self.layers = nn.ModuleList(PublishedBlock(config, positions) for _ in range(layers))

    def forward(self, x: Tensor, injected: Tensor, canvases: Canvases, rotation: Rotation) -> Tensor:
        """``x``, ``injected`` and the result: ``[tokens, width]``."""
        x = x + injected
        for layer in self.layers:
            x = layer(x, canvases, rotation)
        return x


class PublishedAttention(nn.Module):
    """Self-attention over all tokens, with rotary positions and without biases."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv_proj = linear(width, 3 * width)
        self.o_proj = linear(width, width)

    def forward(self, x: Tensor, canvases: Canvases, rotation: Rotation) -> Tensor:
        """``x`` and the result: ``[tokens, width]``."""
        q, k, v = self.qkv_proj(x).view(len(x), 3, self.heads, -1).unbind(1)
        q, k = rotate(q, rotation), rotate(k, rotation)
        return self.o_proj(attention_within(canvases, q, k, v, F.scaled_dot_product_attention))


class PublishedFeedForward(nn.Module):
    """SwiGLU (Shazeer 2020) whose inner width is rounded up to a multiple of 256."""

    def __init__(self, width: int, expansion: float):
        super().__init__()
        inner = -(round(expansion * width * 2 / 3) // -256) * 256
        self.gate_up_proj = linear(width, 2 * inner)
        self.down_proj = linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up_proj(x).chunk(2, dim=-1)
        return self.down_proj(F.silu(gate) * up)


def normed(x: Tensor) -> Tensor:
    """Root mean square norm without weights."""
    return F.rms_norm(x, x.shape[-1:], eps=1e-5)


def linear(inner: int, outer: int) -> nn.Linear:
    """A linear map without bias, with the published initial values."""
    layer = nn.Linear(inner, outer, bias=False)
    truncated_normal(layer.weight, inner**-0.5)
    return layer


def truncated_normal(tensor: Tensor, deviation: float) -> Tensor:
    """Fill with a normal distribution cut off at two deviations, whose deviation is as asked."""
    with torch.no_grad():
        # A standard normal cut off at two has this deviation.
        return nn.init.trunc_normal_(tensor).mul_(deviation / 0.87962566)


@kept
def rotary_1d(tokens: int, head_width: int, device: torch.device) -> Rotation:
    """Rotary angles of positions in a row, base 10,000 (Su et al. 2021, RoFormer).

    Returns:
        cosines and sines, each ``[tokens, head_width / 2]``.
    """
    frequencies = 10_000.0 ** (-torch.arange(0, head_width, 2) / head_width)
    angles = (torch.arange(tokens)[:, None] * frequencies).to(device)
    return angles.cos(), angles.sin()
