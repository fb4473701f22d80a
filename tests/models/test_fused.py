"""Gradients by hand are those of the plain form; attention over stored weights is torch's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hrm_arc.models import attention, fused
from hrm_arc.models.attention import attention_within, blocks_of, filled_up
from hrm_arc.models.canvases import Canvases
from hrm_arc.models.fused import add_rms_norm, rms_norm, silu_gate, split_heads

TOKENS, HIDDEN, HEADS = 40, 16, 2
# Largest relative error of a whole tensor: rounding of single precision, and of bfloat16's eight bits.
EXACT, ROUGH = 1e-6, 2e-2


def inputs(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float32) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(shape).to(dtype).requires_grad_() for shape in shapes]


def results(function: Callable[..., tuple[Tensor, ...]], values: list[Tensor]) -> list[Tensor]:
    """What a function returns, and the gradients of its inputs from a fixed gradient of each result."""
    outputs = function(*values)
    given = [torch.linspace(-1, 2, out.numel()).view(out.shape).to(out.dtype) for out in outputs]
    return [*outputs, *torch.autograd.grad(outputs, values, given)]


def check_same(ours: list[Tensor], wanted: list[Tensor], limit: float) -> None:
    assert len(ours) == len(wanted)
    for one, other in zip(ours, wanted, strict=True):
        assert one.dtype == other.dtype
        assert (one.float() - other.float()).norm() <= limit * other.float().norm()


ANGLES = torch.linspace(0, 3, TOKENS * HIDDEN // HEADS // 2).view(TOKENS, 1, -1)
ROTATION = ANGLES.cos(), ANGLES.sin()
CASES: dict[str, tuple[Callable[..., tuple[Tensor, ...]], list[tuple[int, ...]]]] = {
    "norm": (lambda x: (rms_norm(x, eps=1e-5),), [(TOKENS, HIDDEN)]),
    "norm with weights": (lambda x, w: (rms_norm(x, w),), [(TOKENS, HIDDEN), (HIDDEN,)]),
    "sum and norm": (lambda x, u, w: add_rms_norm(x, u, w), [(TOKENS, HIDDEN), (TOKENS, HIDDEN), (HIDDEN,)]),
    "norm of a sum alone": (lambda x, u: (add_rms_norm(x, u, None)[1],), [(TOKENS, HIDDEN)] * 2),
    "sum of a sum alone": (lambda x, u: (add_rms_norm(x, u, None)[0],), [(TOKENS, HIDDEN)] * 2),
    "heads": (lambda x: split_heads(x, HEADS, None, False), [(TOKENS, 3 * HIDDEN)]),
    "normalized heads": (lambda x: split_heads(x, HEADS, None, True), [(TOKENS, 3 * HIDDEN)]),
    "rotated heads": (lambda x: split_heads(x, HEADS, ROTATION, False), [(TOKENS, 3 * HIDDEN)]),
    "normalized and rotated heads": (lambda x: split_heads(x, HEADS, ROTATION, True), [(TOKENS, 3 * HIDDEN)]),
    "gate": (lambda x: (silu_gate(x),), [(TOKENS, 2 * HIDDEN)]),
}


@pytest.mark.parametrize("part", [1 << 17, 100], ids=["whole", "in parts"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_gradients_by_hand_are_those_of_the_plain_form(
    name: str, dtype: torch.dtype, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    function, shapes = CASES[name]
    monkeypatch.setattr(fused, "PART", part)
    assert fused._by_hand(torch.zeros(1, 1))
    ours = results(function, inputs(*shapes, dtype=dtype))
    monkeypatch.setattr(fused, "_by_hand", lambda x: False)
    check_same(ours, results(function, inputs(*shapes, dtype=dtype)), EXACT if dtype == torch.float32 else ROUGH)


@pytest.mark.parametrize("most", [1 << 25, 0], ids=["stored", "computed again"])
def test_attention_over_stored_weights_is_torchs(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Canvases of equal and different lengths that are computed together, and one that needs no filling.
    canvases = Canvases(((3, 2, 3), (2, 3, 2), (1, 2, 2), (1, 3, 4)), prefix=4)
    tokens = sum(count * length for (count, _, _), length in zip(canvases.sizes, canvases.lengths, strict=True))

    def mixed(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor]:
        return (attention_within(canvases, q, k, v),)

    monkeypatch.setattr(attention, "MOST_STORED", most)
    ours = results(mixed, inputs(*[(tokens, HEADS, 8)] * 3, dtype=torch.bfloat16))
    exact = [each.detach().float().requires_grad_() for each in inputs(*[(tokens, HEADS, 8)] * 3, dtype=torch.bfloat16)]
    wanted = [each.bfloat16() for each in results(mixed, exact)]
    check_same(ours, wanted, ROUGH)


def test_blocks_hold_every_sample_once() -> None:
    sizes = ((5, 12), (2, 14), (9, 230), (1, 910), (3, 9))
    for heads in (1, 8):
        found = []
        for block in blocks_of(sizes, heads):
            count = sum(n for _, n, _ in block.parts)
            assert count.bit_count() == 1, "few sizes: the library keeps what it built for each"
            assert all(block.tokens == filled_up(length) >= length for _, _, length in block.parts)
            found += [(start + n * length, length) for start, many, length in block.parts for n in range(many)]
        starts = []
        start = 0
        for count, length in sizes:
            starts += [(start + n * length, length) for n in range(count)]
            start += count * length
        assert sorted(found) == starts
