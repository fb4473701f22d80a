"""Dropout on a CPU: of activations, and of attention's weights without storing an attention matrix.

torch has no fused kernel for the latter on a CPU. It writes out every matrix of the batch several
times, draws one random number after another, and keeps all of it for the gradients: at 900
tokens that is most of a step's time and many gigabytes.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# Rows of one attention matrix that are worked on at once, and cells of several: they fit a core's cache.
ROWS = 225
CELLS = ROWS * 900


def attend_with_dropout(q: Tensor, k: Tensor, v: Tensor, rate: float) -> Tensor:
    """Attention of ``[batch, heads, tokens, head_width]`` with dropout on its weights."""
    if rate == 0 or q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v, dropout_p=rate)
    seed = int(torch.randint(2**62, (1,)))
    mixed: Tensor = DroppedAttention.apply(  # type: ignore[no-untyped-call]
        q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1), rate, seed
    )
    return mixed.view_as(v)


def drop(x: Tensor, rate: float) -> Tensor:
    """Dropout; on a CPU one draw serves four numbers, where torch's takes longer than a layer's products."""
    if rate == 0 or x.device.type != "cpu":
        return F.dropout(x, rate)
    cut, scale = _cut(rate)
    draws = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    kept = draws.view(torch.int16)[: x.numel()].view(x.shape) >= cut
    return (x * kept).mul_(scale)


def _cut(rate: float) -> tuple[int, float]:
    """Below which 16-bit number to drop, and what makes up for it: a 64-bit draw is four of them."""
    dropped = round(rate * 2**16)
    return dropped - 2**15, 1 / (1 - dropped / 2**16)


class DroppedAttention(torch.autograd.Function):
    """As many rows or heads at a time as stay in the cache, in buffers that are used over and over.

    Backward computes the weights again from q and k, and draws the same dropout again from
    its seed (the recomputation of Dao et al. 2022, FlashAttention, with blocks of whole rows).
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, rate: float, seed: int) -> Tensor:
        """``q``, ``k``: ``[n, tokens, head_width]``; ``v`` and the result: ``[n, tokens, any]``."""
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
            # Through the product with v and the dropout, to the weights before it ...
            torch.matmul(given, v[heads].mT, out=inner).mul_(kept)
            # ... and through the softmax, to the scores.
            inner.mul_(scratch.scale)
            inner.sub_(torch.linalg.vecdot(inner, weights).unsqueeze(-1)).mul_(weights)
            torch.matmul(inner, k[heads], out=grad_q[heads][..., rows, :])
            _add_product(grad_k[heads], inner.mT, asked)
            _add_product(grad_v[heads], weights.mul_(kept).mT, given)
        softener = q.shape[-1] ** -0.5
        return grad_q.mul_(softener), grad_k.mul_(softener), grad_v.mul_(scratch.scale), None, None


def _add_product(total: Tensor, one: Tensor, other: Tensor) -> None:
    """Add a product of matrices, or of as many as there are, to ``total``."""
    if total.ndim == 2:
        total.addmm_(one, other)
    else:
        total.baddbmm_(one, other)


class _Scratch:
    """Buffers for a block of weights and its dropout mask, filled anew for each in turn.

    Attributes:
        blocks: which heads and rows of them are worked on at once: a few rows of one long head,
            or many short heads.
        buffer: room for the weights of a block.
        scale: what makes up for what is dropped.
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
        self._softener = width**-0.5
        self._generator = torch.Generator().manual_seed(seed)
        self._cut, self.scale = _cut(rate)
        room = min(heads, count) * rows * tokens
        self._draws = torch.empty((room + 3) // 4, dtype=torch.int64)
        self.buffer = torch.empty(room, dtype=q.dtype)
        # Ones and zeros of the weights' own kind: products with truth values would turn them into such each time.
        self._kept = torch.empty(room, dtype=q.dtype)

    def weights(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Weights ``[..., rows, tokens]`` before dropout, and which of them are kept."""
        shape = (*q.shape[:-1], k.shape[-2])
        count = math.prod(shape)
        weights, kept = self.buffer[:count].view(shape), self._kept[:count].view(shape)
        torch.matmul(q * self._softener, k.mT, out=weights)
        torch.softmax(weights, dim=-1, out=weights)
        draws = self._draws[: (count + 3) // 4].random_(-(2**63), None, generator=self._generator)
        torch.ge(draws.view(torch.int16)[:count].view(shape), self._cut, out=kept)
        return weights, kept
