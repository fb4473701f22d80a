"""A block's passes over memory, with gradients by hand: RMSNorm, the rotation of queries and keys, and the gate.

On a CPU, torch computes the gradients of these functions in many operations, each of which reads and writes all
activations. Here each function goes through the tokens in parts that stay in a core's cache, and its gradient fills
one tensor. Norms and their gradients are computed in single precision whatever the activations are in.

On other devices, in exported and compiled graphs, and in double precision, the plain form is used. It is the
definition that tests compare with.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# Cosines and sines [tokens, 1, head_size / 2] of the rotary angles.
Rotation = tuple[Tensor, Tensor]
# As in torch.nn.RMSNorm.
EPSILON = torch.finfo(torch.float32).eps
# Numbers of one part: with what is computed from them they fit the cache of a core.
PART = 1 << 19
LOW = (torch.bfloat16, torch.float16)


def rms_norm(x: Tensor, weight: Tensor | None = None, eps: float = EPSILON, dtype: torch.dtype | None = None) -> Tensor:
    """RMSNorm (Zhang and Sennrich 2019) over the last dimension of ``x`` ``[tokens, channels]``."""
    return add_rms_norm(x, None, weight, eps, dtype)[1]


def add_rms_norm(
    x: Tensor, update: Tensor | None, weight: Tensor | None, eps: float = EPSILON, dtype: torch.dtype | None = None
) -> tuple[Tensor, Tensor]:
    """A residual sum, and its RMSNorm.

    Args:
        x: ``[tokens, channels]``.
        update: is added to ``x``; None: nothing is.
        weight: of each channel; None: no weights.
        eps: is added to the mean of the squares.
        dtype: of the norm; None: as ``x``.

    Returns:
        the sum, as ``x``, and its norm.
    """
    if not _by_hand(x):
        total = x if update is None else x + update
        # Autocast on a GPU would make it single precision, unlike on a CPU.
        return total, F.rms_norm(total, total.shape[-1:], weight, eps).to(dtype or x.dtype)
    total, normed = _AddNorm.apply(x, update, weight, eps, dtype or x.dtype)  # type: ignore[no-untyped-call]
    return (x if update is None else total), normed


def linear_dtype(x: Tensor) -> torch.dtype:
    """The precision in which linear layers compute on the device of ``x``: autocast's where it is on."""
    kind = x.device.type
    is_on = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return torch.get_autocast_dtype(kind) if is_on else x.dtype


def split_heads(
    qkv: Tensor, num_heads: int, rotation: Rotation | None, normalize: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of attention from their joint product.

    Args:
        qkv: ``[tokens, 3 * num_heads * head_size]``.
        num_heads: attention heads.
        rotation: rotary angles of each token, by which channels (i, i + head_size / 2) of queries and keys are
            rotated; None: they are not.
        normalize: whether queries and keys are normalized (RMSNorm) before that.

    Returns:
        queries, keys and values, each ``[tokens, num_heads, head_size]``.
    """
    heads = qkv.view(len(qkv), 3, num_heads, -1)
    if _by_hand(qkv):
        return _Heads.apply(heads, *(rotation or (None, None)), normalize)  # type: ignore[no-untyped-call]
    q, k, v = heads.unbind(1)
    dtype = q.dtype
    # At least in single precision, as the gradients by hand are.
    q, k = (part.to(torch.promote_types(dtype, torch.float32)) for part in (q, k))
    if normalize:
        q, k = (F.rms_norm(part, part.shape[-1:]) for part in (q, k))
    if rotation is not None:
        q, k = rotate(q, rotation), rotate(k, rotation)
    return q.to(dtype), k.to(dtype), v


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Rotate the channel pairs (i, i + half) of ``x`` ``[..., tokens, head_size]``."""
    cos, sin = (part.to(x.dtype) for part in rotation)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def silu_gate(gate_up: Tensor) -> Tensor:
    """The second half of the channels, times SiLU of the first half: ``[tokens, 2 * inner]`` to ``[tokens, inner]``."""
    if _by_hand(gate_up):
        return _Gate.apply(gate_up)  # type: ignore[no-untyped-call]
    gate, up = gate_up.chunk(2, dim=-1)
    return F.silu(gate) * up


def _by_hand(x: Tensor) -> bool:
    """Whether the gradients of this module are for this tensor."""
    return (
        x.device.type == "cpu"
        and x.ndim == 2
        and x.dtype in (torch.float32, *LOW)
        and not torch.compiler.is_compiling()
        and not torch.compiler.is_exporting()
    )


def _parts(x: Tensor) -> Iterator[slice]:
    """Slices of the tokens of ``x`` ``[tokens, ...]``."""
    tokens = max(1, PART // max(1, x[:1].numel()))
    for start in range(0, len(x), tokens):
        yield slice(start, start + tokens)


def _scale(x: Tensor, eps: float) -> Tensor:
    """The factor ``[..., 1]`` of RMSNorm over the last dimension, in single precision."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    return norm.square_().div_(x.shape[-1]).add_(eps).rsqrt_()


def _norm_gradient(grad: Tensor, normed: Tensor, scale: Tensor) -> Tensor:
    """The gradient of RMSNorm's input; ``grad`` is of its result, which is ``normed``, and is overwritten."""
    along = torch.linalg.vecdot(grad, normed).unsqueeze(-1).div_(grad.shape[-1])
    return grad.addcmul_(normed, along, value=-1).mul_(scale)


class _AddNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, update: Tensor | None, weight: Tensor | None, eps: float, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        total = x if update is None else torch.empty_like(x)
        normed = torch.empty_like(x, dtype=dtype)
        scales = []
        for part in _parts(x):
            one = x[part] if update is None else torch.add(x[part], update[part], out=total[part])
            scales.append(_scale(one, eps))
            if weight is None:
                torch.mul(one, scales[-1], out=normed[part])
            else:
                torch.mul(one * scales[-1], weight, out=normed[part])
        ctx.save_for_backward(total, weight, torch.cat(scales))
        ctx.update = None if update is None else update.dtype
        ctx.set_materialize_grads(False)
        if update is None:
            # The sum is x itself, and autograd does not allow to return an input as an output.
            total = x.new_empty(0)
            ctx.mark_non_differentiable(total)
        return total, normed

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        total, weight, scales = ctx.saved_tensors
        grad_total, grad_normed = grads
        if ctx.update is None:
            grad_total = None
        if grad_normed is None:
            return grad_total, None if grad_total is None else grad_total.to(ctx.update), None, None, None
        result = torch.empty_like(total)
        grad_weight = None if weight is None else torch.zeros_like(weight, dtype=torch.float32)
        for part in _parts(total):
            scale, grad = scales[part], grad_normed[part].to(torch.float32, copy=True)
            normed = total[part] * scale
            if grad_weight is not None:
                grad_weight += torch.linalg.vecdot(grad, normed, dim=0)
                grad.mul_(weight)
            grad = _norm_gradient(grad, normed, scale)
            torch.add(grad, 0 if grad_total is None else grad_total[part], out=result[part])
        return result, None if ctx.update is None else result.to(ctx.update), grad_weight, None, None


class _Heads(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, qkv: Tensor, cos: Tensor | None, sin: Tensor | None, normalize: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = (torch.empty_like(qkv[:, 0], memory_format=torch.contiguous_format) for _ in range(3))
        scales: list[tuple[Tensor, Tensor]] = []
        for part in _parts(qkv):
            v[part] = qkv[part, 2]
            both = []
            for place, out in ((0, q), (1, k)):
                x = qkv[part, place]
                if normalize:
                    both.append(_scale(x, EPSILON))
                    x = x * both[-1]
                _turn(x, cos, sin, part, 1, out[part])
            if normalize:
                scales.append((both[0], both[1]))
        kept = [torch.cat(each) for each in zip(*scales, strict=True)]
        ctx.save_for_backward(qkv, cos, sin, *kept)
        return q, k, v

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        qkv, cos, sin, *scales = ctx.saved_tensors
        result = torch.empty_like(qkv)
        for part in _parts(qkv):
            result[part, 2] = grads[2][part]
            for place in (0, 1):
                if not scales:
                    _turn(grads[place][part], cos, sin, part, -1, result[part, place])
                    continue
                scale = scales[place][part]
                grad = torch.empty_like(scale.expand(-1, -1, qkv.shape[-1]), memory_format=torch.contiguous_format)
                _turn(grads[place][part], cos, sin, part, -1, grad)
                result[part, place] = _norm_gradient(grad, qkv[part, place] * scale, scale)
        return result, None, None, None


def _turn(x: Tensor, cos: Tensor | None, sin: Tensor | None, part: slice, way: int, out: Tensor) -> None:
    """Rotate a part of the tokens, forwards (1) or backwards (-1), into ``out``."""
    if cos is None or sin is None:
        out.copy_(x)
        return
    first, second = x.chunk(2, dim=-1)
    to_first, to_second = out.chunk(2, dim=-1)
    torch.mul(first, cos[part], out=to_first).addcmul_(second, sin[part], value=-way)
    torch.mul(second, cos[part], out=to_second).addcmul_(first, sin[part], value=way)


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate_up: Tensor) -> Tensor:
        ctx.save_for_backward(gate_up)
        result = gate_up.new_empty(len(gate_up), gate_up.shape[1] // 2)
        for part in _parts(gate_up):
            gate, up = gate_up[part].chunk(2, dim=-1)
            torch.mul(F.silu(gate), up, out=result[part])
        return result

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (gate_up,) = ctx.saved_tensors
        result = torch.empty_like(gate_up)
        for part in _parts(gate_up):
            grad = grads[0][part]
            gate, up = gate_up[part].chunk(2, dim=-1)
            grad_gate, grad_up = result[part].chunk(2, dim=-1)
            torch.mul(grad, F.silu(gate), out=grad_up)
            torch.ops.aten.silu_backward.grad_input(grad * up, gate, grad_input=grad_gate)
        return result
