"""Building blocks: rotary positions on a canvas, attention, SwiGLU, pre-norm and post-norm blocks."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrm_arc.models.attention import attention_within
from hrm_arc.models.canvases import Canvases
from hrm_arc.models.compiled import Linear, TokenWise, apply_linear
from hrm_arc.models.dropout import drop
from hrm_arc.models.fused import Rotation, add_rms_norm, linear_dtype, rms_norm, silu_gate, split_heads
from hrm_arc.puzzles.task import MAX_SIDE

Table = TypeVar("Table")


def cached_table(table: Callable[..., Table]) -> Callable[..., Table]:
    """Cache the tables of recent sizes, except in an exported graph, where sizes are symbolic."""
    # A table first computed in inference mode could not be used in training.
    cache = lru_cache(maxsize=256)(torch.inference_mode(False)(table))

    @wraps(table)
    def find(*sizes: Any) -> Table:
        return table(*sizes) if torch.compiler.is_exporting() else cache(*sizes)

    return find


@cached_table
def rotary_2d(height: int, width: int, prefix: int, head_size: int, device: torch.device) -> Rotation:
    """Rotary angles for a canvas: half of the channels encode the row, half the column.

    Su et al. 2021 (RoFormer) in two dimensions (axial). The base is 100, because two cells are at most 29 apart;
    prefix tokens have no position and are not rotated.

    Args:
        height, width: sides of the canvas.
        prefix: tokens in front of the cells.
        head_size: channels of one attention head, a multiple of 4.

    Returns:
        cosines and sines, each ``[prefix + height * width, head_size / 2]``.
    """
    frequencies = 100.0 ** -(torch.arange(head_size // 4) / (head_size // 4))
    rows = (torch.arange(height)[:, None] * frequencies)[:, None].expand(height, width, -1)
    columns = (torch.arange(width)[:, None] * frequencies)[None].expand(height, width, -1)
    cells = torch.cat([rows, columns], dim=2).reshape(height * width, head_size // 2)
    angles = torch.cat([torch.zeros(prefix, head_size // 2), cells]).to(device)
    return angles.cos(), angles.sin()


class Attention(nn.Module):
    """Self-attention within each sample, with queries and keys normalized before rotation.

    The normalization bounds the attention logits (Henry et al. 2020, Query-key normalization), which lets a
    small model take a high learning rate. :class:`PreNormBlock` computes it.
    """

    def __init__(self, hidden_size: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size, bias=False)
        self.out = nn.Linear(hidden_size, hidden_size, bias=False)
        nn.init.zeros_(self.out.weight)


class SwiGLU(nn.Module):
    """Gated feed-forward (Shazeer 2020, GLU variants improve Transformer).

    Args:
        hidden_size: size of each token's vector.
        expansion: inner size relative to ``hidden_size``, before the factor 2/3 of gating.
        convolution: kernel side of a depthwise convolution over the canvas between its two linear layers,
            initialized as the identity; 0: none.
    """

    def __init__(self, hidden_size: int, expansion: float, convolution: int = 0):
        super().__init__()
        # The factor 2/3 keeps the parameter count of an ungated layer; multiples of 32 suit the hardware.
        inner = max(32, round(expansion * hidden_size * 2 / 3 / 32) * 32)
        self.gate_up = nn.Linear(hidden_size, 2 * inner, bias=False)
        self.down = nn.Linear(inner, hidden_size, bias=False)
        nn.init.zeros_(self.down.weight)
        self.mix = _identity_convolution(inner, convolution) if convolution else None

    def forward(self, x: Tensor, canvases: Canvases) -> Tensor:
        """``x`` and the result: ``[tokens, hidden_size]``."""
        inner = silu_gate(self.gate_up(x))
        return self.down(inner if self.mix is None else self._convolve(inner, self.mix, canvases))

    @staticmethod
    def _convolve(x: Tensor, mix: nn.Conv2d, canvases: Canvases) -> Tensor:
        parts = []
        for part, (_, height, width) in zip(canvases.split(x), canvases.sizes, strict=True):
            before, cells = part[:, : canvases.prefix], part[:, canvases.prefix :]
            canvas = cells.transpose(1, 2).reshape(len(part), -1, height, width)
            parts.append(torch.cat([before, mix(canvas).flatten(2).transpose(1, 2)], dim=1))
        return canvases.join(parts)


def _identity_convolution(channels: int, side: int) -> nn.Conv2d:
    """A depthwise convolution that is initialized as the identity."""
    layer = nn.Conv2d(channels, channels, side, padding=side // 2, groups=channels, bias=False)
    nn.init.zeros_(layer.weight)
    layer.weight.data[:, :, side // 2, side // 2] = 1
    return layer


class PreNormBlock(TokenWise):
    """A pre-norm Transformer block: attention and SwiGLU, each on a normalized input, with residual sums.

    The last matrix of both is initialized to zero, so a new block is the identity.
    """

    def __init__(self, hidden_size: int, num_heads: int, expansion: float, convolution: int = 0):
        super().__init__()
        self.attention_norm = nn.RMSNorm(hidden_size)
        self.attention = Attention(hidden_size, num_heads)
        self.feed_forward_norm = nn.RMSNorm(hidden_size)
        self.feed_forward = SwiGLU(hidden_size, expansion, convolution)

    def forward(self, x: Tensor, canvases: Canvases, rotation: Rotation | None) -> Tensor:
        """``x`` and the result: ``[tokens, hidden_size]``."""
        attention, feed_forward = self.attention, self.feed_forward
        heads = self.token_wise(
            _heads,
            x,
            *(rotation or (None, None)),
            self.attention_norm.weight,
            attention.qkv,
            attention.num_heads,
        )
        mixed = attention_within(canvases, *heads)
        norm = self.feed_forward_norm.weight
        if feed_forward.mix is not None:
            x, normed = add_rms_norm(x, attention.out(mixed), norm, dtype=linear_dtype(x))
            return x + feed_forward(normed, canvases)
        layers = (attention.out, norm, feed_forward.gate_up, feed_forward.down)
        return self.token_wise(_add_both, x, mixed, *layers)


def _heads(
    x: Tensor, cos: Tensor | None, sin: Tensor | None, norm: Tensor, qkv: Linear, num_heads: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of normalized tokens."""
    rotation = None if cos is None or sin is None else (cos, sin)
    normed = rms_norm(x, norm, dtype=linear_dtype(x))
    return split_heads(apply_linear(normed, qkv), num_heads, rotation, normalize=True)


def _add_both(x: Tensor, mixed: Tensor, out: Linear, norm: Tensor, gate_up: Linear, down: Linear) -> Tensor:
    """The sum of tokens, their attention and the feed-forward."""
    x, normed = add_rms_norm(x, apply_linear(mixed, out), norm, dtype=linear_dtype(x))
    return x + apply_linear(silu_gate(apply_linear(normed, gate_up)), down)


class PostNormBlock(nn.Module):
    """A Transformer encoder layer as in Vaswani et al. 2017, with ReLU, biases and dropout.

    The same function and parameter names as torch's ``nn.TransformerEncoderLayer``; its attention takes a
    fraction of the time and memory under dropout on a CPU.
    """

    def __init__(self, hidden_size: int, num_heads: int, inner: int, dropout: float):
        super().__init__()
        self.num_heads = num_heads
        self.rate = dropout
        self.self_attn = _Projections(hidden_size)
        self.linear1 = nn.Linear(hidden_size, inner)
        self.linear2 = nn.Linear(inner, hidden_size)
        self.norm1 = nn.LayerNorm(hidden_size)
        self.norm2 = nn.LayerNorm(hidden_size)

    def forward(self, x: Tensor, canvases: Canvases) -> Tensor:
        """``x`` and the result: ``[tokens, hidden_size]``."""
        x = self.norm1(x + self._drop(self._attend(x, canvases)))
        inner = self._drop(F.relu(self.linear1(x)))
        return self.norm2(x + self._drop(self.linear2(inner)))

    def _attend(self, x: Tensor, canvases: Canvases) -> Tensor:
        projected = F.linear(x, self.self_attn.in_proj_weight, self.self_attn.in_proj_bias)
        q, k, v = projected.view(len(x), 3, self.num_heads, -1).unbind(1)
        dropout = self.rate if self.training else 0.0
        return self.self_attn.out_proj(attention_within(canvases, q, k, v, dropout))

    def _drop(self, x: Tensor) -> Tensor:
        return drop(x, self.rate) if self.training else x


class _Projections(nn.Module):
    """The parameters of torch's ``nn.MultiheadAttention``, with its names and initialization."""

    def __init__(self, hidden_size: int):
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(3 * hidden_size, hidden_size))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * hidden_size))
        self.out_proj = nn.Linear(hidden_size, hidden_size)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)


class LearnedPositions(nn.Module):
    """A learned embedding of each row plus one of each column of a canvas."""

    def __init__(self, hidden_size: int):
        super().__init__()
        self.rows = nn.Embedding(MAX_SIDE, hidden_size)
        self.columns = nn.Embedding(MAX_SIDE, hidden_size)
        for table in (self.rows, self.columns):
            nn.init.normal_(table.weight, std=0.5)

    def forward(self, height: int, width: int) -> Tensor:
        """The embeddings of a canvas's cells, row by row: ``[height * width, hidden_size]``."""
        return (self.rows.weight[:height, None] + self.columns.weight[:width]).flatten(0, 1)


def sinusoids(positions: int, hidden_size: int, device: torch.device | None = None) -> Tensor:
    """Sinusoidal positions ``[positions, hidden_size]``: sine on even channels, cosine on odd ones.

    Vaswani et al. 2017, Attention is all you need, section 3.5 (base 10,000).
    """
    angle = torch.arange(positions)[:, None] * torch.exp(
        torch.arange(0, hidden_size, 2) * (-math.log(10_000.0) / hidden_size)
    )
    return torch.stack([angle.sin(), angle.cos()], dim=-1).reshape(positions, hidden_size).to(device)
