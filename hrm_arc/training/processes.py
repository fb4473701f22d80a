"""The processes that train together: one, or those that torchrun started."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from torch import Tensor

from hrm_arc.errors import UserError
from hrm_arc.evaluation.sharing import meet
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

    def gather(self, value: Tensor) -> Tensor:
        """Every process's tensor ``[n]``, as ``[ranks, n]`` on the CPU."""
        gathered = self.fabric.all_gather(value.to(self.device))
        assert isinstance(gathered, Tensor)
        return gathered.view(self.ranks, -1).cpu()

    def from_the_leader(self, value: Any) -> Any:
        """What the leading process says."""
        return self.fabric.broadcast(value)
