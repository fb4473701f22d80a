"""HRM and TRM once more, written plainly from their papers for the tests: loops over layers, nothing shared."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = Mapping[str, Tensor]


def made_weights(
    kind: str,
    tokens: int,
    *,
    hidden: int = 16,
    rows: int = 1,
    positions: int = 0,
    mixed: int = 0,
    seed: int = 0,
) -> dict[str, Tensor]:
    """A state dict as the published trainers save it: one layer a level, random weights.

    Args:
        kind: ``hrm`` or ``trm``.
        tokens: size of the vocabulary.
        hidden: hidden size.
        rows: of the puzzle embedding; 0: there is none.
        positions: of a learned table of positions; 0: there is none.
        mixed: positions that TRM's feed-forward mixes; 0: attention.
        seed: of the weights.
    """
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random) * 0.3

    state = {
        "embed_tokens.embedding_weight": normal(tokens, hidden),
        "lm_head.weight": normal(tokens, hidden),
        "q_head.weight": normal(2, hidden),
        "q_head.bias": normal(2),
        "H_init": normal(hidden),
        "L_init": normal(hidden),
    }
    if rows:
        state["puzzle_emb.weights"] = normal(rows, hidden)
    if positions:
        state["embed_pos.embedding_weight"] = normal(positions, hidden)
    for level in ("H_level", "L_level") if kind == "hrm" else ("L_level",):
        layer = f"{level}.layers.0."
        if mixed:
            state[f"{layer}mlp_t.gate_up_proj.weight"] = normal(2 * _inner(mixed), mixed)
            state[f"{layer}mlp_t.down_proj.weight"] = normal(mixed, _inner(mixed))
        else:
            state[f"{layer}self_attn.qkv_proj.weight"] = normal(3 * hidden, hidden)
            state[f"{layer}self_attn.o_proj.weight"] = normal(hidden, hidden)
        state[f"{layer}mlp.gate_up_proj.weight"] = normal(2 * _inner(hidden), hidden)
        state[f"{layer}mlp.down_proj.weight"] = normal(hidden, _inner(hidden))
    return {f"_orig_mod.model.inner.{name}": tensor for name, tensor in state.items()}


def _inner(size: int) -> int:
    """The inner size of a feed-forward: four times two thirds, rounded up to a multiple of 256."""
    return math.ceil(round(4 * size * 2 / 3) / 256) * 256


def answer(
    kind: str,
    state: Weights,
    inputs: Tensor,
    rows: Tensor,
    *,
    heads: int,
    length: int,
    rotary: bool = True,
    segments: int = 1,
    h_cycles: int = 2,
    l_cycles: int = 2,
) -> Tensor:
    """Logits ``[n, cells, tokens]`` after some segments.

    Args:
        kind: ``hrm`` or ``trm``.
        state: the state dict of a checkpoint.
        inputs: in the model's own tokens, ``[n, cells]``.
        rows: of the puzzle embedding, ``[n]``.
        heads: attention heads.
        length: tokens in front of the cells.
        rotary: whether positions are rotary.
        segments, h_cycles, l_cycles: how often the levels run.
    """
    w = {name.removeprefix("_orig_mod.model.inner."): tensor for name, tensor in state.items()}
    tokens = w["embed_tokens.embedding_weight"][inputs]
    if length:
        front = torch.zeros(len(inputs), length, tokens.shape[-1])
        front[:, 0] = w["puzzle_emb.weights"][rows]
        tokens = torch.cat([front, tokens], dim=1)
    if "embed_pos.embedding_weight" in w:
        tokens = 0.707106781 * (tokens + w["embed_pos.embedding_weight"])
    tokens = math.sqrt(tokens.shape[-1]) * tokens
    slow_level = "H_level" if kind == "hrm" else "L_level"
    slow, fast = w["H_init"].expand_as(tokens), w["L_init"].expand_as(tokens)
    for _ in range(segments * h_cycles):
        for _ in range(l_cycles):
            fast = _level(w, "L_level", fast + slow + tokens, heads, rotary)
        slow = _level(w, slow_level, slow + fast, heads, rotary)
    return slow[:, length:] @ w["lm_head.weight"].T


def _level(w: Weights, level: str, x: Tensor, heads: int, rotary: bool) -> Tensor:
    layer = 0
    while f"{level}.layers.{layer}.mlp.down_proj.weight" in w:
        name = f"{level}.layers.{layer}."
        if f"{name}mlp_t.down_proj.weight" in w:
            turned = x.transpose(1, 2)
            x = _norm(turned + _swiglu(w, f"{name}mlp_t.", turned)).transpose(1, 2)
        else:
            x = _norm(x + _attention(w, f"{name}self_attn.", x, heads, rotary))
        x = _norm(x + _swiglu(w, f"{name}mlp.", x))
        layer += 1
    return x


def _norm(x: Tensor) -> Tensor:
    return x / (x.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()


def _swiglu(w: Weights, name: str, x: Tensor) -> Tensor:
    gate, up = (x @ w[f"{name}gate_up_proj.weight"].T).chunk(2, dim=-1)
    return (F.silu(gate) * up) @ w[f"{name}down_proj.weight"].T


def _attention(w: Weights, name: str, x: Tensor, heads: int, rotary: bool) -> Tensor:
    samples, length, hidden = x.shape
    parts = (x @ w[f"{name}qkv_proj.weight"].T).view(samples, length, 3, heads, hidden // heads)
    query, key, value = (parts[:, :, n].transpose(1, 2) for n in range(3))
    if rotary:
        query, key = _rotated(query), _rotated(key)
    scores = query @ key.transpose(2, 3) / math.sqrt(hidden // heads)
    mixed = (scores.softmax(dim=-1) @ value).transpose(1, 2).reshape(samples, length, hidden)
    return mixed @ w[f"{name}o_proj.weight"].T


def _rotated(x: Tensor) -> Tensor:
    """Channels (i, i + half) of position p, rotated by p / 10000^(i / half)."""
    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[-2])[:, None] / 10_000 ** (torch.arange(half) / half)
    first, second = x[..., :half], x[..., half:]
    turned = (first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin())
    return torch.cat(turned, dim=-1)
