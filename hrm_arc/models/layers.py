"""Building blocks: rotary positions on a canvas, attention, SwiGLU, pre-norm and post-norm blocks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial, wraps
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrm_arc.models.dropout import attend_with_dropout, drop
from hrm_arc.models.reasoner import Batch

# Cosines and sines [tokens, head_width / 2] of the rotary angles.
Rotation = tuple[Tensor, Tensor]
Table = TypeVar("Table")


@dataclass(frozen=True)
class Canvases:
    """How tokens of samples on several canvases lie end to end, ``[tokens, ...]``.

    One canvas after another, on each its samples one after another, of each ``prefix`` tokens that
    lie nowhere and then the canvas, row by row. What is done token by token is done for all of
    them at once; attention and convolutions ``split`` them.

    Attributes:
        sizes: samples, height and width of each canvas.
        prefix: tokens in front of each sample's cells.
    """

    sizes: tuple[tuple[int, int, int], ...]
    prefix: int

    @classmethod
    def of(cls, batches: Sequence[Batch], prefix: int) -> Canvases:
        """Of batches, each on a canvas of its own, whose samples have so many tokens in front."""
        return cls(tuple((len(batch), batch.height, batch.width) for batch in batches), prefix)

    @property
    def lengths(self) -> list[int]:
        """Tokens of one sample on each canvas."""
        return [self.prefix + height * width for _, height, width in self.sizes]

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """``[samples, tokens, ...]`` on each canvas, laid end to end."""
        flat = [part.flatten(0, 1) for part in parts]
        return flat[0] if len(flat) == 1 else torch.cat(flat)

    def split(self, x: Tensor) -> list[Tensor]:
        """The inverse of :meth:`join`."""
        if len(self.sizes) == 1:
            return [x.view(self.sizes[0][0], self.lengths[0], *x.shape[1:])]
        counts = [count for count, _, _ in self.sizes]
        # One cut for all, whose gradient is one concatenation.
        parts = torch.split(x, [count * length for count, length in zip(counts, self.lengths, strict=True)])
        return [
            part.view(count, length, *x.shape[1:])
            for part, count, length in zip(parts, counts, self.lengths, strict=True)
        ]

    def rotation(self, tables: Sequence[Rotation]) -> Rotation:
        """Each canvas's rotary angles, for the tokens of all its samples: ``[tokens, 1, head_width / 2]``."""
        cos, sin = (
            torch.cat([table.repeat(count, 1) for table, (count, _, _) in zip(each, self.sizes, strict=True)])
            for each in zip(*tables, strict=True)
        )
        return cos[:, None], sin[:, None]


def attention_within(canvases: Canvases, q: Tensor, k: Tensor, v: Tensor, attend: Callable[..., Tensor]) -> Tensor:
    """Attention within each sample.

    Args:
        canvases: where the tokens lie.
        q, k, v: ``[tokens, heads, head_width]``.
        attend: takes them as ``[samples, heads, tokens, head_width]``.

    Returns:
        ``[tokens, heads * head_width]``.
    """
    parts = zip(*(canvases.split(each) for each in (q, k, v)), strict=True)
    answers = [attend(*(each.transpose(1, 2) for each in part)).transpose(1, 2) for part in parts]
    return canvases.join(answers).flatten(1)


def kept(table: Callable[..., Table]) -> Callable[..., Table]:
    """Keep the last tables that were asked for, except in an exported graph, where sizes are unknowns."""
    # They are used in training, too, whoever asked for them first: hence no inference mode.
    known = lru_cache(maxsize=256)(torch.inference_mode(False)(table))

    @wraps(table)
    def find(*sizes: Any) -> Table:
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

    def forward(self, x: Tensor, canvases: Canvases, rotation: Rotation | None) -> Tensor:
        """``x`` and the result: ``[tokens, width]``."""
        q, k, v = self.qkv(x).view(len(x), 3, self.heads, -1).unbind(1)
        q, k = (F.rms_norm(part, part.shape[-1:]) for part in (q, k))
        if rotation is not None:
            q, k = rotate(q, rotation), rotate(k, rotation)
        return self.out(attention_within(canvases, q, k, v, F.scaled_dot_product_attention))


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

    def forward(self, x: Tensor, canvases: Canvases) -> Tensor:
        """``x`` and the result: ``[tokens, width]``."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        inner = F.silu(gate) * up
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

    def forward(self, x: Tensor, canvases: Canvases, rotation: Rotation | None) -> Tensor:
        """``x`` and the result: ``[tokens, width]``."""
        x = x + self.attention(self.attention_norm(x), canvases, rotation)
        return x + self.feed_forward(self.feed_forward_norm(x), canvases)


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

    def forward(self, x: Tensor, canvases: Canvases) -> Tensor:
        """``x`` and the result: ``[tokens, width]``."""
        x = self.norm1(x + self._drop(self._attend(x, canvases)))
        inner = self._drop(F.relu(self.linear1(x)))
        return self.norm2(x + self._drop(self.linear2(inner)))

    def _attend(self, x: Tensor, canvases: Canvases) -> Tensor:
        projected = F.linear(x, self.self_attn.in_proj_weight, self.self_attn.in_proj_bias)
        q, k, v = projected.view(len(x), 3, self.heads, -1).unbind(1)
        attend = partial(attend_with_dropout, rate=self.rate if self.training else 0.0)
        return self.self_attn.out_proj(attention_within(canvases, q, k, v, attend))

    def _drop(self, x: Tensor) -> Tensor:
        return drop(x, self.rate) if self.training else x


class _Projections(nn.Module):
    """Attention's parameters under the names and with the initial values of torch's."""

    def __init__(self, width: int):
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)


def sinusoids(positions: int, width: int, device: torch.device | None = None) -> Tensor:
    """Fixed absolute positions ``[positions, width]``: sine on even channels, cosine on odd.

    Vaswani et al. 2017, Attention is all you need, section 3.5 (base 10,000).
    """
    angle = torch.arange(positions)[:, None] * torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    return torch.stack([angle.sin(), angle.cos()], dim=-1).reshape(positions, width).to(device)
