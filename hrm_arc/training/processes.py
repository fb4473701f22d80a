"""The processes that train together: one, or those that torchrun started."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from hrm_arc.errors import UserError
from hrm_arc.evaluation.sharing import meet
from hrm_arc.models.conditioning import puzzle_tables
from hrm_arc.models.reasoner import Reasoner
from hrm_arc.training.recipe import TrainingConfig


class Processes:
    """This process's place among them, its device, and how they agree.

    Args:
        options: accelerator, precision and batch.

    Attributes:
        fabric: devices, precision and gradients between processes.
        rank, ranks: this process, and how many there are.
        leads: whether it is the one that writes.
        device: where it computes.

    Raises:
        UserError: the accelerator asked for is not here, or the batch cannot be shared.
    """

    def __init__(self, options: TrainingConfig):
        try:
            self.fabric = Fabric(
                accelerator=options.accelerator,
                devices=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
                num_nodes=int(os.environ.get("GROUP_WORLD_SIZE", "1")),
                precision=options.precision,
            )
        except (RuntimeError, ValueError) as error:
            raise UserError("training.accelerator", " ".join(str(error).split())) from None
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            meet("nccl" if self.fabric.strategy.root_device.type == "cuda" else "gloo")
        self.fabric.launch()
        self.rank, self.ranks = self.fabric.global_rank, self.fabric.world_size
        self.leads: bool = self.fabric.is_global_zero
        self.device: torch.device = self.fabric.device
        self.precision = self.fabric.strategy.precision
        if options.batch % self.ranks:
            raise UserError("training.batch", f"{options.batch} samples cannot be shared by {self.ranks} processes")

    def together(self, values: Sequence[float], how: Literal["sum", "max", "own"]) -> list[float]:
        """Each value, summed or at its largest over all processes, or this one's own."""
        if self.ranks == 1 or how == "own":
            return list(values)
        reduced = self.fabric.all_reduce(torch.tensor(values, dtype=torch.float64, device=self.device), reduce_op=how)
        assert isinstance(reduced, Tensor)
        return reduced.tolist()

    def setup(self, model: Reasoner, optimisers: Sequence[Optimizer]) -> tuple[Any, list[Any]]:
        """The model and its optimisers for these processes; puzzle tables are left to :meth:`join_rows`."""
        tables = {id(table) for table in puzzle_tables(model)}
        # Gradients between processes travel in dense buckets, in which a sparse one has no place.
        apart = [name for name, parameter in model.named_parameters() if id(parameter) in tables]
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, apart)  # type: ignore[no-untyped-call]
        wrapped, *stepped = self.fabric.setup(model, *optimisers)
        return wrapped, stepped

    def step(self, optimisers: Sequence[Any]) -> None:
        """Move the weights, by optimisers as :meth:`setup` returns them, whose gradients are unscaled.

        With fp16 each would take the scaler's next scale, and have the second one's gradients divided again.
        """
        scaler = getattr(self.precision, "scaler", None)
        for optimiser in optimisers:
            if scaler is None:
                optimiser.step()
            else:
                scaler.step(optimiser.optimizer)
        if scaler is not None:
            scaler.update()

    def join_rows(self, table: nn.Parameter) -> None:
        """A table's sparse gradient: all processes' rows in the place of this one's, divided as the others are."""
        if self.ranks == 1 or table.grad is None:
            return
        own = table.grad.coalesce()
        rows, values = own.indices()[0], own.values()
        # All have to send equally much: the first row once more, with nothing to add to it.
        missing = int(self.together([len(rows)], "max")[0]) - len(rows)
        rows = torch.cat([rows, rows[:1].expand(missing)])
        values = torch.cat([values, values.new_zeros(missing, values.shape[1])])
        rows, values = (self._everybodys(part).flatten(0, 1) for part in (rows, values))
        table.grad = torch.sparse_coo_tensor(rows[None], values / self.ranks, table.shape)

    def gather(self, value: Tensor) -> Tensor:
        """Every process's tensor ``[n]``, as ``[ranks, n]`` on the CPU."""
        return self._everybodys(value.to(self.device)).view(self.ranks, -1).cpu()

    def from_the_leader(self, value: Any) -> Any:
        """What the leading process says."""
        return self.fabric.broadcast(value)

    def _everybodys(self, value: Tensor) -> Tensor:
        gathered = self.fabric.all_gather(value)
        assert isinstance(gathered, Tensor)
        return gathered
