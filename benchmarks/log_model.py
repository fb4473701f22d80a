"""A training step of the log's model on a CPU, with our layers and with torch's own.

Forward and backward through all eight cycles at 900 tokens, dropout on, each layer computed
again when its gradients are due; each kind in a process of its own, for its peak memory.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator
from typing import Any

from benchmarks._processes import hrm

KINDS = {"ours": "this project's layers", "torch": "torch.nn.TransformerEncoderLayer"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--one", choices=KINDS, help=argparse.SUPPRESS)


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    if options.one:
        yield _step(options.one, options.batch)
        return
    for kind, name in KINDS.items():
        (done,) = hrm("bench", "log_model", "--one", kind, "--batch", str(options.batch))["rows"]
        yield {"layers": name, "samples/s": f"{done['rate']:.3f}", "peak memory, GB": f"{done['memory']:.1f}"}


def _step(kind: str, batch: int) -> dict[str, Any]:
    """Samples per second and peak memory of one step."""
    import torch
    from torch import nn

    from hrm_arc.models.dual_loop import DualLoop, DualLoopConfig
    from hrm_arc.models.reasoner import Batch
    from hrm_arc.training.losses import LossConfig, segment_losses

    torch.manual_seed(0)
    config = DualLoopConfig(recompute=True)
    model = DualLoop(config).train()
    if kind == "torch":
        for layers in (model.h_layers, model.l_layers):
            for place in range(len(layers)):
                layers[place] = nn.TransformerEncoderLayer(
                    config.width, config.heads, 4 * config.width, config.dropout, batch_first=True
                )
    cells = torch.randint(0, 12, (batch, 900))
    none = torch.zeros(batch, dtype=torch.int64)
    samples = Batch(30, 30, cells, cells, none, none, torch.arange(10).repeat(batch, 1), none)
    started = time.perf_counter()
    _, output = model.think(model.start(samples), samples)
    segment_losses(output, cells, LossConfig(ignore_padding=False)).total.mean().backward()
    seconds = time.perf_counter() - started
    return {"rate": batch / seconds, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}
