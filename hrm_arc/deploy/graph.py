"""One segment of a model as an ONNX graph. The carry is an input and an output of the graph."""

from __future__ import annotations

import contextlib
import logging
import math
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hrm_arc.deploy.exported import INPUTS, input_names, output_names
from hrm_arc.errors import UserError
from hrm_arc.models import find_model
from hrm_arc.models.reasoner import Batch, Carry, Reasoner
from hrm_arc.models.spec import ExportSpec
from hrm_arc.puzzles.augmented import AugmentedSet, Samples
from hrm_arc.puzzles.canvas import FIRST_COLOR, FULL, Canvas, CanvasKind
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.identity import Identity
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.puzzles.task import COLORS
from hrm_arc.runs.card import Card

# Old enough for the runtimes that are installed on embedded boards.
OPSET = 18


class SegmentGraph(nn.Module):
    """One segment of a model, without Python objects among its inputs and outputs."""

    def __init__(self, model: Reasoner):
        super().__init__()
        self.model = model

    def forward(
        self,
        tokens: Tensor,
        task: Tensor,
        dihedral: Tensor,
        colors: Tensor,
        variant: Tensor,
        first_segment: Tensor,
        carry: Carry,
    ) -> tuple[Tensor, ...]:
        """Run one segment.

        Args:
            tokens: ``[batch, height, width]``.
            task, dihedral, colors, variant: as in :class:`~hrm_arc.puzzles.identity.Identity`.
            first_segment: a bool ``[]``; if true, ``carry`` is ignored and the initial carry is used.
            carry: tensors ``[batch, prefix + cells, hidden_size]``.

        Returns:
            logits, q_halt, q_continue and the next carry, see :func:`hrm_arc.deploy.exported.output_names`.
        """
        identity = Identity(task, dihedral, colors, variant)
        batch = Batch(tokens.shape[1], tokens.shape[2], tokens.flatten(1), None, identity)
        initial = self.model.initial_carry(batch)
        # trace() has compared their lengths; a strict zip cannot be traced.
        pairs = zip(initial, carry)  # noqa: B905
        carry, output = self.model(tuple(torch.where(first_segment, new, given) for new, given in pairs), batch)
        return output.logits, *output.halt_logits(), *carry


def export_spec(card: Card) -> ExportSpec:
    """How the model of a checkpoint is exported.

    Raises:
        UserError: it cannot be exported.
    """
    spec = find_model(card.model).export
    if spec is None:
        raise UserError(card.model, "this model cannot be exported: its ModelSpec has no export")
    return spec


def trace(model: Reasoner, card: Card) -> tuple[Any, dict[str, Any]]:
    """Trace one segment of a model.

    Args:
        model: on the CPU.
        card: the card of its checkpoint.

    Returns:
        the ONNX model, whose nodes have notes about the layers that they come from until :func:`clean_up`
        removes them; and fields of :class:`~hrm_arc.deploy.exported.Exported`: segments, carry, hidden_size,
        prefix, num_heads, canvas.

    Raises:
        UserError: the model cannot be exported, or its carry is not what its ``ExportSpec`` declares.
    """
    spec = export_spec(card)
    config = find_model(card.model).config(**card.options)
    fixed_cells = spec.fixed_cells(config)
    batch = Batch.from_samples(_example(card, fixed_cells))
    with torch.no_grad():
        carry = tuple(tensor.clone() for tensor in model.initial_carry(batch))
    prefix, hidden_size = _carry_shape(card, spec, batch, carry)
    dynamic = torch.export.Dim.DYNAMIC
    samples = {0: dynamic}
    canvas = samples if fixed_cells else {0: dynamic, 1: dynamic, 2: dynamic}
    tokens = samples if fixed_cells else {0: dynamic, 1: dynamic}
    with _quiet():
        program = torch.onnx.export(
            SegmentGraph(model).eval(),
            (tokens_2d(batch), *batch.identity.parts, torch.tensor(True), carry),
            dynamo=True,
            dynamic_shapes=(canvas, samples, samples, samples, samples, {}, (tokens,) * len(carry)),
            input_names=list(input_names(spec.carry)),
            output_names=list(output_names(spec.carry)),
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto  # A property that makes a new copy each time.
    _fold_slices(proto)
    return proto, {
        "segments": model.segments,
        "carry": spec.carry,
        "hidden_size": hidden_size,
        "prefix": prefix,
        "num_heads": spec.num_heads(config),
        "canvas": (batch.height, batch.width) if fixed_cells else None,
    }


def clean_up(model: Any) -> None:
    """Remove from an ONNX model what only the export needed: notes about its origin, and long names."""
    _remove_notes(model)
    _shorten_names(model)


def tokens_2d(batch: Batch) -> Tensor:
    """The input tokens of a batch as ``[batch, height, width]``."""
    return batch.inputs.view(-1, batch.height, batch.width)


def _carry_shape(card: Card, spec: ExportSpec, batch: Batch, carry: Carry) -> tuple[int, int]:
    """Tokens in front of the cells, and the hidden size, of a carry; both 0 if it has no tensors."""
    if len(carry) != len(spec.carry):
        raise UserError(card.model, f"its carry has {len(carry)} tensors, and its ExportSpec names {len(spec.carry)}")
    if taken := [name for name in spec.carry if name in INPUTS]:
        raise UserError(card.model, f"its ExportSpec names a tensor {taken[0]!r}, which is another input of the graph")
    shapes = {tuple(tensor.shape) for tensor in carry}
    if not shapes:
        return 0, 0
    cells = batch.height * batch.width
    shape = shapes.pop()
    if shapes or len(shape) != 3 or shape[0] != len(batch) or shape[1] < cells:
        what = f"its carry has a tensor of shape {shape}, expected [{len(batch)}, {cells} or more, hidden_size] for all"
        raise UserError(card.model, what)
    return shape[1] - cells, shape[2]


def _fold_slices(model: Any) -> None:
    """Replace constant slices of constants by their results: of a table of positions only the rows in use stay."""
    from onnx import numpy_helper
    from onnx.reference import ReferenceEvaluator

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in [node for node in model.graph.node if node.op_type == "Slice" and constants.keys() >= set(node.input)]:
        given = {name: numpy_helper.to_array(constants[name]) for name in node.input}
        (result,) = ReferenceEvaluator(node).run(None, given)
        model.graph.initializer.append(numpy_helper.from_array(np.array(result), node.output[0]))
        model.graph.node.remove(node)
    used = {name for node in model.graph.node for name in node.input} | {value.name for value in model.graph.output}
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name not in used]:
        model.graph.initializer.remove(tensor)


def _remove_notes(model: Any) -> None:
    """Remove the exporter's notes about each node: stack traces, which contain paths of this machine."""
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output, model.graph):
        del part.metadata_props[:]
    del model.graph.value_info[:]


def _shorten_names(model: Any) -> None:
    """Number the values between nodes: an unrolled loop has thousands of long names."""
    outputs = {value.name for value in model.graph.output}
    short: dict[str, str] = {}
    for number, node in enumerate(model.graph.node):
        node.name = f"n{number}"
        node.output[:] = [
            name if not name or name in outputs else short.setdefault(name, f"t{len(short)}") for name in node.output
        ]
    for node in model.graph.node:
        node.input[:] = [short.get(name, name) for name in node.input]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No warnings: the exporter's are about its own internals and about packages that are not needed here."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _example(card: Card, cells: int | None) -> Samples:
    """Three samples on a canvas of different height and width, or on the one that the model has.

    Args:
        card: of the model.
        cells: of the canvas, if the model has no other; a square.
    """
    side = math.isqrt(cells or 0)
    if cells is not None and side * side == cells and cells != FULL.cells:
        tokens = np.full((3, cells), FIRST_COLOR, dtype=np.uint8)
        colors = np.tile(np.arange(COLORS, dtype=np.uint8), (3, 1))
        zeros = np.zeros(3, dtype=np.int64)
        unseen: Identity[np.ndarray] = Identity(zeros, zeros.astype(np.uint8), colors, zeros)
        return Samples(Canvas(side, side), tokens, None, unseen)
    tasks = [task for task in load_tasks("arc-agi-1/training")[:40] if len(task.demonstrations) > 2]
    kind: CanvasKind = "full" if card.canvas == "full" else "cropped"
    for samples in AugmentedSet(Corpus(study=tuple(tasks)).training_puzzles(), canvas=kind):
        if len(samples) > 2 and (samples.canvas == FULL or samples.canvas.height != samples.canvas.width):
            chosen = samples.select(slice(3))
            # Unseen tasks, because the model's table may have fewer rows.
            identity = Identity(np.zeros(3, dtype=np.int64), *chosen.identity.parts[1:])
            return Samples(chosen.canvas, chosen.inputs, None, identity)
    raise AssertionError("ARC has canvases of different height and width")
