"""Sharing test inputs among the processes that torchrun started."""

from __future__ import annotations

import atexit
import os
from collections.abc import Sequence
from datetime import timedelta
from typing import TypeVar

Item = TypeVar("Item")


def meet(backend: str, timeout: timedelta | None = None) -> None:
    """Join the processes that torchrun started, unless that is done.

    torchrun starts all of them again when one is lost, with the store in which they had left
    addresses for each other; workers that found those of the dead would wait for them. So each
    start keeps its addresses under a name of its own.

    A process that leaves without a word has its connections torn down among other things that
    end with it, and may be aborted for that after its work is done. So each takes leave at exit.

    Args:
        backend: ``gloo`` or ``nccl``.
        timeout: how long one waits for the others; torch's default if None.
    """
    import torch.distributed as dist  # A machine without torch is alone.

    if dist.is_initialized():
        return
    atexit.register(_leave)
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        dist.init_process_group(backend, timeout=timeout)
        return
    rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    agent = dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), count, is_master=False)  # type: ignore[attr-defined]
    store = dist.PrefixStore(f"start-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", agent)  # type: ignore[attr-defined]
    dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=timeout)


def _leave() -> None:
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()


class Shares:
    """This process's share of the work, and how the results come together.

    Under torchrun it joins the others (over gloo: predictions are small and lie on the CPU);
    otherwise it is alone and the share is everything.

    Attributes:
        rank: which process this is, from 0.
        leads: whether it is the one that scores and writes.
    """

    def __init__(self) -> None:
        self._count = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        self.leads = self.rank == 0
        if self._count == 1:
            return
        # One that has little left to do waits for the others, for days if it takes them days.
        meet("gloo", timedelta(days=30))

    def own(self, items: Sequence[Item]) -> list[Item]:
        """Every so-manieth item, so that small and large ones mix."""
        return list(items[self.rank :: self._count])

    def together(self, results: list[Item]) -> list[Item]:
        """Everybody's results, one process's after another's."""
        if self._count == 1:
            return results
        import torch.distributed as dist

        gathered: list[list[Item]] = [[] for _ in range(self._count)]
        dist.all_gather_object(gathered, results)
        return [result for part in gathered for result in part]
