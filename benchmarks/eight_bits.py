"""Products with weights in eight bits beside single precision, on this processor: what `hrm bench edge` can gain.

Eight products one after another in ONNX Runtime, as `hrm export --int8` writes them, and as it
writes them without; in turns, with medians. Processors with eight-bit dot products gain much,
others little.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

PRODUCTS = 8
# What /proc/cpuinfo calls instructions for eight-bit dot products, on x86 and on Arm.
DOT_PRODUCTS = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--width", type=int, default=352, help="of the square weights (default 352)")
    parser.add_argument("--rows", type=int, default=4096, help="tokens at once (default 4096)")
    parser.add_argument("--repeats", type=int, default=9)


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    from hrm_arc.deploy.quantize import to_int8

    draw = np.random.default_rng(0)
    x = draw.normal(size=(options.rows, options.width)).astype(np.float32)
    whole = _chain(draw, options.width)
    small, left, _ = to_int8(whole, [{"x": x}])
    has = [name for name in DOT_PRODUCTS if name in Path("/proc/cpuinfo").read_text().split()]
    for threads in (1, 2):
        seconds: dict[str, list[float]] = {"whole": [], "small": []}
        sessions = {"whole": _session(whole, threads), "small": _session(small, threads)}
        for repeat in range(options.repeats + 1):
            for name, session in sessions.items():
                started = time.perf_counter()
                session.run(None, {"x": x})
                if repeat:
                    seconds[name].append(time.perf_counter() - started)
        single, eight = (1000 * statistics.median(seconds[name]) for name in ("whole", "small"))
        yield {
            "products": f"{PRODUCTS} of {options.rows} x {options.width} with {options.width} x {options.width}",
            "of them in eight bits": PRODUCTS - left.get("MatMul", 0),
            "cores": threads,
            "single precision, ms": f"{single:.0f}",
            "eight bits, ms": f"{eight:.0f}",
            "times as fast": f"{single / eight:.2f}",
            "eight-bit dot products": ", ".join(has) or "none",
        }


def _chain(draw: np.random.Generator, width: int) -> Any:
    """Products one after another, that keep their inputs' size."""
    from onnx import TensorProto, helper, numpy_helper

    names = ["x", *(f"t{n}" for n in range(1, PRODUCTS)), "y"]
    nodes = [helper.make_node("MatMul", [names[n], f"w{n}"], [names[n + 1]], f"product{n}") for n in range(PRODUCTS)]
    weights = [
        numpy_helper.from_array((draw.normal(size=(width, width)) / np.sqrt(width)).astype(np.float32), f"w{n}")
        for n in range(PRODUCTS)
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", width]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "products", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def _session(model: Any, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
