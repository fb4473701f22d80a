"""Samples per second and model FLOPs utilization (MFU): padded and cropped canvases, and other packages.

The data are pairs of ARC-AGI-1's training tasks. A step is a training step, or in inference one segment. All
implementations of a model are timed alternately in one process; the table has medians. Peak memory is
measured in a process of its own. The log's model is compared with its straightforward form, HRM and TRM
with their packages on PyPI if these are installed: pip install 'hrm-arc[bench]'.

With --against COMMIT whole commands of this version and of that one run in turn: trainings, each after a warm-up, and
an evaluation.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from benchmarks._against import NAMES, compare
from benchmarks._processes import hrm
from benchmarks.race import MODELS
from hrm_arc.cli.show import note
from hrm_arc.telemetry import peak_memory

if TYPE_CHECKING:
    from benchmarks._contestants import Contestant, Mix

# Names of both kinds of step, by the method of a contestant.
WORKS = {"train_step": "training", "infer": "inference"}
# The package on PyPI and its module, by the model that it implements.
PACKAGES = {"hrm": ("hrm-pytorch", "HRM"), "trm": ("tiny-recursive-model", "tiny_recursive_model")}
# Batch sizes on a CPU, where a step on one padded sample takes most models seconds.
PADDED = 1
CROPPED = {"dual-loop": 8, "hrm": 8, "trm": 8, "grid-hrm": 64}
# Batch sizes on a GPU, where small batches would measure kernel launches only.
PADDED_ON_GPU, CROPPED_ON_GPU = 32, 512
# The log's batch size. The plain loop has too little memory for it.
LARGE = 20
LARGE_WAY = f"padded, batch {LARGE}, recomputed"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repeats", type=int, default=3, help="timed steps of each kind (default 3)")
    parser.add_argument("--only", nargs="+", choices=MODELS, default=list(MODELS), help="measure only these models")
    parser.add_argument("--padded", type=int, help="batch size on padded canvases (default 1; on a GPU 32)")
    parser.add_argument(
        "--cropped", type=int, help="batch size on cropped canvases (default 8, grid-hrm 64; on a GPU 512)"
    )
    parser.add_argument(
        "--compile", action="store_true", help="also measure with torch.compile (default: on a GPU, padded only)"
    )
    parser.add_argument("--no-memory", action="store_true", help="do not measure peak memory")
    parser.add_argument("--against", metavar="COMMIT", help="compare with this version of the repository")
    parser.add_argument("--work", nargs="+", choices=NAMES, default=list(NAMES), help="with --against: only these")
    parser.add_argument("--one", nargs=3, metavar=("MODEL", "WAY", "WORK"), help=argparse.SUPPRESS)


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    if options.against:
        yield from compare(options.against, options.work, options.repeats)
        return
    machine = _Machine(options)
    if options.one:
        yield machine.one(*options.one)
        return
    for model in options.only:
        for work in WORKS:
            yield from machine.compare(model, work)
        if model == "dual-loop":
            yield machine.large(model)


class _Machine:
    """This machine's device, the data, and the options."""

    def __init__(self, options: argparse.Namespace):
        import torch

        from benchmarks._contestants import Mix

        self._options = options
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._mix: Mix = Mix()
        if not options.one:
            note(self._mix.describe())

    def compare(self, model: str, work: str) -> Iterator[dict[str, Any]]:
        """Rows of all implementations of one model, timed alternately."""
        ways = self._ways(model)
        contestants = {way: build() for way, build in ways.items()}
        # The first step is a warm-up; with torch.compile most of it is compilation.
        first = {way: self._seconds(contestant, work) for way, contestant in contestants.items()}
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        peaks = []
        for _ in range(self._options.repeats):
            peaks.append(self._peak())
            for way, contestant in contestants.items():
                seconds[way].append(self._seconds(contestant, work))
        del contestants
        peak = statistics.median(peaks)
        note(f"{model}, {WORKS[work]}: the measured peak of products of large matrices is {peak / 1e9:.0f} GFLOP/s")
        operations = {canvas: self._operations(model, canvas, work) for canvas in ("padded", "cropped")}
        medians = {way: statistics.median(times) for way, times in seconds.items()}
        rates = {way: self._samples(model, way) / median for way, median in medians.items()}
        for way, rate in rates.items():
            flops = operations["cropped" if "cropped" in way else "padded"]
            yield {
                "model": model,
                "work": WORKS[work],
                "implementation": way,
                "samples per step": self._samples(model, way),
                "samples/s": f"{rate:.3g}",
                "times as fast": f"{rate / rates[next(iter(rates))]:.2f}",
                "non-padding cells/s": f"{rate * self._mix.non_padding:,.0f}",
                "GFLOP per sample": f"{flops / 1e9:,.1f}",
                "MFU": f"{rate * flops / peak:.0%}",
                "peak memory": self._memory(model, way, work),
                "first step, s": f"{first[way]:.1f}",
            }

    def large(self, model: str) -> dict[str, Any]:
        """The row of one training step with the log's batch size and activation checkpointing."""
        done = hrm("bench", "throughput", "--one", model, LARGE_WAY, "train_step")["rows"][0]
        return {
            "model": model,
            "work": WORKS["train_step"],
            "implementation": LARGE_WAY,
            "samples per step": LARGE,
            "samples/s": f"{LARGE / done['seconds']:.3g}",
            "times as fast": "-",
            "non-padding cells/s": f"{LARGE / done['seconds'] * self._mix.non_padding:,.0f}",
            "GFLOP per sample": "-",
            "MFU": "-",
            "peak memory": f"{done['bytes'] / 1e9:.1f} GB",
            "first step, s": f"{done['first']:.1f}",
        }

    def one(self, model: str, way: str, work: str) -> dict[str, Any]:
        """Time and memory of a step in this process, which does nothing else."""
        contestant = self._large(model) if way == LARGE_WAY else self._ways(model)[way]()
        first = seconds = self._seconds(contestant, work)
        if self._device.type == "cuda":
            # On a GPU the first step is mostly the initialization of libraries; on a CPU it is like any other.
            seconds = self._seconds(contestant, work)
        return {"first": first, "seconds": seconds, "bytes": self._peak_memory()}

    def _memory(self, model: str, way: str, work: str) -> str:
        if self._options.no_memory:
            return "-"
        sizes = [f"--{name}={n}" for name in ("padded", "cropped") if (n := getattr(self._options, name))]
        compiled = ["--compile"] if self._options.compile else []
        done = hrm("bench", "throughput", *sizes, *compiled, "--one", model, way, work)["rows"][0]
        return f"{done['bytes'] / 1e9:.1f} GB"

    def _ways(self, model: str) -> dict[str, Callable[[], Contestant]]:
        """How to build each implementation; the first one is the baseline of the others."""
        from benchmarks._contestants import ProjectModel, hrm_package, plain_loop, trm_package

        padded, cropped = (self._batches(model, canvas) for canvas in ("padded", "cropped"))
        ways: dict[str, Callable[[], Contestant]] = {}
        if model == "dual-loop":
            ways["plain loop, padded"] = lambda: plain_loop(padded[0])
        if model in PACKAGES and importlib.util.find_spec(PACKAGES[model][1]):
            package = {"hrm": hrm_package, "trm": trm_package}[model]
            ways[f"{PACKAGES[model][0]}, padded"] = lambda: package(padded[0])
        ways["padded"] = lambda: ProjectModel(model, padded)
        ways["cropped"] = lambda: ProjectModel(model, cropped)
        if self._options.compile or self._device.type == "cuda":
            ways["padded, compiled"] = lambda: ProjectModel(model, padded, compiled=True)
        if self._options.compile:
            # Every combination of canvases is compiled anew, which takes many minutes, so it is not the default.
            ways["cropped, compiled"] = lambda: ProjectModel(model, cropped, compiled=True)
        return ways

    def _large(self, model: str) -> Contestant:
        from benchmarks._contestants import ProjectModel

        return ProjectModel(model, self._mix.batches("full", LARGE, self._device), {"recompute": True})

    def _batches(self, model: str, canvas: str) -> Any:
        if canvas == "padded":
            return self._mix.batches("full", self._samples(model, canvas), self._device)
        return self._mix.batches("cropped", self._samples(model, canvas), self._device)

    def _samples(self, model: str, way: str) -> int:
        on_gpu = self._device.type == "cuda"
        if "cropped" in way:
            return self._options.cropped or (CROPPED_ON_GPU if on_gpu else CROPPED[model])
        return self._options.padded or (PADDED_ON_GPU if on_gpu else PADDED)

    def _operations(self, model: str, canvas: str, work: str) -> float:
        """Floating-point operations per sample, without dropout and recomputation."""
        from benchmarks._contestants import ProjectModel, operations

        plain: Mapping[str, Any] = {"dropout": 0.0} if model == "dual-loop" else {}
        contestant = ProjectModel(model, self._batches(model, canvas), plain)
        return operations(getattr(contestant, work)) / self._samples(model, canvas)

    def _seconds(self, contestant: Contestant, work: str) -> float:
        import torch

        on_gpu = self._device.type == "cuda"
        started = time.perf_counter()
        with torch.autocast("cuda", torch.bfloat16, enabled=on_gpu):
            getattr(contestant, work)()
        if on_gpu:
            torch.cuda.synchronize()
        return time.perf_counter() - started

    def _peak(self) -> float:
        """The measured peak: FLOP/s of a product of large matrices, in single precision, on a GPU in bfloat16."""
        import torch

        on_gpu = self._device.type == "cuda"
        size, repeats = (8192, 20) if on_gpu else (2048, 4)
        a = torch.randn(size, size, device=self._device, dtype=torch.bfloat16 if on_gpu else torch.float32)
        out = a @ a
        if on_gpu:
            torch.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(repeats):
            torch.mm(a, a, out=out)
        if on_gpu:
            torch.cuda.synchronize()
        return repeats * 2 * size**3 / (time.perf_counter() - started)

    def _peak_memory(self) -> int:
        import torch

        return torch.cuda.max_memory_allocated() if self._device.type == "cuda" else peak_memory()
