"""Building blocks: rotary positions on a canvas, attention, SwiGLU, pre-norm and post-norm blocks."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrm_arc.models.attention import attend_with_dropout

# Cosines and sines [tokens, head_width / 2] of the rotary angles.
Rotation = tuple[Tensor, Tensor]


class Place(NamedTuple):
    """Where tokens lie: ``prefix`` of them nowhere, then a canvas, row by row.

    Attributes:
        rotation: rotary angles, or None where positions are told in another way.
    """

    height: int
    width: int
    prefix: int
    rotation: Rotation | None


def kept(table: Callable[..., Rotation]) -> Callable[..., Rotation]:
    """Keep the last tables that were asked for, except in an exported graph, where sizes are unknowns."""
    # They are used in training, too, whoever asked for them first: hence no inference mode.
    known = lru_cache(maxsize=256)(torch.inference_mode(False)(table))

    @wraps(table)
    def find(*sizes: Any) -> Rotation:
        return table(*sizes) if torch.compiler.is_exporting() else known(*sizes)

    return find


@kept
def rotary_2d(height: int, width: int, prefix: int, head_width: int, device: torch.device) -> Rotation:
    """Rotary angles for a canvas: half of them turn with the row, half with the column.

    Su et al. 2021 (RoFormer) in two dimensions (axial). The base is 100, since no two
    cells are more than 29 apart; prefix tokens have no place and are not turned.

    Args:
        height, width: the canvas.
        prefix: tokens in front of the cells.
        head_width: width of one attention head, a multiple of 4.

    Returns:
        cosines and sines, each ``[prefix + height * width, head_width / 2]``.
    """
    frequencies = 100.0 ** -(torch.arange(head_width // 4) / (head_width // 4))
    rows = (torch.arange(height)[:, None] * frequencies)[:, None].expand(height, width, -1)
    columns = (torch.arange(width)[:, None] * frequencies)[None].expand(height, width, -1)
    cells = torch.cat([rows, columns], dim=2).reshape(height * width, head_width // 2)
    angles = torch.cat([torch.zeros(prefix, head_width // 2), cells]).to(device)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Turn channel pairs (i, i + half) of ``x`` ``[..., tokens, head_width]``."""
    cos, sin = (part.to(x.dtype) for part in rotation)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


class Attention(nn.Module):
    """Self-attention over all tokens, with queries and keys normalised before rotation.

    The normalisation bounds the logits (Henry et al. 2020, Query-key normalization),
    which lets a small model take a high learning rate.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor, rotation: Rotation | None) -> Tensor:
        """``x`` and the result: ``[batch, tokens, width]``."""
        batch, tokens, width = x.shape
        q, k, v = self.qkv(x).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k = (F.rms_norm(part, part.shape[-1:]) for part in (q, k))
        if rotation is not None:
            q, k = rotate(q, rotation), rotate(k, rotation)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.out(mixed.transpose(1, 2).reshape(batch, tokens, width))


class SwiGLU(nn.Module):
    """Gated feed-forward (Shazeer 2020, GLU variants improve Transformer).

    Args:
        width: of a token's vector.
        expansion: inner width before gating takes its third.
        convolution: side of a depthwise convolution over the canvas between its two halves,
            which starts as the identity; 0: none.
    """

    def __init__(self, width: int, expansion: float, convolution: int = 0):
        super().__init__()
        # Two thirds keep the size of an ungated layer; a multiple of 32 keeps matrices even.
        inner = max(32, round(expansion * width * 2 / 3 / 32) * 32)
        self.gate_up = nn.Linear(width, 2 * inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)
        nn.init.zeros_(self.down.weight)
        self.mix = _identity_convolution(inner, convolution) if convolution else None

    def forward(self, x: Tensor, place: Place) -> Tensor:
        """``x`` and the result: ``[batch, tokens, width]``."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        inner = F.silu(gate) * up
        if self.mix is not None:
            before, cells = inner[:, : place.prefix], inner[:, place.prefix :]
            canvas = cells.transpose(1, 2).unflatten(2, (place.height, place.width))
            inner = torch.cat([before, self.mix(canvas).flatten(2).transpose(1, 2)], dim=1)
        return self.down(inner)


def _identity_convolution(channels: int, side: int) -> nn.Conv2d:
    """A convolution of each channel by itself that hands its input on at first."""
    layer = nn.Conv2d(channels, channels, side, padding=side // 2, groups=channels, bias=False)
    nn.init.zeros_(layer.weight)
    layer.weight.data[:, :, side // 2, side // 2] = 1
    return layer


class PreNormBlock(nn.Module):
    """Attention and feed-forward, each normalised before and added after.

    Both start as the identity (their last matrices are zero), so depth costs nothing at
    the first step.
    """

    def __init__(self, width: int, heads: int, expansion: float, convolution: int = 0):
        super().__init__()
        self.attention_norm = nn.RMSNorm(width)
        self.attention = Attention(width, heads)
        self.feed_forward_norm = nn.RMSNorm(width)
        self.feed_forward = SwiGLU(width, expansion, convolution)

    def forward(self, x: Tensor, place: Place) -> Tensor:
        """``x`` and the result: ``[batch, tokens, width]``."""
        x = x + self.attention(self.attention_norm(x), place.rotation)
        return x + self.feed_forward(self.feed_forward_norm(x), place)


class PostNormBlock(nn.Module):
    """A Transformer encoder layer as in Vaswani et al. 2017, with ReLU, biases and dropout.

    The same maths and parameter names as torch's ``nn.TransformerEncoderLayer``, with
    attention that takes a fraction of its time and memory under dropout on a CPU.
    """

    def __init__(self, width: int, heads: int, inner: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.rate = dropout
        self.self_attn = _Projections(width)
        self.linear1 = nn.Linear(width, inner)
        self.linear2 = nn.Linear(inner, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` and the result: ``[batch, tokens, width]``."""
        x = self.norm1(x + self._drop(self._attend(x)))
        inner = self._drop(F.relu(self.linear1(x)))
        return self.norm2(x + self._drop(self.linear2(inner)))

    def _attend(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        projected = F.linear(x, self.self_attn.in_proj_weight, self.self_attn.in_proj_bias)
        q, k, v = projected.view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = attend_with_dropout(q, k, v, self.rate if self.training else 0.0)
        return self.self_attn.out_proj(mixed.transpose(1, 2).reshape(batch, tokens, width))

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.rate, self.training)


class _Projections(nn.Module):
    """Attention's parameters under the names and with the initial values of torch's."""

    def __init__(self, width: int):
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)


def sinusoids(positions: int, width: int) -> Tensor:
    """Fixed absolute positions ``[positions, width]``: sine on even channels, cosine on odd.

    Vaswani et al. 2017, Attention is all you need, section 3.5 (base 10,000).
    """
    angle = torch.arange(positions)[:, None] * torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    return torch.stack([angle.sin(), angle.cos()], dim=-1).reshape(positions, width)
