"""Quantization to eight bits, on small graphs."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from hrm_arc.deploy.quantize import MIN_TABLE_SIZE, to_int8

WIDTH = 64
ROWS = MIN_TABLE_SIZE // WIDTH


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    table = draw.normal(size=(ROWS, WIDTH)).astype(np.float32)
    # A row of zeros, and one that is far larger than the others.
    table[0] = 0
    table[1] *= 1000
    places = draw.normal(size=(ROWS, WIDTH)).astype(np.float32)
    square = (draw.normal(size=(2, WIDTH, WIDTH)) / np.sqrt(WIDTH)).astype(np.float32)
    return {"table": table, "places": places, "even": square[0], "uneven": square[1]}


@pytest.fixture(scope="module")
def graph(weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    """Rows of two tables, a product of even inputs, and a product of the fifth powers of its outputs (uneven)."""
    nodes = [
        helper.make_node("Gather", ["table", "row"], ["found"], "find"),
        helper.make_node("Slice", ["places", "first", "length", "first"], ["begin"], "begin"),
        helper.make_node("Add", ["found", "begin"], ["sum"], "add"),
        helper.make_node("MatMul", ["x", "even"], ["mixed"], "even_product"),
        helper.make_node("Pow", ["mixed", "five"], ["tails"], "power"),
        helper.make_node("MatMul", ["tails", "uneven"], ["y"], "uneven_product"),
    ]
    given = [
        helper.make_tensor_value_info("row", TensorProto.INT64, ["n"]),
        helper.make_tensor_value_info("length", TensorProto.INT64, [1]),
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", WIDTH]),
    ]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", WIDTH]) for name in ("sum", "mixed", "y")]
    held = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    held += [
        numpy_helper.from_array(np.array(5, np.float32), "five"),
        numpy_helper.from_array(np.zeros(1, np.int64), "first"),
    ]
    return helper.make_model(
        helper.make_graph(nodes, "made", given, outputs, held),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )


def samples() -> list[dict[str, np.ndarray]]:
    draw, made = np.random.default_rng(1), []
    for _ in range(8):
        x = draw.normal(size=(16, WIDTH)).astype(np.float32)
        made.append({"row": draw.integers(ROWS, size=16), "length": np.array([16]), "x": x})
    return made


def answers(model: onnx.ModelProto, given: dict[str, np.ndarray]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["sum", "mixed", "y"], given)


def test_products_of_uneven_inputs_stay_in_floating_point(graph: onnx.ModelProto) -> None:
    small, floats, layers = to_int8(graph, samples())
    onnx.checker.check_model(small)
    assert layers == ["uneven_product"]
    assert floats == {"MatMul": 1, "Pow": 1, "Gather": 1}, "the scales are gathered in floating point"
    producers = {name: node.op_type for node in small.graph.node for name in node.output}
    products = {node.name: node for node in small.graph.node if node.op_type == "MatMul"}
    assert producers[products["even_product"].input[0]] == "DequantizeLinear"
    assert producers[products["uneven_product"].input[0]] == "Pow"
    # All four weights are in eight bits, also where the product is in floating point.
    assert not [t for t in small.graph.initializer if t.data_type == TensorProto.FLOAT and np.prod(t.dims) >= WIDTH**2]
    assert len(small.SerializeToString()) < 0.3 * len(graph.SerializeToString())


def test_every_row_and_output_channel_has_its_own_scale(graph: onnx.ModelProto, weights: dict[str, np.ndarray]) -> None:
    small, _, _ = to_int8(graph, samples())
    blank = np.zeros((3, WIDTH), dtype=np.float32)
    rows = np.array([0, 1, 7])
    found, *_ = answers(small, {"row": rows, "length": np.array([3]), "x": blank})
    parts = [weights["table"][rows], weights["places"][:3]]
    steps = sum(np.abs(part).max(axis=1) / 127 for part in parts)
    assert (np.abs(found - sum(parts)).max(axis=1) <= 0.5001 * steps).all()
    given = samples()[0]
    for ours, whole in zip(answers(small, given), answers(graph, given), strict=True):
        assert np.square(ours - whole).mean() < 1e-2 * np.square(whole).mean()


def test_products_share_their_weight_and_sums_are_in_floating_point(weights: dict[str, np.ndarray]) -> None:
    bias = np.linspace(-1, 1, WIDTH, dtype=np.float32)
    nodes = [
        helper.make_node("Gemm", ["x", "transposed", "bias"], ["once"], "first", transB=1),
        helper.make_node("Tanh", ["once"], ["bounded"], "tanh"),
        helper.make_node("Gemm", ["bounded", "transposed", "bias"], ["twice"], "second", transB=1),
        # One product of this weight has uneven inputs: all its products stay in floating point.
        helper.make_node("Pow", ["once", "five"], ["tails"], "power"),
        helper.make_node("MatMul", ["tails", "other"], ["y"], "third"),
        helper.make_node("MatMul", ["x", "other"], ["z"], "fourth"),
    ]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", WIDTH])]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", WIDTH]) for name in ("twice", "y", "z")]
    held = {
        "transposed": weights["even"].T.copy(),
        "bias": bias,
        "other": weights["uneven"],
        "five": np.array(5, np.float32),
    }
    graph = helper.make_model(
        helper.make_graph(nodes, "made", given, outputs, [numpy_helper.from_array(v, n) for n, v in held.items()]),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    fed = [{"x": sample["x"]} for sample in samples()]
    small, _, layers = to_int8(graph, fed)
    onnx.checker.check_model(small)
    assert layers == ["third", "fourth"]
    sizes = [np.prod(t.dims) for t in small.graph.initializer if t.data_type == TensorProto.INT8]
    assert sorted(sizes)[-2:] == [WIDTH**2, WIDTH**2], "each weight is stored once"
    assert len([n for n in sizes if n == WIDTH**2]) == 2
    assert not [t.name for t in small.graph.initializer if t.data_type == TensorProto.INT32 and np.prod(t.dims) > 1]
    sessions = [
        onnxruntime.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"]) for m in (small, graph)
    ]
    for ours, whole in zip(*(session.run(["twice", "z"], fed[0]) for session in sessions), strict=True):
        assert np.square(ours - whole).mean() < 1e-2 * np.square(whole).mean()
