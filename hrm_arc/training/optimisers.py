"""Optimisers, and the moving average of the weights that is scored in their place."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hrm_arc.errors import check_at_least
from hrm_arc.models.conditioning import puzzle_tables
from hrm_arc.training.muon import Muon

# Heads to a dozen tokens or one halting logit are no matrices in Muon's sense.
SMALLEST_MATRIX = 16


@dataclass(frozen=True)
class OptimiserConfig:
    """The optimiser.

    Attributes:
        name: ``adamw``; or ``muon``: Muon for matrices, AdamW for the rest.
        learning_rate: AdamW's peak.
        matrix_learning_rate: Muon's peak.
        weight_decay: decoupled, for every parameter.
        betas: AdamW's.
        clip: largest norm of the gradient; 0 leaves it alone.
        ema: decay of the moving average of the weights; 0 keeps none.
        table_learning_rate: of a puzzle table's rows, which follow the signs of their gradients.
        table_weight_decay: of the rows that a batch meets.
    """

    name: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = 1e-3
    matrix_learning_rate: float = 1e-2
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0
    ema: float = 0.999
    table_learning_rate: float = 1e-2
    table_weight_decay: float = 0.1

    def __post_init__(self) -> None:
        check_at_least(self, 0, "learning_rate", "matrix_learning_rate", "weight_decay", "clip")
        check_at_least(self, 0, "table_learning_rate", "table_weight_decay")
        for name, value in (("ema", self.ema), *(("betas", beta) for beta in self.betas)):
            if not 0 <= value < 1:
                raise ValueError(f"{name} is {value}, expected at least 0 and below 1")


def build_optimisers(model: nn.Module, config: OptimiserConfig) -> list[torch.optim.Optimizer]:
    """The optimisers of a model, each with its peak learning rate in its groups.

    Returns:
        AdamW; beside it Muon (Jordan et al. 2024) for matrices where the configuration says so, and
        SignSGD where the model has a puzzle table.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    matrices = _matrices(model) if config.name == "muon" else []
    tables = puzzle_tables(model)
    chosen = {id(p) for p in (*matrices, *tables)}
    rest = [p for p in parameters if id(p) not in chosen]
    optimisers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(rest, lr=config.learning_rate, weight_decay=config.weight_decay, betas=config.betas)
    ]
    if matrices:
        optimisers.append(Muon(matrices, config.matrix_learning_rate, config.weight_decay))
    if tables:
        optimisers.append(SignSGD(tables, config.table_learning_rate, config.table_weight_decay))
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["peak_lr"] = group["lr"]
    return optimisers


def set_learning_rate(optimisers: Sequence[torch.optim.Optimizer], factor: float) -> None:
    """Set every learning rate to ``factor`` times its peak."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = group["peak_lr"] * factor


class SignSGD(torch.optim.Optimizer):
    """Moves by the signs of gradients, with decoupled weight decay; of sparse ones, only their rows.

    As HRM and TRM train their puzzle tables: a row is met so rarely that the size of its
    gradient says little.

    Args:
        parameters: tables ``[rows, width]``, with sparse gradients or dense ones.
        lr: by how much each number of a row moves.
        weight_decay: times the learning rate, of the rows that move.
    """

    def __init__(self, parameters: Sequence[Tensor], lr: float, weight_decay: float):
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                grad = parameter.grad
                if not grad.is_sparse:
                    parameter.mul_(1 - group["lr"] * group["weight_decay"]).sub_(grad.sign(), alpha=group["lr"])
                    continue
                grad = grad.coalesce()
                (rows,), signs = grad.indices(), grad.values().sign()
                # Of a sample that has halted and stays in the batch for the others' sake, a row is not met.
                met = signs.any(dim=1, keepdim=True)
                kept = parameter[rows] * (1 - group["lr"] * group["weight_decay"] * met)
                parameter[rows] = kept - group["lr"] * signs


class Average:
    """An exponential moving average of a model's weights.

    The decay starts low and rises to its value, so that the first steps are forgotten.

    Args:
        model: its floating-point weights and buffers are averaged where they lie, puzzle tables left out.
        decay: of the average at each update, in the end; at least 0 and below 1.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.decay = decay
        # A table's rows follow signs and are met rarely; as in TRM they are not averaged, and all of
        # them at every step would cost more than the step.
        tables = {table.data_ptr() for table in puzzle_tables(model)}
        averaged = {
            name: t for name, t in model.state_dict().items() if t.is_floating_point() and t.data_ptr() not in tables
        }
        self._names = list(averaged)
        self._live = list(averaged.values())
        self._mean = [t.clone() for t in self._live]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights, after an update of them in step ``step`` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._mean, self._live, 1 - decay)

    @torch.no_grad()
    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take the average from a state dict like the model's."""
        for name, mean in zip(self._names, self._mean, strict=True):
            mean.copy_(weights[name])

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the model's weights with their average; a second call undoes it."""
        for live, mean in zip(self._live, self._mean, strict=True):
            kept = live.clone()
            live.copy_(mean)
            mean.copy_(kept)


@contextlib.contextmanager
def in_place(average: Average | None) -> Iterator[None]:
    """The averaged weights in the place of the model's, where there is an average."""
    if average is not None:
        average.swap()
    try:
        yield
    finally:
        if average is not None:
            average.swap()


def dense(model: nn.Module) -> list[nn.Parameter]:
    """Parameters whose gradients are not rows of a table; those follow signs and need no clipping."""
    return [p for p in model.parameters() if p.grad is None or not p.grad.is_sparse]


def _matrices(model: nn.Module) -> list[Tensor]:
    """Trainable matrices that are no embedding tables or small heads."""
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    tables |= {id(table) for table in puzzle_tables(model)}
    return [
        p
        for p in model.parameters()
        if p.requires_grad and p.ndim == 2 and min(p.shape) >= SMALLEST_MATRIX and id(p) not in tables
    ]
