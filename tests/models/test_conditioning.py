from __future__ import annotations

import torch
from torch import nn

from hrm_arc.models.conditioning import PuzzleEmbedding
from hrm_arc.models.reasoner import Batch
from hrm_arc.puzzles.corpus import OTHER, UNSEEN
from hrm_arc.training.optim import SignSGD
from tests.models.examples import plain_identity


def batch_of(task: list[int], variant: list[int]) -> Batch:
    inputs = torch.zeros(len(task), 4, dtype=torch.int64)
    return Batch(2, 2, inputs, None, plain_identity(torch.tensor(task), torch.tensor(variant)))


def test_a_row_for_each_variant_of_each_task() -> None:
    table = PuzzleEmbedding(num_tasks=2, num_variants=3, hidden_size=4, length=2).eval()
    with torch.no_grad():
        table.weights.copy_(torch.arange(7)[:, None].expand(7, 4))
    tokens = table.tokens(batch_of([1, 1, 2, 2, UNSEEN, 1, 1], [0, 2, 0, 2, 0, 3, OTHER]), nn.Embedding(12, 4))
    assert tokens.shape == (7, 2, 4)
    # By hand: row 0 is for what is not known, then the variants of task 1, then those of task 2.
    assert tokens[:, 0, 0].tolist() == [1, 3, 4, 6, 0, 0, 0]
    assert (tokens[:, 1] == 0).all(), "the rest of the prefix is empty"


def test_sign_descent_moves_the_rows_of_a_batch_alone() -> None:
    table = PuzzleEmbedding(num_tasks=3, num_variants=1, hidden_size=2, length=1).train()
    with torch.no_grad():
        table.weights.fill_(1.0)
    optimizer = SignSGD([table.weights], lr=0.1, weight_decay=0.5)
    tokens = table.tokens(batch_of([1, 3, 3], [0, 0, 0]), nn.Embedding(12, 2))
    (tokens[:, 0] * torch.tensor([[2.0, -3.0], [5.0, 0.0], [-9.0, 0.0]])).sum().backward()
    optimizer.step()
    # By hand: 1 x (1 - 0.1 x 0.5) = 0.95, then a step of 0.1 against the sign of the row's summed gradient.
    expected = torch.tensor([[1.0, 1.0], [0.85, 1.05], [1.0, 1.0], [1.05, 0.95]])
    torch.testing.assert_close(table.weights.detach(), expected)


def test_sign_descent_on_whole_gradients() -> None:
    weight = nn.Parameter(torch.tensor([1.0, -1.0, 2.0]))
    weight.grad = torch.tensor([3.0, -0.1, 0.0])
    SignSGD([weight], lr=0.5, weight_decay=0.0).step()
    assert weight.tolist() == [0.5, -0.5, 2.0]
