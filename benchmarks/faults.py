"""Kill a run with SIGKILL at random times, resume it each time, and compare it with an uninterrupted run.

Meanwhile a thread reads status.json without pause. Checkpoints are so frequent that many kills
interrupt the writing of one. A checkpoint counts as unreadable if a file does not match its checksum.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

from hrm_arc.errors import UserError
from hrm_arc.runs.checkpoint import LATEST, TRAINING, WEIGHTS, check, list_checkpoints
from hrm_arc.runs.folder import RunFolder
from hrm_arc.runs.metrics import read_metrics

HRM = [sys.executable, "-m", "hrm_arc", "train"]
FLAGS = [
    *("--data.smallest", "2", "--data.augment", "20", "--model.hidden_size", "32", "--model.num_heads", "2"),
    *("--training.max_minutes", "0", "--training.batch_size", "8", "--training.checkpoint_every", "2"),
    *("--validation.every", "40", "--training.accelerator", "cpu"),
]
# Values of metrics.jsonl that differ between two runs of one recipe.
MEASURED = ("seconds", "timing", "samples_per_sec", "cells_per_sec", "model_flops_per_sec", "peak_memory_bytes")


class Reader(threading.Thread):
    """Reads every status.json under a folder again and again, and counts reads that do not parse."""

    def __init__(self, root: Path):
        super().__init__(daemon=True)
        self.root = root
        self.reads = self.invalid = 0
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.is_set():
            for path in self.root.glob("*/status.json"):
                self.reads += 1
                try:
                    json.loads(path.read_text())
                except ValueError:
                    self.invalid += 1
            time.sleep(0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kills", type=int, default=50, help="number of kills (default 50)")
    parser.add_argument("--steps", type=int, help="length of the run (default: 100 steps for each kill)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the times of the kills (default 0)")


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    steps = ["--training.max_steps", str(options.steps or 100 * options.kills)]
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        straight = _finish([*HRM, "quickstart", *FLAGS, *steps, "--out", str(root / "straight")], root / "straight")
        reader = Reader(root / "killed")
        reader.start()
        kills, resumed, unreadable, inside = _kill_often(root / "killed", steps, options.kills, options.seed)
        reader.ended.set()
        reader.join()
        rows = [
            ("kills", str(kills)),
            ("of them while a checkpoint was being written", str(inside)),
            ("tensors that differ at the end", f"{_differing(straight, resumed)} of {len(_tensors(straight))}"),
            ("rows of metrics that differ, are missing or come twice", str(_differing_rows(straight, resumed))),
            ("unreadable checkpoints", str(unreadable)),
            ("invalid reads of status.json", f"{reader.invalid} of {reader.reads:,}"),
        ]
    yield from ({"what": name, "count": value} for name, value in rows)


def _kill_often(root: Path, steps: list[str], kills: int, seed: int) -> tuple[int, RunFolder, int, int]:
    """Kill and resume a run ``kills`` times, then let it end.

    Returns:
        number of kills, the run, unreadable checkpoints, kills while a checkpoint was being written.
    """
    moments = random.Random(seed)
    command = [*HRM, "quickstart", *FLAGS, *steps, "--out", str(root)]
    unreadable = inside = 0
    for _ in range(kills):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        before = _progress(root)
        while process.poll() is None and _progress(root) in (0, before):
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.3))
        if process.poll() is not None:
            raise UserError("--steps", "the run ended before all kills were done, expected more steps")
        process.send_signal(signal.SIGKILL)
        process.wait()
        (path,) = root.iterdir()
        folder = RunFolder(path)
        inside += any(folder.checkpoints.glob(".*"))
        for checkpoint in list_checkpoints(folder.checkpoints, LATEST):
            try:
                check(checkpoint)
            except UserError:
                unreadable += 1
        command = [*HRM, "--resume", str(path)]
    return kills, _finish(command, root), unreadable, inside


def _finish(command: list[str], root: Path) -> RunFolder:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (path,) = root.iterdir()
    return RunFolder(path)


def _progress(root: Path) -> int:
    return sum(path.stat().st_mtime_ns for path in root.glob("*/checkpoints"))


def _tensors(run: RunFolder) -> dict[str, Any]:
    newest = list_checkpoints(run.checkpoints, LATEST)[-1]
    return load_file(newest / WEIGHTS) | load_file(newest / TRAINING)


def _differing(one: RunFolder, other: RunFolder) -> int:
    a, b = _tensors(one), _tensors(other)
    return len(a.keys() ^ b.keys()) + sum(a[name].tobytes() != b[name].tobytes() for name in a.keys() & b.keys())


def _differing_rows(one: RunFolder, other: RunFolder) -> int:
    """Number of rows of metrics that differ, are missing or come twice; ``MEASURED`` values are ignored."""
    a, b = (
        [{key: value for key, value in row.items() if key not in MEASURED} for row in read_metrics(run.metrics_file)]
        for run in (one, other)
    )
    return abs(len(a) - len(b)) + sum(x != y for x, y in zip(a, b, strict=False))
