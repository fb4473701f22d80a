"""Optimizers, the learning rate's schedule, and the exponential moving average of the weights."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hrm_arc.models.conditioning import puzzle_embeddings
from hrm_arc.training.config import OptimizerConfig, ScheduleConfig
from hrm_arc.training.muon import Muon

# Heads to a dozen tokens or to one halting logit are not matrices in Muon's sense.
SMALLEST_MATRIX = 16


def build_optimizers(
    model: nn.Module, config: OptimizerConfig, dtype: torch.dtype = torch.float32
) -> list[torch.optim.Optimizer]:
    """The optimizers of a model, each with its peak learning rate in its groups.

    Args:
        model: its parameters are on their device.
        config: which optimizers, and their settings.
        dtype: the precision of Muon's iterations.

    Returns:
        AdamW; Muon (Jordan et al. 2024) for matrices where the configuration asks for it; SignSGD where the model
        has a puzzle embedding with a row for each variant.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    matrices = _matrices(model) if config.name == "muon" else []
    tables = puzzle_embeddings(model)
    chosen = {id(p) for p in (*matrices, *tables)}
    rest = [p for p in parameters if id(p) not in chosen]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(rest, lr=config.lr, weight_decay=config.weight_decay, betas=config.betas, fused=_fused(rest))
    ]
    if matrices:
        optimizers.append(Muon(matrices, config.matrix_lr, config.weight_decay, dtype=dtype))
    if tables:
        optimizers.append(SignSGD(tables, config.puzzle_emb_lr, config.puzzle_emb_weight_decay))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


def lr_factor(config: ScheduleConfig, step: int, progress: float) -> float:
    """The factor of the peak learning rate: a function of the position in the run, so there is no state to save.

    Args:
        config: the schedule.
        step: steps done.
        progress: share of the run that is done, 0 to 1.
    """
    warmup = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    if config.kind == "constant":
        return warmup
    if config.kind == "decay":
        return warmup * max(config.min_lr_ratio, min(1.0, (1 - progress) / config.decay_fraction))
    turn = progress if config.kind == "cosine" else (step % config.restart_steps) / config.restart_steps
    cosine = 0.5 * (1 + math.cos(math.pi * min(turn, 1.0)))
    return warmup * (config.min_lr_ratio + (1 - config.min_lr_ratio) * cosine)


def set_lr(optimizers: Sequence[torch.optim.Optimizer], factor: float) -> None:
    """Set every learning rate to ``factor`` times its peak."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor


class SignSGD(torch.optim.Optimizer):
    """Sign descent with decoupled weight decay; of a sparse gradient, only its rows move.

    As HRM and TRM train their puzzle embeddings: a row is used so rarely that the size of its gradient carries
    little information.

    Args:
        parameters: tables ``[rows, hidden_size]``, with sparse gradients or dense ones.
        lr: the distance by which each number of a row moves.
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
                # A halted sample that stays in the batch for the other processes' sake does not use its row.
                used = signs.any(dim=1, keepdim=True)
                decayed = parameter[rows] * (1 - group["lr"] * group["weight_decay"] * used)
                parameter[rows] = decayed - group["lr"] * signs


class EMA:
    """An exponential moving average of a model's weights.

    The decay starts low and rises to its value, so that the average forgets the first steps.

    Args:
        model: its floating-point weights and buffers are averaged, puzzle embeddings excepted.
        decay: of the average at each update, after the first steps; at least 0 and below 1.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.decay = decay
        # As in TRM, rows of a puzzle embedding are not averaged: they are used rarely, and averaging the whole
        # table at every update would cost more than the step.
        taken = {table.data_ptr() for table in puzzle_embeddings(model)}
        self._names: list[str] = []
        self._live: list[Tensor] = []
        for name, tensor in model.state_dict().items():
            # Tied weights have several names and one average: exchanged twice, they would not change at all.
            if tensor.is_floating_point() and tensor.data_ptr() not in taken:
                self._names.append(name)
                self._live.append(tensor)
                taken.add(tensor.data_ptr())
        self._mean = [t.clone() for t in self._live]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights, after an optimizer update in step ``step`` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._mean, self._live, 1 - decay)

    @torch.no_grad()
    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Set the average from a state dict of the model."""
        for name, mean in zip(self._names, self._mean, strict=True):
            mean.copy_(weights[name])

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the model's weights and their average; a second call undoes it."""
        for live, mean in zip(self._live, self._mean, strict=True):
            kept = live.clone()
            live.copy_(mean)
            mean.copy_(kept)


@contextlib.contextmanager
def swapped_in(ema: EMA | None) -> Iterator[None]:
    """The averaged weights in place of the model's, where there is an average."""
    if ema is not None:
        ema.swap()
    try:
        yield
    finally:
        if ema is not None:
            ema.swap()


def dense_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Parameters without a sparse gradient. Rows of a puzzle embedding move by signs and need no clipping."""
    return [p for p in model.parameters() if p.grad is None or not p.grad.is_sparse]


def _fused(parameters: Sequence[Tensor]) -> bool:
    """Whether torch's AdamW in one pass over memory is there for these parameters."""
    return all(parameter.device.type in ("cpu", "cuda") for parameter in parameters)


def _matrices(model: nn.Module) -> list[Tensor]:
    """Trainable matrices that are neither embeddings nor small heads; many registers count as one, too."""
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    tables |= {id(table) for table in puzzle_embeddings(model)}
    return [
        p
        for p in model.parameters()
        if p.requires_grad and p.ndim == 2 and min(p.shape) >= SMALLEST_MATRIX and id(p) not in tables
    ]
