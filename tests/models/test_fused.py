"""Gradients by hand are those of the plain form; attention over stored weights is torch's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hrm_arc.models import attention, fused
from hrm_arc.models.attention import attention_within, layout_of, padded_sample
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
    # Canvases of equal and different lengths that are computed together, and one that needs no padding.
    canvases = Canvases(((3, 2, 3), (2, 3, 2), (1, 2, 2), (1, 3, 4)), prefix=4)
    tokens = sum(canvases.counts) + canvases.padding
    assert canvases.padding

    def mixed(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor]:
        return (attention_within(canvases, q, k, v),)

    monkeypatch.setattr(attention, "MOST_STORED", most)
    ours = results(mixed, inputs(*[(tokens, HEADS, 8)] * 3, dtype=torch.bfloat16))
    exact = [each.detach().float().requires_grad_() for each in inputs(*[(tokens, HEADS, 8)] * 3, dtype=torch.bfloat16)]
    wanted = [each.bfloat16() for each in results(mixed, exact)]
    check_same(ours, wanted, ROUGH)


def test_samples_that_are_padded_have_the_attention_of_their_own_tokens() -> None:
    # In inference: one canvas that is aligned with its prefix, and two that are padded.
    canvases = Canvases(((2, 4, 7), (3, 2, 3), (1, 6, 6)), prefix=4)
    tokens = sum(canvases.counts) + canvases.padding
    values = inputs(*[(tokens, HEADS, 8)] * 3, dtype=torch.bfloat16)
    with torch.no_grad():
        ours = attention_within(canvases, *values)
        exact = attention_within(canvases, *(each.double() for each in values))
    check_same([ours[: sum(canvases.counts)]], [exact[: sum(canvases.counts)].bfloat16()], ROUGH)


def test_blocks_hold_every_row_once() -> None:
    sizes = ((5, 12), (2, 14), (9, 230), (1, 910), (3, 9))
    tokens = sum(count * length for count, length in sizes)
    for heads in (1, 8):
        layout = layout_of(sizes, tokens + 3, heads)
        assert all(block.samples.bit_count() == 1 for block in layout.blocks), "few sizes"
        assert {block.tokens for block in layout.blocks} == {padded_sample(length) for _, length in sizes}
        x = torch.arange(1, 1 + (tokens + 3) * heads).view(-1, heads, 1)
        rows = layout.gather(x)
        places = torch.full((len(rows),), True)
        places[layout.empty] = False
        assert sorted(rows[places].flatten().tolist()) == x[:tokens].flatten().tolist()
        assert torch.equal(layout.scatter(rows)[:tokens], x[:tokens])
        assert not layout.scatter(rows)[tokens:].any()
        for block, (part,) in zip(layout.blocks, layout.split(rows), strict=True):
            samples = part.view(block.samples, heads, block.tokens)
            for first, end, length in block.lengths:
                # A sample's head: its tokens in their order.
                steps = samples[first:end, :, :length].diff(dim=2)
                assert length in {length for _, length in sizes}
                assert (steps == heads).all()
