"""A segment of thought as an ONNX graph, with the state going in and out."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hrm_arc.deploy.exported import INPUTS, OUTPUTS
from hrm_arc.errors import UserError
from hrm_arc.models.reasoner import Batch, Reasoner
from hrm_arc.puzzles.augmented import AugmentedSet, Samples
from hrm_arc.puzzles.canvas import FULL, CanvasKind
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.runs.checkpoint import Card

# Old enough for the runtimes that small machines come with.
OPSET = 18


class Segment(nn.Module):
    """One segment of thought, with the state going in and out."""

    def __init__(self, model: Reasoner):
        super().__init__()
        self.model = model

    def forward(
        self,
        tokens: Tensor,
        task: Tensor,
        dihedral: Tensor,
        colours: Tensor,
        variant: Tensor,
        fresh: Tensor,
        h: Tensor,
        l: Tensor,
    ) -> tuple[Tensor, ...]:
        """Named as in :mod:`hrm_arc.deploy.exported`.

        Args:
            tokens: ``[batch, height, width]``.
            task, dihedral, colours, variant: as in :class:`~hrm_arc.models.reasoner.Batch`.
            fresh: whether this is the first segment; ``h`` and ``l`` are then put aside.
            h, l: the state, ``[batch, prefix + cells, width]``.
        """
        batch = Batch(tokens.shape[1], tokens.shape[2], tokens.flatten(1), None, task, dihedral, colours, variant)
        state = tuple(torch.where(fresh, begun, given) for begun, given in zip(self.model.start(batch), (h, l)))  # noqa: B905
        (h, l), output = self.model.think(state, batch)
        halt = output.halt[:, -1]
        return output.logits, halt, torch.zeros_like(halt) if output.think_on is None else output.think_on, h, l


def trace(model: Reasoner, card: Card) -> tuple[Any, dict[str, Any]]:
    """The ONNX model of a segment, and what a runtime has to know of its shapes.

    The model notes which layer each node comes from; :func:`tidy` takes that out.

    Raises:
        UserError: the model's state is not of two parts.
    """
    samples = _example(card)
    batch = Batch.of(samples)
    with torch.no_grad():
        begun = model.start(batch)
    if len(begun) != 2:
        raise UserError(card.model, f"has a state of {len(begun)} parts; export knows models of two")
    cells = batch.height * batch.width
    mixes_fixed = getattr(getattr(model, "config", None), "mixing", "attention") == "mlp"
    told = (batch.task, batch.dihedral, batch.colours, batch.variant)
    example = (on_canvas(batch), *told, torch.tensor(True), *begun)
    dynamic = torch.export.Dim.DYNAMIC
    one = {0: dynamic}
    canvas = one if mixes_fixed else {0: dynamic, 1: dynamic, 2: dynamic}
    state = one if mixes_fixed else {0: dynamic, 1: dynamic}
    with _silence():
        program = torch.onnx.export(
            Segment(model).eval(),
            tuple(tensor.clone() for tensor in example),
            dynamo=True,
            dynamic_shapes=(canvas, one, one, one, one, {}, state, state),
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    _cut_constants(proto)
    prefix, width = begun[0].shape[1] - cells, begun[0].shape[2]
    shape = {
        "segments": model.segments,
        "width": width,
        "prefix": prefix,
        "heads": getattr(getattr(model, "config", None), "heads", 1),
        "canvas": (batch.height, batch.width) if mixes_fixed else None,
    }
    return proto, shape


def tidy(model: Any) -> None:
    """Take out of a model what only its making needed: the exporter's notes, and names as long as sentences."""
    _forget_origins(model)
    _shorten_names(model)


def on_canvas(batch: Batch) -> Tensor:
    """A batch's tokens as ``[batch, height, width]``."""
    return batch.inputs.view(-1, batch.height, batch.width)


def _cut_constants(model: Any) -> None:
    """Slices of constants between constant ends, computed here: of a table, the rows that a canvas can reach."""
    from onnx import numpy_helper
    from onnx.reference import ReferenceEvaluator

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in [node for node in model.graph.node if node.op_type == "Slice" and constants.keys() >= set(node.input)]:
        given = {name: numpy_helper.to_array(constants[name]) for name in node.input}
        (cut,) = ReferenceEvaluator(node).run(None, given)
        model.graph.initializer.append(numpy_helper.from_array(np.array(cut), node.output[0]))
        model.graph.node.remove(node)
    used = {name for node in model.graph.node for name in node.input} | {value.name for value in model.graph.output}
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name not in used]:
        model.graph.initializer.remove(tensor)


def _forget_origins(model: Any) -> None:
    """Take out what the exporter notes of each node: stack traces, with this machine's paths in them."""
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output, model.graph):
        del part.metadata_props[:]
    del model.graph.value_info[:]


def _shorten_names(model: Any) -> None:
    """Number what lies between nodes: a loop that is written out has thousands of long names."""
    said = {value.name for value in model.graph.output}
    short: dict[str, str] = {}
    for number, node in enumerate(model.graph.node):
        node.name = f"n{number}"
        node.output[:] = [
            name if not name or name in said else short.setdefault(name, f"t{len(short)}") for name in node.output
        ]
    for node in model.graph.node:
        node.input[:] = [short.get(name, name) for name in node.input]


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """The exporter speaks of its own insides, and of packages that are of no use here."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def _example(card: Card) -> Samples:
    """Three samples on a canvas of unlike sides, or on the full one for a model that knows no other."""
    tasks = [task for task in load_tasks("arc-agi-1/training")[:40] if len(task.demonstrations) > 2]
    kind: CanvasKind = "full" if card.canvas == "full" else "cropped"
    for samples in AugmentedSet(Corpus(study=tuple(tasks)).training_puzzles(), canvas=kind):
        if len(samples) > 2 and (samples.canvas == FULL or samples.canvas.height != samples.canvas.width):
            return Samples(samples.canvas, samples.inputs[:3], None, np.zeros(3, dtype=np.int64), *_told(samples))
    raise AssertionError("ARC has canvases of unlike sides")


def _told(samples: Samples) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return samples.dihedral[:3], samples.colours[:3], samples.variant[:3]
