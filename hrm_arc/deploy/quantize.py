"""Quantize an exported graph: fp16 (half precision), or int8 (eight bits)."""

from __future__ import annotations

import ast
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

# Ratio of quantization noise to signal above which the inputs of a product stay in floating point: -30 dB. The same
# layers run many times, so an error in one of them is repeated in every cycle.
MAX_NOISE = 1e-3
# Embedding tables are quantized from this many values on.
MIN_TABLE_SIZE = 16_384
# Kinds of operation that are counted as floating point; operations on shapes and copies are not.
FLOAT_OPS = ("MatMul", "Softmax", "Sigmoid", "ReduceMean", "Sqrt", "Pow", "Gather", "LayerNormalization", "Conv")


def to_fp16(model: Any) -> Any:
    """The ONNX model in half precision. Inputs and outputs of the graph stay in single precision."""
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    half = OnnxModel(convert_float_to_float16(model, keep_io_types=True))
    # The converter appends casts of inputs, but ONNX's checker wants every node before its uses.
    half.topological_sort()
    return half.model


def to_int8(model: Any, samples: Sequence[dict[str, np.ndarray]]) -> tuple[Any, dict[str, int], list[str]]:
    """Quantize weights and tables to eight bits, and products where their inputs allow it.

    A weight has a scale for each output channel, a table one for each row. The inputs of a product have one
    range, measured on samples (static quantization). If a few large values leave too few steps for the others (as
    in the middle of a gated feed-forward), the product is computed in floating point. Norms, softmax, rotary
    positions and products of two activations are computed in floating point, too.

    Args:
        model: the ONNX model, with the exporter's notes.
        samples: inputs of its graph, by name.

    Returns:
        the quantized model, the number of operations of each kind that are computed in floating point, and the
        layers whose products are.
    """
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready.onnx"
        graph = _prepare(model, ready)
        products = _products(graph)
        noise = _noise(graph, {product.input for product in products}, samples)
        # A weight is used by several products, one in each cycle: all or none of them, or it would be stored twice.
        noisy_weights = {product.weight for product in products if noise[product.input] > MAX_NOISE}
        noisy = [product for product in products if product.weight in noisy_weights]
        quantized = _quantize(ready, [product.node for product in products if product not in noisy], samples)
    _quantize_weights(quantized, noisy)
    _quantize_tables(quantized)
    layers = _layers(model)
    float_layers = dict.fromkeys(layers.get(product.node, product.node) for product in noisy)
    return quantized, _float_ops(quantized), list(float_layers)


def _prepare(model: Any, ready: Path) -> Any:
    """Infer shapes and split sums from products; the result is saved as ``ready`` and returned."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    plain = ready.with_name("plain.onnx")
    onnx.save(model, plain)
    quant_pre_process(plain, ready, skip_symbolic_shape=True)
    graph = onnx.load(ready)
    _split_sums(graph)
    onnx.save(graph, ready)
    return graph


def _quantize(ready: Path, nodes: list[str], samples: Sequence[dict[str, np.ndarray]]) -> Any:
    """The graph with the products of these names in eight bits; the ranges of their inputs are measured on samples."""
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
        # The outputs go into sums and norms, which are in floating point.
        extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul"]},
    )
    return onnx.load(small)


@dataclass(frozen=True)
class _Product:
    """A matrix product of an activation with a weight.

    Attributes:
        node: name of the node.
        input: name of the activation.
        weight: name of the weight, ``[input channels, output channels]``.
    """

    node: str
    input: str
    weight: str


class _Reader:
    """Samples as a ``CalibrationDataReader`` of ONNX Runtime."""

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
    """Split each Gemm into a product and a sum: quantization would store a shared bias once for every use."""
    from onnx import helper, numpy_helper

    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    transposed: dict[str, str] = {}
    for place, node in reversed(list(enumerate(model.graph.node))):
        if node.op_type != "Gemm" or node.input[1] not in weights:
            continue
        attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        if attributes.get("transA", 0) or attributes.get("alpha", 1.0) != 1 or attributes.get("beta", 1.0) != 1:
            continue
        weight, (output,) = node.input[1], node.output
        if attributes.get("transB", 0):
            if weight not in transposed:
                transposed[weight] = f"{weight}_transposed"
                values = np.ascontiguousarray(numpy_helper.to_array(weights[weight]).T)
                model.graph.initializer.append(_tensor(transposed[weight], values))
            weight = transposed[weight]
        has_bias = len(node.input) > 2 and bool(node.input[2])
        product = f"{output}_product" if has_bias else output
        parts = [helper.make_node("MatMul", [node.input[0], weight], [product], node.name)]
        if has_bias:
            parts.append(helper.make_node("Add", [product, node.input[2]], [output], f"{node.name}_sum"))
        model.graph.node.remove(node)
        for offset, part in enumerate(parts):
            model.graph.node.insert(place + offset, part)
    used = {name for node in model.graph.node for name in node.input}
    for name in transposed:
        if name not in used:
            model.graph.initializer.remove(weights[name])


def _layers(model: Any) -> dict[str, str]:
    """The layer of each node, from the exporter's notes: the innermost module that contains it."""
    found = {}
    for node in model.graph.node:
        notes = {entry.key: entry.value for entry in node.metadata_props}
        scopes = ast.literal_eval(notes.get("pkg.torch.onnx.name_scopes", "[]"))
        found[node.name] = scopes[-2].removeprefix("model.") if len(scopes) > 1 else node.name
    return found


def _noise(model: Any, names: set[str], samples: Sequence[dict[str, np.ndarray]]) -> dict[str, float]:
    """The ratio of quantization noise to signal for each activation, as mean squares.

    Rounding to 255 equal steps over the activation's range adds noise with a variance of step^2 / 12.
    """
    import onnx
    import onnxruntime

    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    known = {value.name for value in probe.graph.output}
    order = sorted(names)
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in order if name not in known)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
    low, high, squares, counts = np.zeros((4, len(order)))
    for given in samples:
        for n, values in enumerate(session.run(order, given)):
            low[n], high[n] = min(low[n], values.min()), max(high[n], values.max())
            squares[n] += np.square(values, dtype=np.float64).sum()
            counts[n] += values.size
    steps = (high - low) / 255
    return dict(zip(order, (steps**2 / 12) / np.maximum(squares / counts, 1e-12), strict=True))


def _quantize_weights(model: Any, products: Sequence[_Product]) -> None:
    """Store the weights of products in floating point in eight bits, with a scale for each output channel."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for name in dict.fromkeys(product.weight for product in products):
        small, scales = _eight_bits(weights[name], 0)
        model.graph.initializer.remove(weights[name])
        model.graph.initializer.extend([_tensor(f"{name}_int8", small), _tensor(f"{name}_scale", scales)])
        # Not DequantizeLinear: ONNX Runtime fuses it with the product into a kernel for block-quantized weights,
        # which is slower than the product. A cast and a multiplication of constants are computed once, at load time.
        for part in reversed(_dequantize(f"{name}_int8", f"{name}_scale", name)):
            model.graph.node.insert(0, part)


def _quantize_tables(model: Any) -> None:
    """Quantize tables of which whole rows are taken (Gather, Slice), with a scale for each row."""
    from onnx import TensorProto, helper

    uses: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            uses.setdefault(name, []).append(node)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for table in [t for t in model.graph.initializer if len(t.dims) == 2 and np.prod(t.dims) >= MIN_TABLE_SIZE]:
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
            parts += _dequantize(f"{found}_int8", f"{found}_scale", found)
            place = list(model.graph.node).index(node)
            model.graph.node.remove(node)
            for offset, part in enumerate(parts):
                model.graph.node.insert(place + offset, part)
        model.graph.initializer.remove(table)


def _dequantize(quantized: str, scales: str, out: str) -> list[Any]:
    """Nodes that multiply eight-bit values by their scales."""
    from onnx import TensorProto, helper

    return [
        helper.make_node("Cast", [quantized], [f"{out}_float"], f"{out}_float", to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{out}_float", scales], [out], f"{out}_scaled"),
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
    """A matrix as integers from -127 to 127, and its scales: one for all values along axis ``along``."""
    from onnx import numpy_helper

    values = numpy_helper.to_array(tensor)
    scales = np.abs(values).max(axis=along, keepdims=True) / 127
    # Zeros alone need no scale; 0 would be divided by.
    scales = np.where(scales > 0, scales, 1).astype(np.float32)
    return np.rint(values / scales).astype(np.int8), scales


def _tensor(name: str, values: np.ndarray) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(values, name)


def _float_ops(model: Any) -> dict[str, int]:
    """The number of operations of each kind whose first input is in floating point."""
    from onnx import TensorProto

    eight_bits = {name for node in model.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    eight_bits |= {tensor.name for tensor in model.graph.initializer if tensor.data_type == TensorProto.INT8}
    kinds = (n.op_type for n in model.graph.node if n.op_type in FLOAT_OPS and n.input[0] not in eight_bits)
    return dict(Counter(kinds))
