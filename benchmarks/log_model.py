"""A training step of the log's model on a CPU, with our layers and with torch's own.

Forward and backward through all eight cycles at 900 tokens, dropout on, each layer computed
again when its gradients are due; each kind in a process of its own, for its peak memory.

    python -m benchmarks.log_model [--batch 4]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

KINDS = {"ours": "this project's layers", "torch": "torch.nn.TransformerEncoderLayer"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--one", choices=KINDS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(step(options.one, options.batch)))
        return
    print("| layers | samples/s | peak memory, GB |\n|---|---|---|")
    for kind, name in KINDS.items():
        command = [sys.executable, "-m", "benchmarks.log_model", "--one", kind, "--batch", str(options.batch)]
        done = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
        print(f"| {name} | {done['rate']:.3f} | {done['memory']:.1f} |", flush=True)


def step(kind: str, batch: int) -> dict[str, Any]:
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
    samples = Batch(30, 30, cells, cells, none, none, torch.arange(10).repeat(batch, 1))
    started = time.perf_counter()
    _, output = model(model.start(samples), samples)
    segment_losses(output, cells, LossConfig(ignore_padding=False)).total.mean().backward()
    seconds = time.perf_counter() - started
    return {"rate": batch / seconds, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}


if __name__ == "__main__":
    main()
