"""From a checkpoint to one ONNX file, checked beside torch before it is put in place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hrm_arc.deploy import graph
from hrm_arc.deploy.exported import INPUTS, KEY, Exported, Precision, sealed
from hrm_arc.deploy.parity import Parity, parity
from hrm_arc.deploy.runtime import OnnxBackend
from hrm_arc.deploy.shrink import to_half, to_int8
from hrm_arc.deploy.validating import in_the_models_rows
from hrm_arc.errors import UserError
from hrm_arc.evaluation.evaluate import tasks_to_score
from hrm_arc.evaluation.torch_backend import TorchBackend, load_model
from hrm_arc.files import writing
from hrm_arc.models.reasoner import Batch
from hrm_arc.puzzles.augmented import AugmentedSet
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.task import Task
from hrm_arc.runs.checkpoint import Card, checksum, newest_checkpoint
from hrm_arc.runs.folder import RunFolder
from hrm_arc.runs.versions import versions

# Demonstrations that ranges are taken from: so many, or as many as have so many cells over all segments.
CALIBRATION = 128
CALIBRATION_CELLS = 16_384


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
    model, shape = graph.trace(backend.model, card)
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
    graph.tidy(model)
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


def _calibration(model: Any, backend: TorchBackend, card: Card, tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """Inputs of the graph for samples of demonstrations, segment after segment.

    All of them before the first is used: torch's threads and ONNX Runtime's, in turns, wait for each other.
    """
    corpus = Corpus(solve=tuple(tasks))
    puzzles = in_the_models_rows(corpus.training_puzzles(), corpus, card)
    data = AugmentedSet(puzzles, augment=7, seed=card.seed, canvas=card.canvas)
    indices = np.linspace(0, len(data) - 1, min(CALIBRATION, len(data))).astype(np.int64)
    cells = backend.model.segments * sum(part.inputs.size for part in data.samples(indices))
    inputs: list[dict[str, Any]] = []
    wanted = {value.name for value in model.graph.input}
    for samples in data.samples(indices[:: -(-cells // CALIBRATION_CELLS)]):
        batch = Batch.of(samples)
        with torch.inference_mode():
            state = backend.model.start(batch)
            for segment in range(backend.model.segments):
                tokens = graph.on_canvas(batch)
                told = (batch.task, batch.dihedral, batch.colours, batch.variant)
                values = (tokens, *told, torch.tensor(segment == 0), *state)
                given = zip(INPUTS, values, strict=True)
                inputs.append({name: value.numpy() for name, value in given if name in wanted})
                state, _ = backend.model.think(state, batch)
    return inputs
