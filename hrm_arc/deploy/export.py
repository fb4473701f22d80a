"""From a checkpoint to one ONNX file: a segment of thought as a graph, checked before it is put in place."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hrm_arc.deploy.exported import INPUTS, KEY, OUTPUTS, Exported, Precision, sealed
from hrm_arc.deploy.parity import Parity, parity
from hrm_arc.deploy.runtime import OnnxBackend
from hrm_arc.deploy.shrink import to_half, to_int8
from hrm_arc.errors import UserError
from hrm_arc.evaluation.evaluate import tasks_to_score
from hrm_arc.evaluation.torch_backend import TorchBackend, load_model
from hrm_arc.files import writing
from hrm_arc.models.reasoner import Batch, Reasoner
from hrm_arc.puzzles.augmented import AugmentedSet, Samples
from hrm_arc.puzzles.canvas import FULL, CanvasKind
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.puzzles.task import Task
from hrm_arc.runs.checkpoint import Card, checksum, newest_checkpoint
from hrm_arc.runs.folder import RunFolder
from hrm_arc.runs.versions import versions

# Old enough for the runtimes that small machines come with.
OPSET = 18
# Demonstrations that ranges are taken from: so many, or as many as have so many cells over all segments.
CALIBRATION = 128
CALIBRATION_CELLS = 16_384


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


def export(
    path: Path,
    out: Path,
    precision: Precision = "fp32",
    data: str | None = None,
    samples: int = 2000,
    say: Callable[[str], None] = lambda text: None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> tuple[Exported, Parity]:
    """Export a run's newest checkpoint, or a checkpoint folder.

    The file is put in place once ONNX's own checker and ONNX Runtime have taken it, and once it
    has answered as many real samples as asked for, beside torch.

    Args:
        path: the run or checkpoint.
        out: the file to write.
        precision: ``fp32``; ``fp16``: weights and activations in half precision; ``int8``: matrix
            products in eight bits, calibrated on demonstrations.
        data: a source whose test inputs to compare on; None: what the checkpoint was to solve.
        samples: how many to compare on, or as many as the tasks' variants give.
        say: called with a line for each stage.
        progress: of the comparison, see :func:`~hrm_arc.deploy.parity.parity`.

    Raises:
        UserError: there is no checkpoint, its tasks are not to be had, it cannot be exported, or
            it answers otherwise than torch.
    """
    import onnx

    checkpoint = newest_checkpoint(path, say)
    backend, card = load_model(checkpoint, "cpu")
    tasks = tasks_to_score(card, data)
    say("tracing a segment of thought")
    model, shape = _graph(backend.model, card)
    floats: dict[str, int] = {}
    float_layers: list[str] = []
    if precision == "fp16":
        model = to_half(model)
    elif precision == "int8":
        say("calibrating on demonstrations")
        model, floats, float_layers = to_int8(model, _calibration(model, backend, card, tasks))
    run = RunFolder(checkpoint.parent.parent)
    recipe = run.config() if run.config_file.is_file() else None
    exported = Exported(
        card,
        checksum(checkpoint),
        precision,
        **shape,
        floats=floats,
        float_layers=float_layers,
        versions=versions(),
        recipe=recipe,
    )
    _forget_origins(model)
    _shorten_names(model)
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, exported.as_text()
    onnx.checker.check_model(model)
    with writing(out) as beside:
        beside.write_bytes(sealed(model.SerializeToString()))
        say(f"answering {samples} samples in torch and in ONNX Runtime")
        compared = parity(backend, OnnxBackend(beside), card, tasks, samples, progress)
        _check(out, precision, compared)
    return exported, compared


def _check(out: Path, precision: Precision, compared: Parity) -> None:
    """Whether a file answers as torch does; smaller ones may differ, as the table tells."""
    if not np.isfinite(compared.largest_logit_difference):
        raise UserError(out, f"its logits in {precision} are no numbers; try another precision")
    if precision == "fp32" and compared.tokens_different > compared.positions / 1000:
        raise UserError(out, f"{compared.tokens_different} of {compared.positions} tokens are not those of torch")


def _graph(model: Reasoner, card: Card) -> tuple[Any, dict[str, Any]]:
    """The ONNX model of a segment, and what a runtime has to know of its shapes."""
    samples = _example(card)
    batch = Batch.of(samples)
    with torch.no_grad():
        begun = model.start(batch)
    if len(begun) != 2:
        raise UserError(card.model, f"has a state of {len(begun)} parts; export knows models of two")
    cells = batch.height * batch.width
    mixes_fixed = getattr(getattr(model, "config", None), "mixing", "attention") == "mlp"
    told = (batch.task, batch.dihedral, batch.colours, batch.variant)
    example = (_on_canvas(batch), *told, torch.tensor(True), *begun)
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
    prefix, width = begun[0].shape[1] - cells, begun[0].shape[2]
    shape = {
        "segments": model.segments,
        "width": width,
        "prefix": prefix,
        "heads": getattr(getattr(model, "config", None), "heads", 1),
        "canvas": (batch.height, batch.width) if mixes_fixed else None,
    }
    return program.model_proto, shape


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


def _calibration(model: Any, backend: TorchBackend, card: Card, tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """Inputs of the graph for samples of demonstrations, segment after segment.

    All of them before the first is used: torch's threads and ONNX Runtime's, in turns, wait for each other.
    """
    data = AugmentedSet(Corpus(solve=tuple(tasks)).training_puzzles(), augment=7, seed=card.seed, canvas=card.canvas)
    indices = np.linspace(0, len(data) - 1, min(CALIBRATION, len(data))).astype(np.int64)
    cells = backend.model.segments * sum(part.inputs.size for part in data.samples(indices))
    inputs: list[dict[str, Any]] = []
    wanted = {value.name for value in model.graph.input}
    for samples in data.samples(indices[:: -(-cells // CALIBRATION_CELLS)]):
        batch = Batch.of(samples)
        with torch.inference_mode():
            state = backend.model.start(batch)
            for segment in range(backend.model.segments):
                tokens = _on_canvas(batch)
                told = (batch.task, batch.dihedral, batch.colours, batch.variant)
                values = (tokens, *told, torch.tensor(segment == 0), *state)
                given = zip(INPUTS, values, strict=True)
                inputs.append({name: value.numpy() for name, value in given if name in wanted})
                state, _ = backend.model.think(state, batch)
    return inputs


def _on_canvas(batch: Batch) -> Tensor:
    """A batch's tokens as ``[batch, height, width]``."""
    return batch.inputs.view(-1, batch.height, batch.width)
