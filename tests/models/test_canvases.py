"""Packed lengths are few, padding is little, and has no effect."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hrm_arc.models.canvases import Canvases, padded_length
from hrm_arc.models.compiled import can_compile, compile_token_wise
from tests.models.examples import example_model, made_batch, stirred


@given(st.integers(1, 200_000))
def test_a_length_is_padded_by_less_than_a_sixteenth(tokens: int) -> None:
    padded = padded_length(tokens)
    assert tokens <= padded < tokens + max(32, tokens / 16)
    assert padded_length(padded) == padded


def test_lengths_are_few() -> None:
    assert len({padded_length(tokens) for tokens in range(4096, 8192)}) <= 17


def test_what_is_joined_is_split_again_and_the_padding_has_no_gradient() -> None:
    canvases = Canvases(((2, 3, 3), (1, 4, 5)), prefix=1)
    parts = [torch.randn(2, 10, 4), torch.randn(1, 21, 4)]
    joined = canvases.join(parts).requires_grad_()
    assert len(joined) == padded_length(41) == 64
    again = canvases.split(joined)
    assert all(torch.equal(one, other) for one, other in zip(again, parts, strict=True))
    torch.cat([part.flatten() for part in again]).sum().backward()
    assert joined.grad is not None
    assert joined.grad[:41].min() == 1
    assert not joined.grad[41:].any()


def test_one_canvas_is_not_padded() -> None:
    assert len(Canvases(((3, 3, 3),), prefix=1).join([torch.zeros(3, 10, 4)])) == 30


# Of torch's own compiler.
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning", "ignore:The .grad attribute:UserWarning")
def test_compiled_parts_compute_the_same() -> None:
    if not can_compile():
        pytest.skip("there is no C++ compiler")
    batches = [made_batch(3, 4, 5), made_batch(2, 3, 3)]
    found = []
    for compiled in (False, True):
        model = example_model("grid-hrm").train()
        compile_token_wise(model, "training", compiled)
        outputs = model.forward_packed([model.initial_carry(batch) for batch in batches], batches)
        sum(output.logits.square().sum() for _, output in outputs).backward()
        found.append(
            [*(output.logits for _, output in outputs), *(p.grad for p in model.parameters() if p.grad is not None)]
        )
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_inference_on_a_cpu_pads_a_single_canvas_and_answers_the_same() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 10, 4)
    padded = Canvases(((3, 3, 3),), prefix=1, pads=True)
    assert padded.padding == 2
    joined = padded.join([x])
    assert len(joined) == 32
    assert torch.equal(joined[30:], torch.zeros(2, 4))
    assert torch.equal(padded.split(joined)[0], x)
    model, batch = stirred(example_model("grid-hrm")).eval(), made_batch()
    with torch.no_grad():
        assert Canvases.of([batch], 1).padding > 0
        without_graph = model(model.initial_carry(batch), batch)[1].logits
    assert Canvases.of([batch], 1).padding == 0
    with_graph = model(model.initial_carry(batch), batch)[1].logits
    torch.testing.assert_close(without_graph, with_graph.detach(), rtol=1e-5, atol=1e-5)
