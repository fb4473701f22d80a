"""Attention within each sample of several canvases, by the fastest way of the device.

On a CPU in single precision and on a GPU that is torch's fused attention. On a CPU in bfloat16 the gradients of the
fused one are slow, so :class:`StoredAttention` keeps the attention weights and computes the gradients by products.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hrm_arc.models.canvases import Canvases
from hrm_arc.models.dropout import attend_with_dropout

# Numbers of the scores that are computed at once: they fit the cache of a core.
ROOM = 1 << 20
# Weights of a layer that are kept for the gradients; of more they are computed again. 64 MiB.
MOST_STORED = 1 << 25


def attention_within(canvases: Canvases, q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0) -> Tensor:
    """Attention within each sample.

    Args:
        canvases: the layout of the tokens.
        q, k, v: ``[tokens, num_heads, head_size]``.
        dropout: of the weights.

    Returns:
        ``[tokens, num_heads * head_size]``.
    """
    if dropout == 0 and _stored(q):
        sizes = tuple((count, length) for (count, _, _), length in zip(canvases.sizes, canvases.lengths, strict=True))
        mixed: Tensor = StoredAttention.apply(q, k, v, blocks_of(sizes, q.shape[1]))  # type: ignore[no-untyped-call]
        return mixed.flatten(1)
    parts = zip(canvases.split(q), canvases.split(k), canvases.split(v), strict=True)
    answers = [_attend(*part, dropout) for part in parts]
    return canvases.join(answers).flatten(1)


def _attend(q: Tensor, k: Tensor, v: Tensor, dropout: float) -> Tensor:
    """Attention of ``[samples, tokens, num_heads, head_size]``."""
    q, k, v = (each.transpose(1, 2) for each in (q, k, v))
    mixed = attend_with_dropout(q, k, v, dropout) if dropout else F.scaled_dot_product_attention(q, k, v)
    return mixed.transpose(1, 2)


def _stored(q: Tensor) -> bool:
    """Whether :class:`StoredAttention` is the fastest way for these queries."""
    graph = torch.compiler.is_compiling() or torch.compiler.is_exporting()
    return q.device.type == "cpu" and q.dtype == torch.bfloat16 and not graph


@dataclass(frozen=True)
class Block:
    """Samples of about the same number of tokens, whose scores are computed at once.

    Attributes:
        tokens: of a sample, filled up.
        parts: for each canvas the first token, the number of samples, and the tokens of a sample.
    """

    tokens: int
    parts: tuple[tuple[int, int, int], ...]

    def gather(self, x: Tensor) -> Tensor:
        """The tokens of the block's samples: ``[tokens, num_heads, head_size]`` to ``[n, tokens, head_size]``."""
        heads, size = x.shape[1:]
        samples = sum(count for _, count, _ in self.parts)
        # What is filled up has to be a number, because it is multiplied with weights of zero.
        whole = all(length == self.tokens for _, _, length in self.parts)
        gathered = (x.new_empty if whole else x.new_zeros)(samples, heads, self.tokens, size)
        for place, part in self._places(x):
            gathered[place, :, : part.shape[1]] = part.transpose(1, 2)
        return gathered.flatten(0, 1)

    def scatter(self, gathered: Tensor, out: Tensor) -> None:
        """The inverse of :meth:`gather`, into ``out``."""
        samples = gathered.view(-1, out.shape[1], *gathered.shape[1:])
        for place, part in self._places(out):
            part.copy_(samples[place, :, : part.shape[1]].transpose(1, 2))

    def mask(self, scores: Tensor, heads: int) -> None:
        """Nothing attends to what is filled up; ``scores``: ``[n, tokens, tokens]``."""
        place = 0
        for _, count, length in self.parts:
            if length < self.tokens:
                scores[place * heads : (place + count) * heads, :, length:] = -torch.inf
            place += count

    def _places(self, x: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """For each canvas its place among the block's samples, and its tokens ``[samples, tokens, heads, size]``."""
        place = 0
        for start, count, length in self.parts:
            yield slice(place, place + count), x[start : start + count * length].view(count, length, *x.shape[1:])
            place += count


def filled_up(tokens: int) -> int:
    """The length at which a sample is computed: one of few, because a new size costs the library milliseconds."""
    for limit, step in ((64, 8), (256, 16)):
        if tokens <= limit:
            return -(-tokens // step) * step
    return -(-tokens // 32) * 32


@lru_cache(maxsize=64)
def blocks_of(sizes: tuple[tuple[int, int], ...], num_heads: int) -> tuple[Block, ...]:
    """The blocks of a sequence of canvases.

    Args:
        sizes: number of samples, and tokens of a sample, for each canvas.
        num_heads: attention heads.
    """
    alike: dict[int, list[tuple[int, int, int]]] = {}
    start = 0
    for count, length in sizes:
        alike.setdefault(filled_up(length), []).append((start, count, length))
        start += count * length
    return tuple(
        Block(tokens, parts)
        for tokens, canvases in alike.items()
        for parts in _cut(canvases, max(1, ROOM // (num_heads * tokens**2)))
    )


def _cut(canvases: list[tuple[int, int, int]], most: int) -> Iterator[tuple[tuple[int, int, int], ...]]:
    """Cut canvases of one length into blocks of 1, 2, 4, ... samples, and no more than ``most``."""
    left = [(start + n * length, length) for start, count, length in canvases for n in range(count)]
    while left:
        size = 1 << (min(most, len(left)).bit_length() - 1)
        parts: list[tuple[int, int, int]] = []
        for start, length in left[:size]:
            if parts and parts[-1][2] == length and parts[-1][0] + parts[-1][1] * length == start:
                parts[-1] = (parts[-1][0], parts[-1][1] + 1, length)
            else:
                parts.append((start, 1, length))
        yield tuple(parts)
        left = left[size:]


class StoredAttention(torch.autograd.Function):
    """Attention of several canvases whose weights are kept for the gradients, or computed again if they are many."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, blocks: tuple[Block, ...]) -> Tensor:
        """``q``, ``k``, ``v`` and the result: ``[tokens, num_heads, head_size]``."""
        ctx.blocks = blocks
        heads = q.shape[1]
        mixed = torch.empty_like(v, memory_format=torch.contiguous_format)
        keep = any(ctx.needs_input_grad) and _stored_numbers(blocks, heads) <= MOST_STORED
        weights = []
        for block in blocks:
            values = block.gather(v)
            kept = _weights(block, q, k)
            block.scatter(torch.bmm(kept, values), mixed)
            if keep:
                weights.append(kept)
        ctx.save_for_backward(q, k, v, *weights)
        return mixed

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q, k, v, *kept = ctx.saved_tensors
        grad_q, grad_k, grad_v = (torch.empty_like(v, memory_format=torch.contiguous_format) for _ in range(3))
        for number, block in enumerate(ctx.blocks):
            weights = kept[number] if kept else _weights(block, q, k)
            grad = block.gather(grads[0])
            block.scatter(torch.bmm(weights.mT, grad), grad_v)
            of_weights = torch.bmm(grad, block.gather(v).mT)
            scores = torch._softmax_backward_data(of_weights, weights, -1, weights.dtype)
            block.scatter(torch.bmm(scores, block.gather(k)), grad_q)
            block.scatter(torch.bmm(scores.mT, block.gather(q)), grad_k)
        scale = q.shape[-1] ** -0.5
        return grad_q.mul_(scale), grad_k.mul_(scale), grad_v, None


def _weights(block: Block, q: Tensor, k: Tensor) -> Tensor:
    """The attention weights of a block's samples, ``[samples * num_heads, tokens, tokens]``."""
    scores = torch.bmm(block.gather(q) * q.shape[-1] ** -0.5, block.gather(k).mT)
    block.mask(scores, q.shape[1])
    return torch.softmax(scores, dim=-1, out=scores)


def _stored_numbers(blocks: tuple[Block, ...], heads: int) -> int:
    return sum(count * heads * block.tokens**2 for block in blocks for _, count, _ in block.parts)
