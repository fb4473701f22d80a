"""The studio's first views, in a browser: 500 runs, a run of 2,000,000 rows of metrics, 400 thumbnails; its memory, and
what 20 clients that watch a live run cost.

The cost is the processor time of the server as a share of one core: a trainer cannot lose more to it. Needs Chromium
and playwright.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from benchmarks._runs import positive
from hrm_arc.files import sealed_row, write_sealed_json
from hrm_arc.runs.folder import RunFolder, create_run
from hrm_arc.training.recipes import load_recipe

NUMBERS = {
    "halt_loss": 0.1,
    "halt_accuracy": 0.9,
    "mean_segments": 3.2,
    "grad_norm": 1.1,
    "lr": 1e-3,
    "token_accuracy": 0.8,
    "samples_per_sec": 310.1,
    "cells_per_sec": 123456.7,
    "model_flops_per_sec": 1.2e10,
    "peak_memory_bytes": 5e8,
}
BATCH = 20_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=500, help="runs in the list (default 500)")
    parser.add_argument(
        "--rows", type=int, default=2_000_000, help="rows of metrics of one of them (default 2,000,000)"
    )
    parser.add_argument("--clients", type=int, default=20, help="clients that watch a live run (default 20)")
    parser.add_argument("--repeats", type=int, default=5, help="times that each view is opened (default 5)")
    parser.add_argument("--seconds", type=positive, default=30.0, help="of watching (default 30)")


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "runs"
        recipe = load_recipe("quickstart").as_dict()
        for number in range(options.runs - 1):
            _run(root, f"run-{number:03d}", recipe, 50)
        _run(root, "long", recipe, options.rows)
        with _studio(root) as (process, address):
            yield from _views(options, address, process.pid)
            yield {"what": "memory of the server", "median": f"{_memory(process.pid) / 1e6:.0f} MB"}
            yield _watched(options, process.pid, address, RunFolder(root / "long"))


def _run(root: Path, name: str, recipe: dict[str, Any], rows: int) -> None:
    made = create_run(root, {**recipe, "name": name, "seed": rows})
    run = RunFolder(made.path.rename(root / name))
    status = {
        "state": "finished",
        "current_step": rows,
        "start_time": "2026-01-01T00:00:00+00:00",
        "samples_per_sec": 99.0,
    }
    write_sealed_json(run.status_file, {**status, "baselines": {"copy_input": {"exact_accuracy": 0.01}}})
    with run.metrics_file.open("w") as file:
        for start in range(1, rows + 1, BATCH):
            file.writelines(_row(step) for step in range(start, min(start + BATCH, rows + 1)))


def _row(step: int) -> str:
    row = sealed_row({"kind": "train", "step": step, "seconds": 0.05 * step, "loss": 3 / (1 + step / 1e5), **NUMBERS})
    if step % 2000:
        return row
    return row + sealed_row({"kind": "validation", "step": step, "loss": 1.0, "exact_accuracy": 0.5})


@contextlib.contextmanager
def _studio(root: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "hrm_arc", "studio", str(root), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _views(options: argparse.Namespace, address: str, pid: int) -> Iterator[dict[str, Any]]:
    """Each view from its address to what it shows, the first time and later ones."""
    views = {
        f"{options.runs} runs": ("#/runs", "tr[data-run=long]"),
        f"a run of {options.rows:,} rows": ("#/run?run=long", "svg.chart path.line"),
        "400 thumbnails": ("#/tasks?source=arc-agi-1%2Ftraining", ".task:nth-child(400) canvas"),
    }
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for what, (place, selector) in views.items():
            seconds, before = [], _processor_seconds(pid)
            for _ in range(options.repeats):
                page = browser.new_page()
                begun = time.perf_counter()
                page.goto(address + place)
                page.locator(selector).first.wait_for(state="attached")
                seconds.append(time.perf_counter() - begun)
                page.close()
            yield {
                "what": what,
                "first": f"{seconds[0]:.2f} s",
                "median": f"{statistics.median(seconds):.2f} s",
                "slowest": f"{max(seconds):.2f} s",
                "processor time of the server": f"{(_processor_seconds(pid) - before) / options.repeats:.2f} s",
            }
        browser.close()


def _watched(options: argparse.Namespace, pid: int, address: str, run: RunFolder) -> dict[str, Any]:
    """The processor time of the server while clients watch a run that gets a row every second."""
    import urllib.request

    def watch() -> None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}api/run/events?run=long") as events:
            while not ended.is_set() and events.readline():
                pass

    ended = threading.Event()
    clients = [threading.Thread(target=watch, daemon=True) for _ in range(options.clients)]
    for client in clients:
        client.start()
    # The first reading of all rows is not what a live run costs.
    time.sleep(20)
    before, begun = _processor_seconds(pid), time.monotonic()
    step = options.rows
    while time.monotonic() - begun < options.seconds:
        step += 1
        with run.metrics_file.open("a") as file:
            file.write(_row(step))
        time.sleep(1)
    share = (_processor_seconds(pid) - before) / (time.monotonic() - begun)
    ended.set()
    return {"what": f"{options.clients} clients watch a live run: share of a core", "median": f"{share:.2%}"}


def _memory(pid: int) -> int:
    """The highest resident memory of a process, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
