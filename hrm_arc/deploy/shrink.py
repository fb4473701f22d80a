"""Smaller weights for an exported graph: half precision, or eight bits."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def to_half(model: Any) -> Any:
    """The ONNX model in half precision; what goes in and comes out stays single."""
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    half = OnnxModel(convert_float_to_float16(model, keep_io_types=True))
    # The casts of inputs are written last, and the checker wants them before their use.
    half.topological_sort()
    return half.model


def to_int8(model: Any, samples: Iterator[dict[str, Any]]) -> tuple[Any, dict[str, int]]:
    """Matrix products with weights in eight bits, their inputs' ranges taken from samples.

    Norms, softmax, rotations, embeddings and products of two activations stay in floating point.

    Args:
        model: the ONNX model.
        samples: inputs of its graph, by name.

    Returns:
        the new model, and how many operations of which kind stayed in floating point.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        plain, ready, small = (Path(folder) / f"{name}.onnx" for name in ("plain", "ready", "small"))
        onnx.save(model, plain)
        quant_pre_process(plain, ready, skip_symbolic_shape=True)
        quantize_static(
            ready,
            small,
            _Reader(samples),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["MatMul", "Gemm"],
            nodes_to_quantize=_with_weights(onnx.load(ready)),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        quantised = onnx.load(small)
    return quantised, _left(quantised)


# Kinds of operation whose arithmetic matters; shapes and copies are not told.
FLOATS = ("MatMul", "Gemm", "Softmax", "Sigmoid", "ReduceMean", "Sqrt", "Pow", "Gather", "LayerNormalization", "Conv")


def _left(model: Any) -> dict[str, int]:
    """How many operations of which kind work on floating point alone."""
    eight_bits = {name for node in model.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    return dict(
        Counter(
            node.op_type for node in model.graph.node if node.op_type in FLOATS and not eight_bits & set(node.input)
        )
    )


class _Reader:
    """Samples in the form that the calibration asks for."""

    def __init__(self, samples: Iterator[dict[str, Any]]):
        self._samples = samples

    def get_next(self) -> dict[str, Any] | None:
        return next(self._samples, None)


def _with_weights(model: Any) -> list[str]:
    """Names of the matrix products one side of which is a weight."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [
        node.name
        for node in model.graph.node
        if node.op_type in ("MatMul", "Gemm") and any(name in weights for name in node.input[:2])
    ]
