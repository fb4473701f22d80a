"""Distributed training: one process, or the processes that torchrun started."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Sequence
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from hrm_arc.errors import UserError
from hrm_arc.evaluation.sharing import init_process_group
from hrm_arc.hardware import autocast, chosen_precision, device_type, keep_buffers, multiplies_bf16
from hrm_arc.models.compiled import can_compile
from hrm_arc.models.conditioning import puzzle_embeddings
from hrm_arc.models.reasoner import Batch, Carry, Output, Reasoner
from hrm_arc.training.config import Recipe, TrainingConfig

log = logging.getLogger(__name__)

# Fabric lets torch ask NVML whether there is a GPU. NVML also counts GPUs that CUDA cannot use, such as one with an old
# driver, and without Fabric torch says that there is none.
os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
# Fabric logs its precision at every start; config.yaml records it.
logging.getLogger("lightning_fabric.utilities.rank_zero").setLevel(logging.WARNING)


def accelerator_of(device: torch.device) -> str:
    """``training.accelerator`` for a device.

    Raises:
        UserError: it is another GPU than the first one, which is where a process alone trains.
    """
    if device.index:
        what = f"a model learns on the first GPU; CUDA_VISIBLE_DEVICES={device.index} makes this one the first"
        raise UserError(str(device), what)
    return device.type


class Distributed:
    """This process's rank, its device, and communication with the other processes.

    Args:
        options: accelerator, precision and batch size.

    Attributes:
        fabric: devices, precision and gradients between processes (Lightning Fabric).
        rank, world_size: this process, and the number of processes.
        is_main: whether this process writes files and messages.
        device: where it computes.
        chosen_precision: what ``training.precision`` stands for here.
        precision: Fabric's plugin for it.

    Raises:
        UserError: the accelerator is not available or does not have the precision, or the batch cannot be divided among
            the processes.
    """

    def __init__(self, options: TrainingConfig):
        kind = device_type(options.accelerator)
        if kind == "cpu" and options.precision == "16-mixed":
            what = "16-mixed is for GPUs; on a CPU there are bf16-mixed and 32-true, and auto chooses"
            raise UserError("training.precision", what)
        self.chosen_precision = chosen_precision(options.precision, kind)
        processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        if kind == "cuda" and processes > (there := torch.cuda.device_count()):
            raise UserError("torchrun", f"{processes} processes on this machine, which has {there} GPUs for them")
        try:
            self.fabric = Fabric(
                accelerator=options.accelerator,
                devices=processes,
                num_nodes=int(os.environ.get("GROUP_WORLD_SIZE", "1")),
                precision=self.chosen_precision,
            )
        except (RuntimeError, ValueError, ImportError, MisconfigurationException) as error:
            raise UserError("training.accelerator", " ".join(str(error).split())) from None
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            init_process_group("nccl" if self.fabric.strategy.root_device.type == "cuda" else "gloo")
        self.fabric.launch()
        self.rank, self.world_size = self.fabric.global_rank, self.fabric.world_size
        self.is_main: bool = self.fabric.is_global_zero
        self.device: torch.device = self.fabric.device
        self.precision = self.fabric.strategy.precision
        if self.device.type == "cpu":
            keep_buffers()
        if options.batch_size % self.world_size:
            what = f"{options.batch_size} samples cannot be divided among {self.world_size} processes"
            raise UserError("training.batch_size", what)

    @property
    def muon_dtype(self) -> torch.dtype:
        """The precision of Muon's iterations: bfloat16 if the run computes in it or a GPU multiplies it."""
        is_fast = self.device.type == "cuda" and multiplies_bf16("cuda")
        low = is_fast or self.chosen_precision == "bf16-mixed"
        return torch.bfloat16 if low else torch.float32

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """A context for inference in the precision of the run."""
        return autocast(self.chosen_precision, self.device.type)

    def all_reduce(self, values: Sequence[float], op: Literal["sum", "max"]) -> list[float]:
        """Each value's sum or maximum over all processes."""
        if self.world_size == 1:
            return list(values)
        reduced = self.fabric.all_reduce(torch.tensor(values, dtype=torch.float64, device=self.device), reduce_op=op)
        assert isinstance(reduced, Tensor)
        return reduced.tolist()

    def setup(self, model: Reasoner, optimizers: Sequence[Optimizer]) -> tuple[Any, list[Any]]:
        """Wrap a model and its optimizers for precision and distributed training.

        Returns:
            a function like :meth:`Reasoner.forward_packed`, and the wrapped optimizers. Gradients of puzzle
            embeddings are left to :meth:`all_gather_rows`.
        """
        packed = _Packed(model)
        tables = {id(table) for table in puzzle_embeddings(model)}
        # DDP sends gradients in dense buckets, which cannot hold a sparse one.
        sparse = [name for name, parameter in packed.named_parameters() if id(parameter) in tables]
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(packed, sparse)  # type: ignore[no-untyped-call]
        wrapped, *wrapped_optimizers = self.fabric.setup(packed, *optimizers)
        return wrapped, wrapped_optimizers

    @property
    def scaler(self) -> torch.amp.GradScaler | None:
        """What scales the loss in fp16, on a GPU; None in other precisions."""
        return getattr(self.precision, "scaler", None)

    def unscale(self, optimizers: Sequence[Optimizer]) -> None:
        """Take the scaler's factor out of the gradients, before they are clipped.

        Fabric's own unscaling refuses fused optimizers, because its step would unscale a second time; :meth:`step`
        leaves that to the scaler, which knows.
        """
        if self.scaler is not None:
            for optimizer in optimizers:
                self.scaler.unscale_(optimizer)

    def step(self, optimizers: Sequence[Any], skip: bool = False) -> None:
        """Update the weights, by optimizers as :meth:`setup` returns them, whose gradients are unscaled.

        With fp16, one scaler serves all optimizers and is updated once. Fabric's own step would update it for each
        optimizer, and would unscale the gradients of the second one twice.

        Args:
            optimizers: all that the gradients are for.
            skip: leave the weights as they are, because a gradient is not finite; a scaler lowers its scale.
        """
        scaler = self.scaler
        for optimizer in () if skip else optimizers:
            if scaler is None:
                optimizer.step()
            else:
                scaler.step(optimizer.optimizer)
        if scaler is not None:
            scaler.update()

    def all_gather_rows(self, table: nn.Parameter) -> None:
        """Replace a table's sparse gradient by the mean of all processes' gradients."""
        if self.world_size == 1 or table.grad is None:
            return
        own = table.grad.coalesce()
        rows, values = own.indices()[0], own.values()
        # All processes have to send equally many rows: the first row is repeated, with nothing to add to it.
        missing = int(self.all_reduce([len(rows)], "max")[0]) - len(rows)
        rows = torch.cat([rows, rows[:1].expand(missing)])
        values = torch.cat([values, values.new_zeros(missing, values.shape[1])])
        rows, values = (self._all_gather(part).flatten(0, 1) for part in (rows, values))
        table.grad = torch.sparse_coo_tensor(rows[None], values / self.world_size, table.shape)

    def all_gather(self, value: Tensor) -> Tensor:
        """Every process's tensor ``[n]``, as ``[world_size, n]`` on the CPU."""
        if self.world_size == 1:  # Also with a torch that was built without distributed training.
            return value[None].cpu()
        return self._all_gather(value.to(self.device)).view(self.world_size, -1).cpu()

    def broadcast(self, value: Any) -> Any:
        """The main process's value."""
        return self.fabric.broadcast(value)

    def _all_gather(self, value: Tensor) -> Tensor:
        gathered = self.fabric.all_gather(value)
        assert isinstance(gathered, Tensor)
        return gathered


def resolve_auto(recipe: Recipe, distributed: Distributed) -> Recipe:
    """The recipe with what ``auto`` stands for on this machine."""
    device = distributed.device.type
    compiles = device == "cpu" and recipe.training.is_long and can_compile()
    found = recipe.resolve_auto(distributed.chosen_precision, "always" if compiles else "never")
    if found.training.precision == "bf16-mixed" and device in ("cpu", "cuda") and not multiplies_bf16(device):
        what = "processor" if device == "cpu" else "GPU"
        log.warning("training.precision: bf16-mixed, but this %s does not multiply bfloat16 in hardware: slow", what)
    return found


class _Packed(nn.Module):
    """A model whose ``forward`` is ``forward_packed``: precision and DDP only see calls of ``forward``."""

    def __init__(self, model: Reasoner):
        super().__init__()
        self.model = model

    def forward(self, carries: Sequence[Carry], batches: Sequence[Batch]) -> list[tuple[Carry, Output]]:
        return self.model.forward_packed(carries, batches)
