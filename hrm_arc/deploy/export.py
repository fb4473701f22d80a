"""Export a checkpoint as one ONNX file, which is compared with torch before it is put in place."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hrm_arc.deploy import graph
from hrm_arc.deploy.exported import KEY, Exported, Precision, input_names, with_checksum
from hrm_arc.deploy.parity import Parity, parity
from hrm_arc.deploy.quantize import to_fp16, to_int8
from hrm_arc.deploy.runtime import OnnxBackend
from hrm_arc.deploy.validating import with_model_rows
from hrm_arc.errors import UserError
from hrm_arc.evaluation.provenance import tasks_to_compare
from hrm_arc.evaluation.torch_backend import TorchBackend, load_model
from hrm_arc.files import atomic_write, fill, reserve
from hrm_arc.models.reasoner import Batch
from hrm_arc.puzzles.augmented import AugmentedSet
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.task import Task
from hrm_arc.runs.card import Card
from hrm_arc.runs.checkpoint import checksum, newest_checkpoint, recipe_of, run_of
from hrm_arc.runs.versions import versions

# The most demonstrations, and the most cells over all segments, to calibrate eight bits on.
CALIBRATION_SAMPLES = 128
CALIBRATION_CELLS = 16_384
# Minimum bytes of a weight.
BYTES: dict[Precision, int] = {"fp32": 4, "fp16": 2, "int8": 1}

log = logging.getLogger("hrm_arc.deploy")


def export(
    path: Path,
    out: Path,
    precision: Precision = "fp32",
    data: str | None = None,
    samples: int = 2000,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> tuple[Exported, Parity]:
    """Export a run's newest checkpoint, or a checkpoint folder. Each stage is logged (``hrm_arc.deploy``).

    The file is put in place after ONNX's checker and ONNX Runtime have accepted it and its answers to real
    samples were compared with those of torch.

    Args:
        path: the run, the checkpoint, or the name of weights that ship.
        out: the file to write.
        precision: ``fp32``; ``fp16``: weights and activations in half precision; ``int8``: weights and matrix
            products in eight bits, calibrated on demonstrations.
        data: a source of tasks to compare on; None: the solve tasks of the checkpoint; of an imported one, which has
            none, tasks of this program's choice, see :func:`~hrm_arc.evaluation.provenance.tasks_to_compare`.
        samples: the number of samples to compare on; fewer if the tasks have fewer variants.
        progress: called during the comparison, see :func:`~hrm_arc.deploy.parity.parity`.

    Raises:
        UserError: there is no checkpoint, its tasks are not available, its model cannot be exported, or the
            answers differ from those of torch.
    """
    import onnx

    checkpoint = newest_checkpoint(path)
    backend, card = load_model(checkpoint, "cpu", "32-true")
    graph.export_spec(card)  # A model that cannot be exported is named before anything slow is done.
    tasks, chosen = tasks_to_compare(card, data, run_of(checkpoint))
    if precision == "int8" and not any(task.demonstrations for task in tasks):
        raise UserError("--int8", "is calibrated on demonstrations, and these tasks have none; name others with --data")
    if data is None and card.imported:
        log.info("the tasks to compare on: %s", chosen)
    recipe = recipe_of(checkpoint)
    weights = sum(parameter.numel() for parameter in backend.model.parameters())
    with atomic_write(out) as beside:
        # A full disk is found now, and not after calibration and comparison.
        reserve(beside, weights * BYTES[precision])
        model, exported = _converted(backend, card, tasks, precision, checksum(checkpoint), recipe)
        onnx.checker.check_model(model)
        fill(beside, with_checksum(model.SerializeToString()))
        log.info("comparing ONNX Runtime with torch on %d samples", samples)
        compared = parity(backend, OnnxBackend(beside), card, tasks, samples, progress)
        _check(out, precision, compared)
    return exported, compared


def _converted(
    backend: TorchBackend,
    card: Card,
    tasks: Sequence[Task],
    precision: Precision,
    checkpoint: str,
    recipe: dict[str, Any] | None,
) -> tuple[Any, Exported]:
    """The ONNX model in a precision, and its description, which is in its metadata."""
    log.info("tracing one segment")
    model, shape = graph.trace(backend.model, card)
    float_ops: dict[str, int] = {}
    float_layers: list[str] = []
    if precision == "fp16":
        model = to_fp16(model)
    elif precision == "int8":
        log.info("calibrating on demonstrations")
        calibration = _calibration_inputs(model, shape["carry"], backend, card, tasks)
        model, float_ops, float_layers = to_int8(model, calibration)
    exported = Exported(
        card,
        checkpoint,
        precision,
        **shape,
        float_ops=float_ops,
        float_layers=float_layers,
        versions=versions(),
        recipe=recipe,
    )
    graph.clean_up(model)
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, exported.as_text()
    return model, exported


def _check(out: Path, precision: Precision, compared: Parity) -> None:
    """Check that a file answers as torch does. Only fp32 has to; the caller reports how far the others differ."""
    if not np.isfinite(compared.largest_logit_difference):
        raise UserError(out, f"its logits in {precision} are not finite; try another precision")
    if precision == "fp32" and compared.tokens_different > compared.positions / 1000:
        what = f"{compared.tokens_different} of {compared.positions} tokens differ from torch, expected at most 0.1%"
        raise UserError(out, what)


def _calibration_inputs(
    model: Any, carry_names: Sequence[str], backend: TorchBackend, card: Card, tasks: Sequence[Task]
) -> list[dict[str, Any]]:
    """Inputs of the graph for demonstrations, one entry for each batch and segment.

    All are computed before the first is used, because alternating between torch's threads and ONNX Runtime's is slow.
    """
    corpus = Corpus(solve=tuple(tasks))
    puzzles = with_model_rows(corpus.training_puzzles(), corpus, card)
    # Variants that another program drew have other numbers than those of this set; a maze's have no tokens.
    augment = 7 if card.permutes_colors and not card.symmetries else 0
    data = AugmentedSet(puzzles, augment=augment, seed=card.seed, canvas=card.canvas)
    indices = np.linspace(0, len(data) - 1, min(CALIBRATION_SAMPLES, len(data))).astype(np.int64)
    cells = backend.model.segments * sum(part.inputs.size for part in data.samples(indices))
    used = {value.name for value in model.graph.input}
    inputs: list[dict[str, Any]] = []
    for samples in data.samples(indices[:: -(-cells // CALIBRATION_CELLS)]):
        batch = Batch.from_samples(samples)
        with torch.inference_mode():
            carry = backend.model.initial_carry(batch)
            for segment in range(backend.model.segments):
                values = (graph.tokens_2d(batch), *batch.identity.parts, torch.tensor(segment == 0), *carry)
                named = zip(input_names(carry_names), values, strict=True)
                inputs.append({name: value.numpy() for name, value in named if name in used})
                carry, _ = backend.model(carry, batch)
    return inputs
