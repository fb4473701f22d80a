"""Attention within each sample of several canvases, by the fastest way of the device.

That is torch's fused attention in general. On a CPU in bfloat16 its gradients are slow, so :class:`StoredAttention`
keeps the attention weights and computes the gradients by products; and without gradients it is slow for odd lengths, so
samples are padded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hrm_arc.models.canvases import Canvases
from hrm_arc.models.dropout import attend_with_dropout

# Numbers of the scores that are computed at once: they fit the cache of a core.
ROOM = 1 << 21
# Weights of a layer that are kept for the gradients; of more they are computed again. 128 MiB.
MOST_STORED = 1 << 26
# Samples of up to this many tokens are so quick that a block is padded with samples that do not exist.
SMALL = 64
# In bfloat16 torch's fused attention takes up to twice as long for lengths that are no multiple of it.
ALIGNMENT = 32


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
        layout = layout_of(sizes, len(q), q.shape[1])
        mixed: Tensor = StoredAttention.apply(q, k, v, layout)  # type: ignore[no-untyped-call]
        return mixed.flatten(1)
    parts = zip(canvases.split(q), canvases.split(k), canvases.split(v), strict=True)
    answers = [_attend(*part, dropout) for part in parts]
    return canvases.join(answers).flatten(1)


def _attend(q: Tensor, k: Tensor, v: Tensor, dropout: float) -> Tensor:
    """Attention of ``[samples, tokens, num_heads, head_size]``."""
    mask, tokens = None, q.shape[1]
    empty = 0 if dropout or not _is_bf16_on_cpu(q) else -tokens % ALIGNMENT
    if empty:
        q, k, v = (F.pad(each, (0, 0, 0, 0, 0, empty)) for each in (q, k, v))
        mask = q.new_zeros(1, 1, 1, tokens + empty)
        mask[..., tokens:] = -torch.inf
    q, k, v = (each.transpose(1, 2) for each in (q, k, v))
    mixed = attend_with_dropout(q, k, v, dropout) if dropout else F.scaled_dot_product_attention(q, k, v, mask)
    return mixed.transpose(1, 2)[:, :tokens]


def _stored(q: Tensor) -> bool:
    """Whether :class:`StoredAttention` is the fastest way for these queries."""
    return _is_bf16_on_cpu(q) and torch.is_grad_enabled()


def _is_bf16_on_cpu(q: Tensor) -> bool:
    """Whether this is attention in bfloat16 on a CPU, outside of a graph that is made for other batches."""
    graph = torch.compiler.is_compiling() or torch.compiler.is_exporting()
    return q.device.type == "cpu" and q.dtype == torch.bfloat16 and not graph


@dataclass(frozen=True)
class Block:
    """Samples of about the same number of tokens, whose scores are computed at once.

    Attributes:
        samples: their number, padded.
        tokens: of a sample, padded.
        lengths: for each run of samples with equally many tokens the first sample, the one after the last, and the
            tokens.
    """

    samples: int
    tokens: int
    lengths: tuple[tuple[int, int, int], ...]

    def mask(self, scores: Tensor) -> None:
        """Nothing attends to padding; ``scores``: ``[samples * heads, tokens, tokens]``."""
        heads = len(scores) // self.samples
        for first, end, length in self.lengths:
            if length < self.tokens:
                scores[first * heads : end * heads, :, length:] = -torch.inf


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the tokens of several canvases lie in blocks.

    A row is one head of one token. In a block the rows of a sample's head follow each other.

    Attributes:
        blocks: the blocks, one after the other.
        rows: for each row of the blocks its row among the tokens; 0 for padding.
        empty: the rows of the blocks that are padding.
        back: for each row of the samples' tokens its row in the blocks.
        tokens: the number of tokens, with those that belong to no sample.
        heads: attention heads.
    """

    blocks: tuple[Block, ...]
    rows: Tensor
    empty: Tensor
    back: Tensor
    tokens: int
    heads: int

    def gather(self, x: Tensor) -> Tensor:
        """The rows of the blocks: ``[tokens, heads, head_size]`` to ``[rows, head_size]``."""
        return x.reshape(-1, x.shape[-1]).index_select(0, self.rows)

    def scatter(self, rows: Tensor) -> Tensor:
        """The inverse of :meth:`gather`, with zeros for tokens that belong to no sample."""
        out = rows.new_empty(self.tokens * self.heads, rows.shape[-1])
        torch.index_select(rows, 0, self.back, out=out[: len(self.back)])
        out[len(self.back) :] = 0
        return out.view(self.tokens, self.heads, -1)

    def split(self, *rows: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """For each block its part of every ``rows``, as ``[samples * heads, tokens, head_size]``."""
        start = 0
        for block in self.blocks:
            batch = block.samples * self.heads
            end = start + batch * block.tokens
            yield tuple(part[start:end].view(batch, block.tokens, -1) for part in rows)
            start = end

    @property
    def weights(self) -> int:
        """The number of attention weights."""
        return sum(block.samples * self.heads * block.tokens**2 for block in self.blocks)


def padded_sample(tokens: int) -> int:
    """The length at which a sample is computed: one of few, because a new size costs the library milliseconds."""
    for limit, step in ((64, 16), (256, 32), (512, 64)):
        if tokens <= limit:
            return -(-tokens // step) * step
    return -(-tokens // 128) * 128


@lru_cache(maxsize=64)
def layout_of(sizes: tuple[tuple[int, int], ...], tokens: int, heads: int) -> Layout:
    """The layout of a sequence of canvases.

    Args:
        sizes: number of samples, and tokens of a sample, for each canvas.
        tokens: the number of all tokens.
        heads: attention heads.
    """
    alike: dict[int, list[tuple[int, int]]] = {}
    start = 0
    for count, length in sizes:
        samples = alike.setdefault(padded_sample(length), [])
        samples += [(start + n * length, length) for n in range(count)]
        start += count * length
    blocks: list[Block] = []
    rows: list[np.ndarray] = []
    for length, samples in alike.items():
        for size, part in _cut(samples, length, max(1, ROOM // (heads * length**2))):
            firsts, lengths = np.zeros(size, np.int64), np.zeros(size, np.int64)
            firsts[: len(part)], lengths[: len(part)] = np.array(part).T
            token = firsts[:, None] + np.arange(length)
            row = token[:, None] * heads + np.arange(heads)[:, None]
            rows.append(np.where(np.arange(length) < lengths[:, None, None], row, -1).ravel())
            blocks.append(Block(size, length, _runs(part)))
    joined = np.concatenate(rows)
    is_row = joined >= 0
    back = np.empty(start * heads, np.int64)
    back[joined[is_row]] = np.nonzero(is_row)[0]
    there, empty = np.where(is_row, joined, 0), np.nonzero(~is_row)[0]
    return Layout(
        tuple(blocks), torch.from_numpy(there), torch.from_numpy(empty), torch.from_numpy(back), tokens, heads
    )


def _cut(samples: list[tuple[int, int]], length: int, most: int) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Cut samples of about one length into blocks of 1, 2, 4, ... and no more than ``most``; the last may be padded."""
    left = samples
    while left:
        size = 1 << (min(most, len(left)).bit_length() - 1)
        if length <= SMALL and size < len(left) and 2 * size <= most:
            size *= 2
        yield size, left[:size]
        left = left[size:]


def _runs(samples: list[tuple[int, int]]) -> tuple[tuple[int, int, int], ...]:
    """Runs of samples with equally many tokens: the first, the one after the last, the tokens."""
    runs: list[tuple[int, int, int]] = []
    for n, (_, length) in enumerate(samples):
        if runs and runs[-1][2] == length:
            runs[-1] = (runs[-1][0], n + 1, length)
        else:
            runs.append((n, n + 1, length))
    return tuple(runs)


class StoredAttention(torch.autograd.Function):
    """Attention of several canvases whose weights are kept for the gradients, or computed again if they are many."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, layout: Layout) -> Tensor:
        """``q``, ``k``, ``v`` and the result: ``[tokens, num_heads, head_size]``."""
        ctx.layout = layout
        scaled, keys, values = layout.gather(q).mul_(q.shape[-1] ** -0.5), layout.gather(k), layout.gather(v)
        mixed = torch.empty_like(values)
        weights: list[Tensor] = []
        for block, (a, b, c, out) in zip(layout.blocks, layout.split(scaled, keys, values, mixed), strict=True):
            kept = _weights(block, a, b)
            torch.bmm(kept, c, out=out)
            weights.append(kept)
        keep = any(ctx.needs_input_grad) and layout.weights <= MOST_STORED
        ctx.save_for_backward(scaled, keys, values, *(weights if keep else ()))
        return layout.scatter(mixed)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        layout: Layout = ctx.layout
        scaled, keys, values, *kept = ctx.saved_tensors
        # Padding has no gradient.
        grad_mixed = layout.gather(grads[0]).index_fill_(0, layout.empty, 0)
        grad_q, grad_k, grad_v = (torch.empty_like(values) for _ in range(3))
        rows = layout.split(scaled, keys, values, grad_mixed, grad_q, grad_k, grad_v)
        for n, (a, b, c, grad, out_q, out_k, out_v) in enumerate(rows):
            weights = kept[n] if kept else _weights(layout.blocks[n], a, b)
            torch.bmm(weights.mT, grad, out=out_v)
            scores = torch.bmm(grad, c.mT)
            torch._softmax_backward_data(scores, weights, -1, weights.dtype, grad_input=scores)
            torch.bmm(scores, b, out=out_q)
            torch.bmm(scores.mT, a, out=out_k)
        grad_q.mul_(values.shape[-1] ** -0.5)
        scatter = layout.scatter
        return scatter(grad_q), scatter(grad_k), scatter(grad_v), None


def _weights(block: Block, scaled: Tensor, keys: Tensor) -> Tensor:
    """The attention weights of a block's samples, ``[samples * num_heads, tokens, tokens]``."""
    scores = torch.bmm(scaled, keys.mT)
    block.mask(scores)
    return torch.softmax(scores, dim=-1, out=scores)
