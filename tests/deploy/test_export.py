from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from hrm_arc.deploy.export import export
from hrm_arc.deploy.exported import KEY, Exported, read_sealed, sealed
from hrm_arc.deploy.parity import parity
from hrm_arc.deploy.runtime import OnnxBackend
from hrm_arc.errors import UserError
from hrm_arc.evaluation.evaluate import predict_tasks, tasks_to_score
from hrm_arc.evaluation.predict import Answers
from hrm_arc.evaluation.torch_backend import load_model
from hrm_arc.models import KINDS
from hrm_arc.puzzles.augmented import AugmentedSet, Samples
from hrm_arc.puzzles.canvas import VOCABULARY
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.puzzles.task import Pair, Task
from hrm_arc.runs.checkpoint import Card, find_checkpoint, read_card, save_checkpoint
from hrm_arc.training.trainer import Trainer
from tests.made import tiny_recipe, write_puzzles

TASKS = load_tasks("arc-agi-1/training")[:12]


def trained(root: Path, model: str, *flags: str) -> Path:
    """A run of a few steps on real tasks, whose answers are then no mere copies of each other."""
    source = write_puzzles(root / "tasks", TASKS)
    flags = ("--data.augment", "20", "--optimiser.learning_rate", "0.01", *flags)
    trainer = Trainer(tiny_recipe(source, model, *flags), root / "runs")
    trainer.fit()
    return trainer.folder.path


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("grid"), "grid-hrm", "--data.canvas", "cropped", "--model.segments", "3")


@pytest.fixture(scope="module")
def exported_file(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("exported") / "model.onnx"
    export(run_folder, file, samples=50)
    return file


@pytest.mark.parametrize("model", KINDS)
def test_every_model_answers_as_in_torch(model: str, tmp_path: Path) -> None:
    # The full canvas takes the log's model minutes; sizes are what matters here.
    options = {
        # Every switch of grid-hrm's, and a loop that the log's model leaves early.
        "grid-hrm": ["--model.registers", "2", "--model.shared", "true", "--model.cycles", "2", "--model.tied", "true"],
        "dual-loop": ["--model.cycles", "4", "--model.halt_threshold", "0.01"],
    }
    run = trained(tmp_path, model, "--data.canvas", "cropped", *options.get(model, []))
    exported, compared = export(run, tmp_path / "model.onnx", samples=200)
    assert compared.samples >= 200
    assert compared.tokens_different <= compared.positions / 10_000
    assert compared.grids_different <= compared.samples / 1000
    assert compared.largest_logit_difference < 1e-3
    assert (compared.exact, compared.solved) == (compared.other_exact, compared.other_solved)
    assert exported.card.model == model
    tables = [tensor.dims for tensor in onnx.load(tmp_path / "model.onnx").graph.initializer if len(tensor.dims) == 2]
    assert max(rows for rows, _ in tables) <= 900, "no positions that no canvas reaches"


def test_halting_and_refinement_are_those_of_torch(run_folder: Path, exported_file: Path) -> None:
    backend, card = load_model(run_folder, "cpu")
    other = OnnxBackend(exported_file)
    assert other.card == card
    tasks = tasks_to_score(card, None)
    # A few steps teach nothing about halting: let about half of the samples halt after each segment.
    (samples, *_) = AugmentedSet(Corpus(study=TASKS).training_puzzles(), canvas="cropped").samples(np.arange(40))
    signal = other._run(samples, None).halt
    backend.model.halt.bias.data -= float(np.median(signal))  # type: ignore[union-attr, operator]
    export_again = exported_file.with_name("halting.onnx")
    save_with_weights(run_folder, backend.model.state_dict(), export_again)
    other = OnnxBackend(export_again)
    ours, theirs = ([p.as_row() for p in predict_tasks(b, card, tasks, votes=9, refine=True)] for b in (backend, other))
    assert len({row["segments"] for row in ours}) > 2, "some halt early, some do not"
    for one, two in zip(ours, theirs, strict=True):
        assert (one["refinement"], one["segments"], one["tokens"]) == (
            two["refinement"],
            two["segments"],
            two["tokens"],
        )


def save_with_weights(run_folder: Path, weights: dict[str, torch.Tensor], file: Path) -> None:
    """Export a run as if it had ended with these weights."""
    copy = file.parent / "copy"
    shutil.copytree(run_folder, copy)
    checkpoint, _ = find_checkpoint(copy)
    card = replace(read_card(checkpoint), step=99)
    save_checkpoint(copy / "checkpoints", "step", card, weights, {})
    export(copy, file, samples=20)


def test_few_samples_at_once_give_the_same_answers(exported_file: Path) -> None:
    many, few = OnnxBackend(exported_file), OnnxBackend(exported_file, memory=1)
    (samples, *_) = AugmentedSet(Corpus(study=TASKS).training_puzzles(), canvas="cropped").samples(np.arange(6))
    for one, two in zip(many.answer(samples), few.answer(samples), strict=True):
        assert np.allclose(one, two, atol=1e-5)


def test_a_file_tells_what_it_is(run_folder: Path, exported_file: Path) -> None:
    model = onnx.load(exported_file)
    onnx.checker.check_model(model)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    told = Exported.from_text(metadata[KEY])
    assert told.card.run_id == run_folder.name
    assert told.recipe is not None
    assert told.recipe["name"] == "tiny"
    assert {"hrm-arc", "torch", "python"} <= set(told.versions)
    assert (told.segments, told.precision, told.canvas) == (3, "fp32", None)
    assert str(Path(__file__).parents[2]).encode() not in exported_file.read_bytes(), "no paths of this machine"
    # Batch and canvas are open.
    tokens = next(value for value in model.graph.input if value.name == "tokens")
    assert all(dimension.dim_param for dimension in tokens.type.tensor_type.shape.dim)


@pytest.fixture(scope="module")
def wide_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wide enough for weights to be most of the file; beside it the whole file."""
    root = tmp_path_factory.mktemp("wide")
    run = trained(root, "grid-hrm", "--data.canvas", "cropped", "--model.width", "256", "--model.heads", "4")
    export(run, run / "whole.onnx", samples=20)
    return run


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_smaller_files_are_smaller_and_much_the_same(precision: str, wide_run: Path, tmp_path: Path) -> None:
    small, whole = tmp_path / "small.onnx", wide_run / "whole.onnx"
    exported, compared = export(wide_run, small, precision, samples=100)  # type: ignore[arg-type]
    assert small.stat().st_size / whole.stat().st_size < {"int8": 0.3, "fp16": 0.55}[precision]
    assert compared.tokens_different <= compared.positions * {"int8": 0.05, "fp16": 0.002}[precision]
    assert exported.precision == precision
    if precision == "int8":
        assert exported.floats["Softmax"] > 0, "it says what stays in floating point"
        assert exported.float_layers
        assert all("_layers." in layer for layer in exported.float_layers)


def test_tasks_that_the_model_does_not_know_are_calibrated_as_unknown(run_folder: Path, tmp_path: Path) -> None:
    # More of them than its table has rows.
    others = write_puzzles(tmp_path / "others", load_tasks("arc-agi-1/training")[12:40])
    exported, _ = export(run_folder, tmp_path / "small.onnx", "int8", data=str(others), samples=20)
    assert exported.precision == "int8"


def test_parity_counts_what_differs(run_folder: Path) -> None:
    backend, card = load_model(run_folder, "cpu")
    tasks = tasks_to_score(card, None)
    alike = parity(backend, backend, card, tasks, samples=30)
    assert alike.right == alike.other_right
    assert (alike.tokens_different, alike.grids_different, alike.largest_logit_difference) == (0, 0, 0.0)

    class Other:
        """The same but for the first cell of every answer."""

        def answer(self, samples: Samples) -> object:
            answers = backend.answer(samples)
            answers.tokens[:, 0] = 2 + (answers.tokens[:, 0] + 1) % 10
            return answers

        def refine(self, samples: Samples) -> np.ndarray:
            return backend.refine(samples)

        def logits(self, samples: Samples) -> np.ndarray:
            return backend.logits(samples) + 0.5

    differs = parity(backend, Other(), card, tasks, samples=30)  # type: ignore[arg-type]
    assert differs.tokens_different == differs.samples
    assert differs.largest_logit_difference == pytest.approx(0.5, abs=1e-5)


def test_parity_counts_right_answers_among_those_that_are_known() -> None:
    class Copies:
        """It answers with the input."""

        def answer(self, samples: Samples) -> Answers:
            return Answers(samples.inputs, np.full(len(samples), 0.5), np.ones(len(samples)))

        def refine(self, samples: Samples) -> np.ndarray:
            return samples.inputs[None]

        def logits(self, samples: Samples) -> np.ndarray:
            return np.zeros((*samples.inputs.shape, VOCABULARY))

    (pair, *_) = TASKS[0].tests
    task = replace(TASKS[0], tests=(Pair(pair.input, pair.input), Pair(pair.input, None)))
    card = Card("grid-hrm", {}, [], "cropped", True, [], [], 0, 1, 0, [], 1, "run", {})
    compared = parity(Copies(), Copies(), card, [task], samples=20)
    assert (compared.samples, compared.test_outputs) == (20, 1)
    assert (compared.right, compared.other_right) == (1, 1)


def test_any_altered_byte_is_found(exported_file: Path, tmp_path: Path) -> None:
    content = exported_file.read_bytes()
    random = np.random.default_rng(0)
    places = [0, len(content) - 1, len(content) - 100, *random.integers(0, len(content), 40).tolist()]
    for place in places:
        altered = bytearray(content)
        altered[place] ^= 1 << int(random.integers(8))
        (tmp_path / "altered.onnx").write_bytes(altered)
        with pytest.raises(UserError, match=r"damaged|not a model that hrm export has written"):
            OnnxBackend(tmp_path / "altered.onnx")
    (tmp_path / "short.onnx").write_bytes(content[:-1000])
    with pytest.raises(UserError, match="cut short"):
        read_sealed(tmp_path / "short.onnx")


def test_other_files_and_providers_are_named(exported_file: Path, tmp_path: Path) -> None:
    (tmp_path / "noise.onnx").write_bytes(b"noise" * 100)
    with pytest.raises(UserError, match="not a model that hrm export has written"):
        OnnxBackend(tmp_path / "noise.onnx")
    (tmp_path / "sealed.onnx").write_bytes(sealed(b"noise" * 100))
    with pytest.raises(UserError, match="cannot be run"):
        OnnxBackend(tmp_path / "sealed.onnx")
    with pytest.raises(UserError, match="cannot be read"):
        OnnxBackend(tmp_path / "missing.onnx")
    with pytest.raises(UserError, match="tensorrt is not to be had here"):
        OnnxBackend(exported_file, provider="tensorrt")


def test_a_model_of_one_canvas_refuses_others(tmp_path: Path) -> None:
    run = trained(tmp_path, "trm", "--model.mixing", "mlp", "--data.canvas", "full", "--training.steps", "1")
    export(run, tmp_path / "model.onnx", samples=10)
    backend = OnnxBackend(tmp_path / "model.onnx")
    task: Task = replace(TASKS[0], tests=TASKS[0].tests[:1])
    (samples, *_) = AugmentedSet(Corpus(study=(task,)).training_puzzles(), canvas="cropped").samples(np.arange(1))
    with pytest.raises(UserError, match="takes 30 x 30 alone"):
        backend.answer(samples)


def test_a_file_that_fails_its_check_is_not_put_in_place(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object) -> None:
        raise UserError("ONNX Runtime", "no")

    monkeypatch.setattr("hrm_arc.deploy.export.parity", fails)
    (tmp_path / "model.onnx").write_text("what was here before")
    with pytest.raises(UserError):
        export(run_folder, tmp_path / "model.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert (tmp_path / "model.onnx").read_text() == "what was here before"


def test_the_text_of_a_card_comes_back(exported_file: Path) -> None:
    told = OnnxBackend(exported_file).exported
    assert Exported.from_text(told.as_text()) == told
    with pytest.raises((KeyError, TypeError)):
        Exported.from_text(json.dumps({"canvas": None}))
