"""Samples per second and model FLOPs utilization (MFU): padded and cropped canvases, and other packages.

The data are pairs of ARC-AGI-1's training tasks. A step is a training step, or in inference one segment. All
implementations of a model are timed alternately in one process, each in the precision in which it is faster; the table
has medians. Peak memory is measured in a process of its own. The log's model is compared with its straightforward form,
HRM and TRM with their packages on PyPI if these are installed: pip install 'hrm-arc[bench]'.

With --against COMMIT whole commands of this version and of that one run in turn: trainings, each after a warm-up, and
an evaluation.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks._against import NAMES, compare
from benchmarks._processes import hrm
from benchmarks.race import MODELS
from hrm_arc.cli.show import note
from hrm_arc.errors import UserError
from hrm_arc.hardware import Precision, autocast, chosen_precision, multiplies_bf16, product_speed
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
    parser.add_argument("--compile", action="store_true", help="also measure with torch.compile (default: on a GPU)")
    parser.add_argument("--no-memory", action="store_true", help="do not measure peak memory")
    parser.add_argument("--against", metavar="COMMIT", help="compare with this version of the repository")
    parser.add_argument("--work", nargs="+", choices=NAMES, default=list(NAMES), help="with --against: only these")
    parser.add_argument(
        "--precision", choices=("32-true", "bf16-mixed"), help="with --against: of both (default: what each chooses)"
    )
    parser.add_argument("--one", nargs=4, metavar=("MODEL", "WAY", "WORK", "PRECISION"), help=argparse.SUPPRESS)


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    other = {"--only": list(options.only) != list(MODELS), "--padded": options.padded, "--cropped": options.cropped}
    other |= {"--compile": options.compile, "--no-memory": options.no_memory}
    with_against = {"--work": list(options.work) != list(NAMES), "--precision": options.precision}
    if unused := [flag for flag, given in (other if options.against else with_against).items() if given]:
        raise UserError(unused[0], f"is for the table {'without' if options.against else 'of'} --against")
    if options.against:
        yield from compare(options.against, options.work, options.repeats, options.precision)
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


def _release_memory() -> None:
    """Give the memory of what is no longer used back to the GPU, for measurements in other processes."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


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
        settled = {way: self._settle(contestant, work) for way, contestant in contestants.items()}
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        peaks: dict[Precision, list[float]] = {precision: [] for precision, _ in settled.values()}
        for _ in range(self._options.repeats):
            for precision, values in peaks.items():
                values.append(self._peak(precision))
            for way, contestant in contestants.items():
                seconds[way].append(self._seconds(contestant, work, settled[way][0]))
        del contestants, contestant
        _release_memory()
        peak = {precision: statistics.median(values) for precision, values in peaks.items()}
        shown = ", ".join(f"{value / 1e9:.0f} GFLOP/s in {precision}" for precision, value in peak.items())
        note(f"{model}, {WORKS[work]}: the measured peak of products of large matrices is {shown}")
        operations = {canvas: self._operations(model, canvas, work) for canvas in ("padded", "cropped")}
        _release_memory()
        medians = {way: statistics.median(times) for way, times in seconds.items()}
        rates = {way: self._samples(model, way) / median for way, median in medians.items()}
        for way, rate in rates.items():
            flops = operations["cropped" if "cropped" in way else "padded"]
            yield {
                "model": model,
                "work": WORKS[work],
                "implementation": way,
                "precision": settled[way][0],
                "samples per step": self._samples(model, way),
                "samples/s": f"{rate:.3g}",
                "times as fast": f"{rate / rates[next(iter(rates))]:.2f}",
                "non-padding cells/s": f"{rate * self._mix.non_padding:,.0f}",
                "GFLOP per sample": f"{flops / 1e9:,.1f}",
                "MFU": f"{rate * flops / peak[settled[way][0]]:.0%}",
                "peak memory": self._memory(model, way, work, settled[way][0]),
                "first step, s": f"{settled[way][1]:.1f}",
            }

    def _settle(self, contestant: Contestant, work: str) -> tuple[Precision, float]:
        """The precision in which a contestant is fastest, and the seconds of its first step, which is a warm-up.

        With torch.compile most of the first step is compilation.
        """
        found: dict[Precision, tuple[float, float]] = {}
        for precision in self._precisions():
            first = self._seconds(contestant, work, precision)
            found[precision] = (self._seconds(contestant, work, precision), first)
        best = min(found, key=lambda precision: found[precision][0])
        return best, found[best][1]

    def _precisions(self) -> list[Precision]:
        if self._device.type == "cuda":
            return ["bf16-mixed"]
        return ["32-true", "bf16-mixed"] if multiplies_bf16(self._device.type) else ["32-true"]

    def large(self, model: str) -> dict[str, Any]:
        """The row of one training step with the log's batch size and activation checkpointing."""
        precision = chosen_precision("auto", self._device.type)
        done = hrm("bench", "throughput", "--one", model, LARGE_WAY, "train_step", precision)["rows"][0]
        return {
            "model": model,
            "work": WORKS["train_step"],
            "implementation": LARGE_WAY,
            "precision": precision,
            "samples per step": LARGE,
            "samples/s": f"{LARGE / done['seconds']:.3g}",
            "times as fast": "-",
            "non-padding cells/s": f"{LARGE / done['seconds'] * self._mix.non_padding:,.0f}",
            "GFLOP per sample": "-",
            "MFU": "-",
            "peak memory": f"{done['bytes'] / 1e9:.1f} GB",
            "first step, s": f"{done['first']:.1f}",
        }

    def one(self, model: str, way: str, work: str, precision: Precision) -> dict[str, Any]:
        """Time and memory of a step in this process, which does nothing else."""
        contestant = self._large(model) if way == LARGE_WAY else self._ways(model)[way]()
        first = seconds = self._seconds(contestant, work, precision)
        if self._device.type == "cuda":
            # On a GPU the first step is mostly the initialization of libraries; on a CPU it is like any other.
            seconds = self._seconds(contestant, work, precision)
        return {"first": first, "seconds": seconds, "bytes": self._peak_memory()}

    def _memory(self, model: str, way: str, work: str, precision: Precision) -> str:
        if self._options.no_memory:
            return "-"
        sizes = [f"--{name}={n}" for name in ("padded", "cropped") if (n := getattr(self._options, name))]
        compiled = ["--compile"] if self._options.compile else []
        done = hrm("bench", "throughput", *sizes, *compiled, "--one", model, way, work, precision)["rows"][0]
        return f"{done['bytes'] / 1e9:.1f} GB"

    def _ways(self, model: str) -> dict[str, Callable[[], Contestant]]:
        """How to build each implementation; the first one is the baseline of the others."""
        from benchmarks._contestants import ProjectModel, hrm_package, plain_loop, trm_package

        padded, cropped = (self._batches(model, canvas) for canvas in ("padded", "cropped"))
        others: dict[str, Callable[[bool], Contestant]] = {}
        if model == "dual-loop":
            others["plain loop"] = lambda compiled: plain_loop(padded[0], compiled)
        if model in PACKAGES and importlib.util.find_spec(PACKAGES[model][1]):
            package = {"hrm": hrm_package, "trm": trm_package}[model]
            others[PACKAGES[model][0]] = lambda compiled: package(padded[0], compiled)
        ways: dict[str, Callable[[], Contestant]] = {}
        for compiled in (False, True) if self._options.compile or self._device.type == "cuda" else (False,):
            suffix = ", compiled" if compiled else ""
            for name, build in others.items():
                ways[f"{name}, padded{suffix}"] = partial(build, compiled)
            ways[f"padded{suffix}"] = partial(ProjectModel, model, padded, compiled=compiled)
            ways[f"cropped{suffix}"] = partial(ProjectModel, model, cropped, compiled=compiled)
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

    def _seconds(self, contestant: Contestant, work: str, precision: Precision) -> float:
        import torch

        started = time.perf_counter()
        with autocast(precision, self._device.type):
            getattr(contestant, work)()
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    def _peak(self, precision: Precision) -> float:
        """The measured peak: FLOP/s of products of large matrices."""
        import torch

        dtype = torch.bfloat16 if precision == "bf16-mixed" else torch.float32
        return product_speed(self._device.type, dtype)

    def _peak_memory(self) -> int:
        import torch

        return torch.cuda.max_memory_allocated() if self._device.type == "cuda" else peak_memory()
