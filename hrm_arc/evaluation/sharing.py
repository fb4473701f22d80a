"""Distributed work: the processes that torchrun started divide a list of items among them."""

from __future__ import annotations

import atexit
import gc
import os
from collections.abc import Sequence
from datetime import timedelta
from typing import TypeVar

from hrm_arc.errors import UserError

Item = TypeVar("Item")

# Whole numbers that torchrun sets for each process.
COUNTS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "TORCHELASTIC_RESTART_COUNT")


def check_torchrun() -> None:
    """Check the variables by which torchrun tells a process which one it is.

    Raises:
        UserError: one is missing or has no meaning, as where something else has set it.
    """
    for name in COUNTS:
        value = os.environ.get(name, "0")
        if not (value.isascii() and value.isdecimal() and len(value) < 10):
            raise UserError(name, f"{value!r:.40} in the environment, expected a whole number, as torchrun sets it")
    count = {name: int(os.environ[name]) for name in COUNTS if name in os.environ}
    processes = count.get("WORLD_SIZE", 1)
    if processes < 1 or count.get("RANK", 0) >= processes or count.get("LOCAL_WORLD_SIZE", 1) > processes:
        said = ", ".join(f"{name}={value}" for name, value in count.items())
        raise UserError("the environment", f"{said}: no process of torchrun has these; unset them to run alone")
    needed = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT") if processes > 1 else ()
    if missing := [name for name in needed if name not in os.environ]:
        raise UserError(missing[0], f"is not set, and WORLD_SIZE is {processes}; start the processes with torchrun")


def init_process_group(backend: str, timeout: timedelta | None = None) -> None:
    """Initialize torch's process group for the processes that torchrun started, unless it is initialized.

    When torchrun loses a process, it restarts all of them with the same store. That store still holds the
    addresses of the dead processes, and a new process that read them would wait for ever. So each restart
    stores its addresses under its own prefix.

    The group is destroyed at exit. Without this the interpreter may tear down the connections in the wrong
    order and abort the process after its work is done.

    Args:
        backend: ``gloo`` or ``nccl``.
        timeout: the longest wait for other processes; torch's default if None.
    """
    import torch.distributed as dist  # Imported here: a machine without torch has one process.

    if dist.is_initialized():
        return
    atexit.register(_destroy_process_group)
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        dist.init_process_group(backend, timeout=timeout)
        return
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    agent = dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), world_size, is_master=False)  # type: ignore[attr-defined]
    store = dist.PrefixStore(f"start-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", agent)  # type: ignore[attr-defined]
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=timeout)


def _destroy_process_group() -> None:
    import torch.distributed as dist

    if dist.is_initialized():
        # What still holds the group, such as a model in a circle of references, would outlive it, and a thread of the
        # group would abort the process.
        gc.collect()
        dist.destroy_process_group()


class WorkShare:
    """The share of this process in a list of items, and the gathering of all results.

    Under torchrun the processes communicate through gloo, because predictions are small and lie on the CPU.
    Otherwise there is one process, and its share is everything.

    Attributes:
        rank: this process, from 0.
        world_size: the number of processes.
        is_main: whether this process computes the scores and writes the files.
    """

    def __init__(self) -> None:
        self.world_size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        self.is_main = self.rank == 0
        if self.world_size > 1:
            # A process that is done early waits for the others, and an evaluation may take days.
            init_process_group("gloo", timedelta(days=30))

    def own(self, items: Sequence[Item]) -> list[Item]:
        """The items of this process: every ``world_size``-th one, so that small and large items are mixed."""
        return list(items[self.rank :: self.world_size])

    def gather(self, results: list[Item]) -> list[Item]:
        """The results of all processes, in the order of their ranks."""
        if self.world_size == 1:
            return results
        import torch.distributed as dist

        gathered: list[list[Item]] = [[] for _ in range(self.world_size)]
        dist.all_gather_object(gathered, results)
        return [result for part in gathered for result in part]
