"""Dropout on a CPU: of activations, and of attention weights without storing an attention matrix.

torch has no fused CPU kernel for attention with dropout. It writes every attention matrix of the batch several
times, draws one random number at a time, and keeps all of it for the gradients: at 900 tokens that is most of
a step's time and many gigabytes.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# Rows of one attention matrix, and numbers of several matrices, in a block that fits a core's cache.
ROWS = 225
CELLS = ROWS * 900


def attend_with_dropout(q: Tensor, k: Tensor, v: Tensor, rate: float) -> Tensor:
    """Attention of ``[batch, num_heads, tokens, head_size]`` with dropout of its weights."""
    if rate == 0 or q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v, dropout_p=rate)
    seed = int(torch.randint(2**62, (1,)))
    mixed: Tensor = DroppedAttention.apply(  # type: ignore[no-untyped-call]
        q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1), rate, seed
    )
    return mixed.view_as(v)


def drop(x: Tensor, rate: float) -> Tensor:
    """Dropout; on a CPU one 64-bit random number serves four elements, because torch's dropout takes longer than
    a layer's matrix products.
    """
    if rate == 0 or x.device.type != "cpu":
        return F.dropout(x, rate)
    cut, scale = _cut(rate)
    draws = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    kept = draws.view(torch.int16)[: x.numel()].view(x.shape) >= cut
    return (x * kept).mul_(scale)


def _cut(rate: float) -> tuple[int, float]:
    """The 16-bit threshold below which an element is dropped, and the scale of the kept elements."""
    # At least one element in 65,536 is kept, so that the scale is finite.
    dropped = min(round(rate * 2**16), 2**16 - 1)
    return dropped - 2**15, 1 / (1 - dropped / 2**16)


class DroppedAttention(torch.autograd.Function):
    """Attention with dropout, computed in blocks of rows or heads that stay in the cache.

    Backward recomputes the weights from q and k, and the dropout mask from its seed (the recomputation of Dao
    et al. 2022, FlashAttention, with blocks of whole rows).
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, rate: float, seed: int) -> Tensor:
        """``q``, ``k``: ``[n, tokens, head_size]``; ``v`` and the result: ``[n, tokens, any]``."""
        ctx.save_for_backward(q, k, v)
        ctx.rate, ctx.seed = rate, seed
        mixed = torch.empty_like(v, memory_format=torch.contiguous_format)
        scratch = _Scratch(q, rate, seed)
        for heads, rows in scratch.blocks:
            weights, kept = scratch.weights(q[heads][..., rows, :], k[heads])
            torch.matmul(weights.mul_(kept), v[heads], out=mixed[heads][..., rows, :])
        return mixed.mul_(scratch.scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        q, k, v = ctx.saved_tensors
        grad = grads[0]
        grad_q, grad_k, grad_v = (torch.zeros_like(t, memory_format=torch.contiguous_format) for t in (q, k, v))
        scratch = _Scratch(q, ctx.rate, ctx.seed)
        buffer = torch.empty_like(scratch.buffer)
        for heads, rows in scratch.blocks:
            asked, given = q[heads][..., rows, :], grad[heads][..., rows, :]
            weights, kept = scratch.weights(asked, k[heads])
            inner = buffer[: weights.numel()].view_as(weights)
            # The gradient of the weights before dropout, ...
            torch.matmul(given, v[heads].mT, out=inner).mul_(kept)
            # ... and of the scores before the softmax.
            inner.mul_(scratch.scale)
            inner.sub_(torch.linalg.vecdot(inner, weights).unsqueeze(-1)).mul_(weights)
            torch.matmul(inner, k[heads], out=grad_q[heads][..., rows, :])
            _add_product(grad_k[heads], inner.mT, asked)
            _add_product(grad_v[heads], weights.mul_(kept).mT, given)
        scale_qk = q.shape[-1] ** -0.5
        return grad_q.mul_(scale_qk), grad_k.mul_(scale_qk), grad_v.mul_(scratch.scale), None, None


def _add_product(total: Tensor, one: Tensor, other: Tensor) -> None:
    """Add a product of two matrices, or a batch of products, to ``total``."""
    if total.ndim == 2:
        total.addmm_(one, other)
    else:
        total.baddbmm_(one, other)


class _Scratch:
    """Buffers for the weights and the dropout mask of a block, reused for each block.

    Attributes:
        blocks: the heads and rows of each block: a few rows of one large matrix, or many small matrices.
        buffer: room for the weights of a block.
        scale: scale of the kept weights.
    """

    def __init__(self, q: Tensor, rate: float, seed: int):
        count, tokens, width = q.shape
        rows = min(tokens, ROWS)
        heads = max(1, CELLS // (rows * tokens))
        self.blocks: list[tuple[int | slice, slice]] = [
            (first if heads == 1 else slice(first, min(first + heads, count)), slice(start, min(start + rows, tokens)))
            for first in range(0, count, heads)
            for start in range(0, tokens, rows)
        ]
        self._scale_qk = width**-0.5
        self._generator = torch.Generator().manual_seed(seed)
        self._cut, self.scale = _cut(rate)
        room = min(heads, count) * rows * tokens
        self._draws = torch.empty((room + 3) // 4, dtype=torch.int64)
        self.buffer = torch.empty(room, dtype=q.dtype)
        # In the weights' type: a product with a boolean mask would convert it each time.
        self._kept = torch.empty(room, dtype=q.dtype)

    def weights(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Weights ``[..., rows, tokens]`` before dropout, and the mask of those that are kept."""
        shape = (*q.shape[:-1], k.shape[-2])
        count = math.prod(shape)
        weights, kept = self.buffer[:count].view(shape), self._kept[:count].view(shape)
        torch.matmul(q * self._scale_qk, k.mT, out=weights)
        torch.softmax(weights, dim=-1, out=weights)
        draws = self._draws[: (count + 3) // 4].random_(-(2**63), None, generator=self._generator)
        torch.ge(draws.view(torch.int16)[:count].view(shape), self._cut, out=kept)
        return weights, kept
