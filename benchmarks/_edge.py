"""One measurement of ``benchmarks/edge.py`` in its own process: seconds for each grid, and peak memory in bytes."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from hrm_arc.deploy.validating import with_model_rows
from hrm_arc.evaluation.backend import Backend
from hrm_arc.puzzles.augmented import AugmentedSet
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.telemetry import peak_memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="a run folder or an exported file")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--canvas", choices=["cropped", "full"], required=True)
    parser.add_argument("--grids", type=int, required=True)
    options = parser.parse_args()
    backend: Backend
    if options.model.suffix == ".onnx":
        from hrm_arc.deploy.runtime import OnnxBackend

        backend = OnnxBackend(options.model, threads=options.threads)
        card = backend.card
        batch_size = 64
    else:
        import torch

        from hrm_arc.evaluation.torch_backend import load_model

        torch.set_num_threads(options.threads)
        # As the exported files, whose numbers are single precision or quantized from it.
        backend, card = load_model(options.model, "cpu", "32-true")
        # Larger batches are not faster, and TorchBackend does not limit its memory.
        batch_size = 64 if options.canvas == "cropped" else 8
    corpus = Corpus(solve=load_tasks("arc-agi-1/evaluation"))
    puzzles = with_model_rows(corpus.held_out_puzzles(), corpus, card)
    data = AugmentedSet(puzzles, augment=7, canvas=options.canvas)
    indices = data.part(options.grids / len(data))
    batches = [
        part
        for start in range(0, len(indices), batch_size)
        for part in data.samples(indices[start : start + batch_size])
    ]
    backend.answer(batches[0])
    seconds = np.zeros(len(batches))
    for number, samples in enumerate(batches):
        started = time.perf_counter()
        backend.answer(samples)
        seconds[number] = time.perf_counter() - started
    print(json.dumps({"seconds": float(seconds.sum() / len(indices)), "bytes": peak_memory()}))


if __name__ == "__main__":
    main()
