"""Smaller weights for an exported graph: half precision, or eight bits."""

from __future__ import annotations

import ast
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

# Noise over signal above which a product's inputs stay in floating point: 30 dB. A state goes
# through the same layers again and again, and what is lost in one of them is lost in all.
NOISE = 1e-3
# Rows looked up by number, such as tasks, are worth shrinking from this many numbers on.
TABLE = 16_384
# Kinds of operation whose arithmetic matters; shapes and copies are not told.
FLOATS = ("MatMul", "Softmax", "Sigmoid", "ReduceMean", "Sqrt", "Pow", "Gather", "LayerNormalization", "Conv")


def to_half(model: Any) -> Any:
    """The ONNX model in half precision; what goes in and comes out stays single."""
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    half = OnnxModel(convert_float_to_float16(model, keep_io_types=True))
    # The casts of inputs are written last, and the checker wants them before their use.
    half.topological_sort()
    return half.model


def to_int8(model: Any, samples: Sequence[dict[str, np.ndarray]]) -> tuple[Any, dict[str, int], list[str]]:
    """Weights and tables in eight bits, and products in eight bits where their inputs allow it.

    A weight has a scale for each output, a table one for each row. Inputs of a product have one
    range, taken from samples; where a few large values leave too little for the others (as in the
    middle of a gated feed-forward), the product is computed in floating point. So are norms,
    softmax, rotations and products of two activations.

    Args:
        model: the ONNX model.
        samples: inputs of its graph, by name.

    Returns:
        the new model, how many operations of which kind stayed in floating point, and which layers.
    """
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready.onnx"
        graph = _prepare(model, ready)
        products = _products(graph)
        noise = _noise(graph, {product.input for product in products}, samples)
        # All products with a weight or none, such as the cycles of a loop: else it is held twice.
        uneven = {product.weight for product in products if noise[product.input] > NOISE}
        noisy = [product for product in products if product.weight in uneven]
        quantised = _quantise(ready, [product.node for product in products if product not in noisy], samples)
    _shrink_weights(quantised, noisy)
    _shrink_tables(quantised)
    layers = _layers(model)
    left = dict.fromkeys(layers.get(product.node, product.node) for product in noisy)
    return quantised, _left(quantised), list(left)


def _prepare(model: Any, ready: Path) -> Any:
    """The graph with its shapes worked out and its sums apart from its products, on the disk and as it lies there."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    plain = ready.with_name("plain.onnx")
    onnx.save(model, plain)
    quant_pre_process(plain, ready, skip_symbolic_shape=True)
    graph = onnx.load(ready)
    _split_sums(graph)
    onnx.save(graph, ready)
    return graph


def _quantise(ready: Path, nodes: list[str], samples: Sequence[dict[str, np.ndarray]]) -> Any:
    """The graph with these products in eight bits, their inputs' ranges taken from samples."""
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    small = ready.with_name("small.onnx")
    quantize_static(
        ready,
        small,
        _Reader(iter(samples)),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["MatMul"],
        nodes_to_quantize=nodes,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
        # What comes out goes into sums and norms, which are in floating point.
        extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul"]},
    )
    return onnx.load(small)


@dataclass(frozen=True)
class _Product:
    """A matrix product of an activation with a weight.

    Attributes:
        node: its name.
        input: name of the activation.
        weight: name of the weight, ``[inputs, outputs]``.
    """

    node: str
    input: str
    weight: str


class _Reader:
    """Samples in the form that the calibration asks for."""

    def __init__(self, samples: Iterator[dict[str, Any]]):
        self._samples = samples

    def get_next(self) -> dict[str, Any] | None:
        return next(self._samples, None)


def _products(model: Any) -> list[_Product]:
    weights = {tensor.name for tensor in model.graph.initializer}
    return [
        _Product(node.name, node.input[0], node.input[1])
        for node in model.graph.node
        if node.op_type == "MatMul" and node.input[1] in weights and node.input[0] not in weights
    ]


def _split_sums(model: Any) -> None:
    """Products with a sum behind them (Gemm) as one of each: in eight bits a bias would come once for every use."""
    from onnx import helper, numpy_helper

    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    turned: dict[str, str] = {}
    for place, node in reversed(list(enumerate(model.graph.node))):
        if node.op_type != "Gemm" or node.input[1] not in weights:
            continue
        told = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        if told.get("transA", 0) or told.get("alpha", 1.0) != 1 or told.get("beta", 1.0) != 1:
            continue
        weight, (found,) = node.input[1], node.output
        if told.get("transB", 0):
            if weight not in turned:
                turned[weight] = f"{weight}_turned"
                values = np.ascontiguousarray(numpy_helper.to_array(weights[weight]).T)
                model.graph.initializer.append(_tensor(turned[weight], values))
            weight = turned[weight]
        summed = len(node.input) > 2 and bool(node.input[2])
        product = f"{found}_product" if summed else found
        parts = [helper.make_node("MatMul", [node.input[0], weight], [product], node.name)]
        if summed:
            parts.append(helper.make_node("Add", [product, node.input[2]], [found], f"{node.name}_sum"))
        model.graph.node.remove(node)
        for offset, part in enumerate(parts):
            model.graph.node.insert(place + offset, part)
    used = {name for node in model.graph.node for name in node.input}
    for name in turned:
        if name not in used:
            model.graph.initializer.remove(weights[name])


def _layers(model: Any) -> dict[str, str]:
    """Which layer each node comes from, by the exporter's notes: the innermost module that it lies in."""
    found = {}
    for node in model.graph.node:
        notes = {entry.key: entry.value for entry in node.metadata_props}
        scopes = ast.literal_eval(notes.get("pkg.torch.onnx.name_scopes", "[]"))
        found[node.name] = scopes[-2].removeprefix("model.") if len(scopes) > 1 else node.name
    return found


def _noise(model: Any, names: set[str], samples: Sequence[dict[str, np.ndarray]]) -> dict[str, float]:
    """What 255 even steps over each activation's range would add to it: mean squares, noise over signal."""
    import onnx
    import onnxruntime

    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    known = {value.name for value in watched.graph.output}
    order = sorted(names)
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in order if name not in known)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    low, high, squares, counts = np.zeros((4, len(order)))
    for given in samples:
        for n, values in enumerate(session.run(order, given)):
            low[n], high[n] = min(low[n], values.min()), max(high[n], values.max())
            squares[n] += np.square(values, dtype=np.float64).sum()
            counts[n] += values.size
    steps = (high - low) / 255
    return dict(zip(order, (steps**2 / 12) / np.maximum(squares / counts, 1e-12), strict=True))


def _shrink_weights(model: Any, products: Sequence[_Product]) -> None:
    """Weights of products in floating point, in eight bits on the disk: a scale for each output."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for name in dict.fromkeys(product.weight for product in products):
        small, scales = _eight_bits(weights[name], 0)
        model.graph.initializer.remove(weights[name])
        model.graph.initializer.extend([_tensor(f"{name}_int8", small), _tensor(f"{name}_scale", scales)])
        # Not DequantizeLinear: ONNX Runtime would fuse that with the product into one for weights in
        # blocks, which takes longer than the product. A cast and a scale it computes once, at the start.
        for part in reversed(_make_whole(f"{name}_int8", f"{name}_scale", name)):
            model.graph.node.insert(0, part)


def _shrink_tables(model: Any) -> None:
    """Tables whose rows are looked up by number or from the first on, in eight bits: a scale for each row."""
    from onnx import TensorProto, helper

    uses: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            uses.setdefault(name, []).append(node)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for table in [t for t in model.graph.initializer if len(t.dims) == 2 and np.prod(t.dims) >= TABLE]:
        lookups = uses.get(table.name, [])
        if table.data_type != TensorProto.FLOAT or not lookups or not all(_takes_rows(n, constants) for n in lookups):
            continue
        small, scales = _eight_bits(table, 1)
        model.graph.initializer.extend([_tensor(f"{table.name}_int8", small), _tensor(f"{table.name}_scale", scales)])
        for node in lookups:
            found, parts = node.output[0], []
            for kind in ("int8", "scale"):
                part = helper.make_node(
                    node.op_type, [f"{table.name}_{kind}", *node.input[1:]], [f"{found}_{kind}"], f"{found}_{kind}"
                )
                part.attribute.extend(node.attribute)
                parts.append(part)
            parts += _make_whole(f"{found}_int8", f"{found}_scale", found)
            place = list(model.graph.node).index(node)
            model.graph.node.remove(node)
            for offset, part in enumerate(parts):
                model.graph.node.insert(place + offset, part)
        model.graph.initializer.remove(table)


def _make_whole(small: str, scales: str, out: str) -> list[Any]:
    """Nodes that turn eight bits and their scales into numbers."""
    from onnx import TensorProto, helper

    return [
        helper.make_node("Cast", [small], [f"{out}_whole"], f"{out}_whole", to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{out}_whole", scales], [out], f"{out}_scaled"),
    ]


def _takes_rows(node: Any, constants: Mapping[str, Any]) -> bool:
    """Whether a node takes whole rows of its first input."""
    from onnx import numpy_helper

    if node.op_type == "Gather":
        return all(attribute.i == 0 for attribute in node.attribute if attribute.name == "axis")
    if node.op_type != "Slice" or len(node.input) < 4 or node.input[3] not in constants:
        return False
    return bool((numpy_helper.to_array(constants[node.input[3]]) == 0).all())


def _eight_bits(tensor: Any, along: int) -> tuple[np.ndarray, np.ndarray]:
    """A matrix in -127 to 127, and scales that make it whole again, one for all values ``along`` an axis."""
    from onnx import numpy_helper

    values = numpy_helper.to_array(tensor)
    scales = np.abs(values).max(axis=along, keepdims=True) / 127
    # A row of zeros has no scale of its own.
    scales = np.where(scales > 0, scales, 1).astype(np.float32)
    return np.rint(values / scales).astype(np.int8), scales


def _tensor(name: str, values: np.ndarray) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(values, name)


def _left(model: Any) -> dict[str, int]:
    """How many operations of which kind work on activations in floating point."""
    from onnx import TensorProto

    eight_bits = {name for node in model.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    eight_bits |= {tensor.name for tensor in model.graph.initializer if tensor.data_type == TensorProto.INT8}
    left = (n.op_type for n in model.graph.node if n.op_type in FLOATS and n.input[0] not in eight_bits)
    return dict(Counter(left))
