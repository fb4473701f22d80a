"""Matrix products with weights in eight bits, compared with single precision, on this processor.

Eight products in sequence in ONNX Runtime, quantized as ``hrm export --int8`` does it and not quantized; the two
alternate, and the table has medians. The gain depends on whether the processor has eight-bit dot products; it bounds
what ``hrm bench edge`` can gain.
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
# Names of instructions for eight-bit dot products in /proc/cpuinfo, on x86 and on Arm.
DOT_PRODUCTS = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--hidden-size", type=int, default=352, help="side of the square weights (default 352)")
    parser.add_argument("--rows", type=int, default=4096, help="tokens in a product (default 4096)")
    parser.add_argument("--repeats", type=int, default=9, help="measurements of each (default 9)")


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    from hrm_arc.deploy.quantize import to_int8

    random, size = np.random.default_rng(0), options.hidden_size
    x = random.normal(size=(options.rows, size)).astype(np.float32)
    fp32 = _chain(random, size)
    int8, float_ops, _ = to_int8(fp32, [{"x": x}])
    has = [name for name in DOT_PRODUCTS if name in Path("/proc/cpuinfo").read_text().split()]
    for threads in (1, 2):
        seconds: dict[str, list[float]] = {"fp32": [], "int8": []}
        sessions = {"fp32": _session(fp32, threads), "int8": _session(int8, threads)}
        for repeat in range(options.repeats + 1):
            for name, session in sessions.items():
                started = time.perf_counter()
                session.run(None, {"x": x})
                if repeat:
                    seconds[name].append(time.perf_counter() - started)
        single, eight = (1000 * statistics.median(seconds[name]) for name in ("fp32", "int8"))
        yield {
            "products": f"{PRODUCTS} of {options.rows} x {size} with {size} x {size}",
            "in eight bits": PRODUCTS - float_ops.get("MatMul", 0),
            "cores": threads,
            "single precision, ms": f"{single:.0f}",
            "eight bits, ms": f"{eight:.0f}",
            "speedup": f"{single / eight:.2f}",
            "eight-bit dot products": ", ".join(has) or "none",
        }


def _chain(random: np.random.Generator, hidden_size: int) -> Any:
    """An ONNX model of products in sequence with square weights; ``x`` and ``y`` are ``[rows, hidden_size]``."""
    from onnx import TensorProto, helper, numpy_helper

    names = ["x", *(f"t{n}" for n in range(1, PRODUCTS)), "y"]
    nodes = [helper.make_node("MatMul", [names[n], f"w{n}"], [names[n + 1]], f"product{n}") for n in range(PRODUCTS)]
    weights = [
        numpy_helper.from_array(
            (random.normal(size=(hidden_size, hidden_size)) / np.sqrt(hidden_size)).astype(np.float32), f"w{n}"
        )
        for n in range(PRODUCTS)
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", hidden_size]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "products", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def _session(model: Any, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
