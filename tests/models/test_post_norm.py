from __future__ import annotations

import pytest
import torch
from torch import nn

from hrm_arc.models import dropout as dropout_module
from hrm_arc.models.dropout import DroppedAttention, attend_with_dropout, drop
from hrm_arc.models.layers import Canvases, PostNormBlock


@pytest.mark.parametrize("training", [True, False])
def test_the_block_is_torchs_encoder_layer(training: bool) -> None:
    torch.manual_seed(0)
    theirs = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True).train(training)
    ours = PostNormBlock(32, 4, 64, dropout=0.0).train(training)
    ours.load_state_dict(theirs.state_dict())
    x, canvases = torch.randn(2, 9, 32), Canvases(((2, 3, 3),), prefix=0)
    torch.testing.assert_close(ours(x.flatten(0, 1), canvases).view_as(x), theirs(x), atol=1e-5, rtol=1e-5)


def test_dropped_weights_come_at_their_rate_and_are_scaled_back() -> None:
    torch.manual_seed(0)
    tokens, rate = 300, 0.1
    # Equal scores, and values that tell the columns apart: the output reads the weights.
    q, k = torch.zeros(2, 1, 2, tokens, 4)
    v = torch.eye(tokens).expand(1, 2, tokens, tokens)
    weights = attend_with_dropout(q[..., :4], k[..., :4], v, rate) * tokens
    dropped = weights == 0
    # 180,000 draws: the standard deviation of the share is 0.0007.
    assert dropped.float().mean().item() == pytest.approx(rate, abs=0.004)
    torch.testing.assert_close(weights[~dropped], torch.full_like(weights[~dropped], 1 / (1 - rate)), atol=1e-3, rtol=0)
    per_cell = dropped.float().mean(dim=(0, 1, 2))
    assert per_cell.min() > 0.02
    assert per_cell.max() < 0.25


@pytest.mark.parametrize("shape", [(300, 601), (1,), (3, 5, 7)])
def test_activations_are_dropped_at_their_rate_and_scaled_back(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x, rate = torch.ones(shape, requires_grad=True), 0.25
    dropped = drop(x, rate)
    kept = dropped > 0
    torch.testing.assert_close(dropped[kept], torch.full_like(dropped[kept], 1 / (1 - rate)))
    assert (dropped[~kept] == 0).all()
    if x.numel() > 1000:
        # 180,300 draws: the standard deviation of the share is 0.001.
        assert kept.float().mean().item() == pytest.approx(1 - rate, abs=0.006)
        assert kept.float().mean(dim=0).min() > 0.5, "every place in a draw of four is dropped as often"
    (grad,) = torch.autograd.grad(dropped.sum(), x)
    assert torch.equal(grad, dropped.detach())
    torch.manual_seed(0)
    assert torch.equal(drop(x, rate), dropped)


def test_without_dropout_attention_is_torchs() -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 4, 7, 8)
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    assert torch.equal(attend_with_dropout(q, k, v, 0.0), expected)
    # A rate below the resolution drops nothing, through the other path.
    torch.testing.assert_close(attend_with_dropout(q, k, v, 1e-9), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("rows", "cells"), [(225, 202_500), (2, 10), (5, 50)], ids=["all", "rows", "heads"])
@pytest.mark.parametrize("rate", [0.0, 0.25])
def test_gradients_through_dropped_weights_are_those_of_finite_differences(
    rate: float, rows: int, cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # All heads at once, some rows of one, or two heads and then the third.
    monkeypatch.setattr(dropout_module, "ROWS", rows)
    monkeypatch.setattr(dropout_module, "CELLS", cells)
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(3, 5, 4, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(3))
    assert torch.autograd.gradcheck(lambda *inputs: DroppedAttention.apply(*inputs, rate, 7), (q, k, v))


def test_blocks_change_nothing_where_nothing_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = torch.randn(3, 2, 4, 7, 8, generator=torch.Generator().manual_seed(0))
    answers = []
    for rows, cells in ((225, 202_500), (3, 10), (7, 3 * 49)):
        monkeypatch.setattr(dropout_module, "ROWS", rows)
        monkeypatch.setattr(dropout_module, "CELLS", cells)
        answers.append(attend_with_dropout(q, k, v, 1e-9))
    for answer in answers[1:]:
        torch.testing.assert_close(answer, answers[0], atol=1e-6, rtol=1e-6)


def test_the_same_seed_drops_the_same_weights() -> None:
    q, k, v = torch.randn(3, 2, 4, 7, 8, generator=torch.Generator().manual_seed(0))
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(attend_with_dropout(q, k, v, 0.5))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
