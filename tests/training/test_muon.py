"""Muon against torch's own, against the singular value decomposition, and by hand."""

from __future__ import annotations

import pytest
import torch

from hrm_arc.training.muon import Muon, orthogonal

SHAPES = [(48, 16), (16, 16), (16, 40), (48, 16), (16, 40)]


def matrices() -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(1)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def stepped(optimizer: torch.optim.Optimizer, parameters: list[torch.nn.Parameter], steps: int) -> list[torch.Tensor]:
    """How far each matrix has come after some steps of made-up gradients; one of them never gets any."""
    before = [parameter.detach().clone() for parameter in parameters]
    generator = torch.Generator().manual_seed(2)
    for _ in range(steps):
        for parameter in parameters[:-1]:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()
    return [parameter.detach() - old for parameter, old in zip(parameters, before, strict=True)]


def test_it_moves_as_torchs_does() -> None:
    ours, theirs = matrices(), matrices()
    moved = stepped(Muon(ours, lr=0.02, weight_decay=0.1), ours, 4)
    wanted = stepped(torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1), theirs, 4)
    for one, other in zip(moved, wanted, strict=True):
        # torch's iterates in bfloat16, which has three digits.
        assert (one - other).norm() <= 0.02 * other.norm()
    assert not moved[-1].any(), "a matrix without a gradient stays where it is"


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 24, 8), (1, 8, 24)])
def test_directions_are_kept_and_singular_values_come_near_one(shape: tuple[int, ...]) -> None:
    given = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, values, vt = torch.linalg.svd(given, full_matrices=False)
    got = u.mT @ orthogonal(given) @ vt.mT
    diagonal = got.diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(got, torch.diag_embed(diagonal), atol=1e-4, rtol=0)
    large = values > 0.05 * values.amax()
    assert large.sum() >= large.numel() - 2
    assert diagonal[large].min() > 0.6
    assert diagonal.max() < 1.25


@pytest.mark.parametrize("shape", [(16, 16), (16, 40), (90, 16)])
@pytest.mark.parametrize("rank", [2, 16])
def test_single_precision_is_enough_by_either_way(shape: tuple[int, int], rank: int) -> None:
    generator = torch.Generator().manual_seed(0)
    given = torch.randn(3, shape[0], rank, generator=generator) @ torch.randn(3, rank, shape[1], generator=generator)
    given = given + 1e-3 * torch.randn(3, *shape, generator=generator)
    exact = given.double() if shape[0] <= shape[1] else given.double().mT
    exact = exact / torch.linalg.matrix_norm(exact, keepdim=True)
    for _ in range(5):
        gram = exact @ exact.mT
        exact = 3.4445 * exact - 4.7750 * gram @ exact + 2.0315 * gram @ gram @ exact
    got = orthogonal(given) if shape[0] <= shape[1] else orthogonal(given).mT
    torch.testing.assert_close(got.double(), exact, atol=1e-3, rtol=0)


def test_weights_decay_by_the_rate_times_the_learning_rate() -> None:
    weight = torch.nn.Parameter(torch.full((2, 2), 4.0))
    weight.grad = torch.zeros(2, 2)
    Muon([weight], lr=0.5, weight_decay=0.25).step()
    assert weight.tolist() == [[3.5, 3.5], [3.5, 3.5]]


def test_it_is_for_matrices_alone() -> None:
    with pytest.raises(ValueError, match="matrices"):
        Muon([torch.nn.Parameter(torch.zeros(3))], lr=0.1, weight_decay=0.0)
