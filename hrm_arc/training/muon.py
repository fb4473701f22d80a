"""Muon: momentum, orthogonalized by Newton-Schulz iterations before each update (Jordan et al. 2024).

The update rule, its defaults and the names of its state are those of ``torch.optim.Muon``. The computation
differs: matrices of one shape are iterated in one batch, and, where the device does not multiply bfloat16, in single
precision and long matrices by way of their Gram matrix. There torch's version takes longer than the rest of a step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

# Coefficients of Jordan et al. 2024: a steep slope at zero, and every singular value ends near one.
LINEAR, CUBIC, QUINTIC = 3.4445, -4.7750, 2.0315
ITERATIONS = 5
SMALLEST_NORM = 1e-7
# Matrices with a larger ratio of sides take fewer operations by way of the Gram matrix.
LONG = 1.5


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalized, with decoupled weight decay.

    Args:
        parameters: matrices.
        lr: learning rate of a square or wide matrix; for a tall one it is multiplied by the root of its ratio of sides.
        weight_decay: decoupled weight decay; multiplied by the learning rate at each step.
        momentum: decay of the moving average of gradients.
        dtype: the precision of the iterations.

    Raises:
        ValueError: a parameter is not a matrix.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        lr: float,
        weight_decay: float,
        momentum: float = 0.95,
        dtype: torch.dtype = torch.float32,
    ):
        if any(p.ndim != 2 for p in parameters):
            raise ValueError("Muon is for matrices only")
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        self._dtype = dtype

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            moved = [p for p in group["params"] if p.grad is not None]
            if not moved:
                continue
            grads = [p.grad for p in moved]
            for p in moved:
                if "momentum_buffer" not in self.state[p]:
                    self.state[p]["momentum_buffer"] = torch.zeros_like(p)
            sums = [self.state[p]["momentum_buffer"] for p in moved]
            torch._foreach_lerp_(sums, grads, 1 - group["momentum"])
            ahead = torch._foreach_lerp(grads, sums, group["momentum"])
            torch._foreach_mul_(moved, 1 - group["lr"] * group["weight_decay"])
            for places in _alike(moved):
                alike = [moved[n] for n in places]
                rows, columns = alike[0].shape
                moves = orthogonal(torch.stack([ahead[n] for n in places]).to(self._dtype)).to(alike[0].dtype)
                rate = group["lr"] * math.sqrt(max(1.0, rows / columns))
                torch._foreach_add_(alike, list(moves.unbind()), alpha=-rate)


def orthogonal(matrices: Tensor) -> Tensor:
    """The nearest matrices with singular values near one, by five Newton-Schulz iterations.

    Args:
        matrices: ``[n, rows, columns]``.

    Returns:
        the same shape and precision, which is that of the computation.
    """
    x = matrices
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    # The Frobenius norm bounds every singular value.
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp_min(SMALLEST_NORM)
    x = _by_gram(x) if x.dtype == torch.float32 and x.shape[2] > LONG * x.shape[1] else _iterated(x)
    return x.mT if tall else x


def _iterated(x: Tensor) -> Tensor:
    """Five iterations of x <- p(x xT) x, with p(g) = linear + cubic g + quintic g^2."""
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=CUBIC, alpha=QUINTIC), x, beta=LINEAR)
    return x


def _by_gram(x: Tensor) -> Tensor:
    """The same for wide matrices; only the first and the last product involve their long side.

    Polynomials of one Gram matrix commute: the Gram matrix of p(g) x is p(g)^2 g, so all iterations are one
    matrix, which x is multiplied with at the end.
    """
    gram = x @ x.mT
    whole = None
    for left in reversed(range(ITERATIONS)):
        step = torch.baddbmm(gram, gram, gram, beta=CUBIC, alpha=QUINTIC)
        step.diagonal(dim1=1, dim2=2).add_(LINEAR)
        whole = step if whole is None else step @ whole
        if left:
            gram = step @ (step @ gram)
    assert whole is not None
    return whole @ x


def _alike(matrices: Sequence[Tensor]) -> list[list[int]]:
    """Indices of the matrices of each shape, in the order in which the shapes first occur."""
    places: dict[torch.Size, list[int]] = {}
    for n, matrix in enumerate(matrices):
        places.setdefault(matrix.shape, []).append(n)
    return list(places.values())
