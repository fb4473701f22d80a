from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from hrm_arc.deploy.export import export
from hrm_arc.deploy.exported import KEY, Exported, input_names, output_names, read_checked, with_checksum
from hrm_arc.deploy.parity import parity
from hrm_arc.deploy.runtime import PROVIDERS, OnnxBackend, provider_options
from hrm_arc.errors import UserError
from hrm_arc.evaluation.backend import Answers
from hrm_arc.evaluation.evaluate import predict_tasks
from hrm_arc.evaluation.provenance import tasks_to_score
from hrm_arc.evaluation.torch_backend import load_model
from hrm_arc.models import MODELS, ModelSpec, find_model
from hrm_arc.models.reasoner import Batch, Carry, Output, Reasoner
from hrm_arc.models.spec import ExportSpec
from hrm_arc.puzzles.augmented import AugmentedSet, Samples
from hrm_arc.puzzles.canvas import VOCABULARY
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.formats import task_json
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.puzzles.task import Pair, Task
from hrm_arc.runs.card import Card
from tests.deploy.fitted import TASKS, fitted_run, save_run


def batch_of(count: int) -> Samples:
    """Samples on one cropped canvas."""
    return AugmentedSet(Corpus(study=TASKS).training_puzzles(), canvas="cropped").samples(np.arange(count))[0]


class Copies:
    """Answers with the input."""

    def answer(self, samples: Samples) -> Answers:
        return Answers(samples.inputs, np.full(len(samples), 0.5), np.ones(len(samples)))

    def refine(self, samples: Samples) -> np.ndarray:
        return samples.inputs[None]

    def logits(self, samples: Samples) -> np.ndarray:
        return np.zeros((*samples.inputs.shape, VOCABULARY))


@pytest.mark.parametrize("model", list(MODELS))
def test_every_model_answers_as_in_torch(model: str, tmp_path: Path) -> None:
    if find_model(model).export is None:
        pytest.skip("its ModelSpec has no export")
    options: dict[str, dict[str, Any]] = {
        # Every switch of grid-hrm, and a loop that dual-loop leaves early.
        "grid-hrm": {
            "registers": 2,
            "share_levels": True,
            "h_cycles": 2,
            "tie_embeddings": True,
            "convolution": 3,
            "learned_positions": True,
        },
        "dual-loop": {"h_cycles": 3, "halt_threshold": 0.01},
        "trm": {"h_cycles": 2, "l_cycles": 2},
    }
    run = fitted_run(tmp_path / "run", model, **options.get(model, {}))
    exported, compared = export(run, tmp_path / "model.onnx", samples=100)
    assert compared.samples >= 100
    assert compared.tokens_different <= compared.positions / 10_000
    assert compared.grids_different <= 1
    assert compared.largest_logit_difference < 1e-3
    assert (compared.exact_accuracy, compared.solved) == (compared.other_exact_accuracy, compared.other_solved)
    assert exported.card.model == model
    model_file = onnx.load(tmp_path / "model.onnx")
    assert tuple(value.name for value in model_file.graph.output) == output_names(exported.carry)
    names = {value.name for value in model_file.graph.input}
    assert {"tokens", "first_segment", *exported.carry} <= names <= set(input_names(exported.carry))
    tables = [tensor.dims for tensor in model_file.graph.initializer if len(tensor.dims) == 2]
    assert max(rows for rows, _ in tables) <= 900, "no positions that no canvas reaches"


def test_halting_and_refinement_are_those_of_torch(run_folder: Path, tmp_path: Path) -> None:
    backend, card = load_model(run_folder, "cpu", "32-true")
    tasks = tasks_to_score(card, None)
    # The halting head was not trained: give it random weights, and a bias with which half of the samples halt.
    batch, head = Batch.from_samples(batch_of(40)), backend.model.halt
    assert isinstance(head, torch.nn.Linear)
    torch.manual_seed(5)
    head.weight.data = torch.randn_like(head.weight)
    with torch.inference_mode():
        _, output = backend.model(backend.model.initial_carry(batch), batch)
    # Halfway between two samples: one that is exactly on the threshold halts or not as it happens to be rounded.
    halting = output.q_halt.sort().values
    head.bias.data -= halting[len(halting) // 2 - 1 : len(halting) // 2 + 1].mean()
    save_run(tmp_path / "run", "grid-hrm", "cropped", backend.model, step=99)
    export(tmp_path / "run", tmp_path / "model.onnx", samples=20)
    other = OnnxBackend(tmp_path / "model.onnx")
    assert replace(other.card, step=card.step) == card
    ours, theirs = ([p.as_row() for p in predict_tasks(b, card, tasks, votes=9, refine=True)] for b in (backend, other))
    assert len({row["segments"] for row in ours}) > 2, "some samples halt early, others do not"
    for one, two in zip(ours, theirs, strict=True):
        for name in ("refinement", "segments", "tokens"):
            assert one[name] == two[name], name
    # Without early exit every sample runs every segment.
    backend.early_exit = other.early_exit = False
    for mine, its in zip(backend.answer(batch_of(40)), other.answer(batch_of(40)), strict=True):
        assert np.allclose(mine, its, atol=1e-4)
    assert (other.answer(batch_of(40)).segments == backend.model.segments).all()


def test_the_published_reading_is_the_same_in_torch_and_in_the_file(run_folder: Path, exported_file: Path) -> None:
    backend, _ = load_model(run_folder, "cpu", "32-true")
    samples = batch_of(40)
    backend.reading = "published"
    ours, theirs = (
        backend.answer(samples).tokens,
        OnnxBackend(exported_file, reading="published").answer(samples).tokens,
    )
    assert np.array_equal(ours, theirs)
    backend.early_exit = False
    last = backend.refine(samples)[-1]
    assert np.array_equal(backend.answer(samples).tokens, last), (
        "the tokens after each segment are read in the same way"
    )


def test_a_smaller_batch_size_gives_the_same_answers(exported_file: Path) -> None:
    many, few = OnnxBackend(exported_file), OnnxBackend(exported_file, memory=1)
    for one, two in zip(many.answer(batch_of(6)), few.answer(batch_of(6)), strict=True):
        assert np.allclose(one, two, atol=1e-5)


def test_a_file_describes_itself(run_folder: Path, exported_file: Path) -> None:
    model = onnx.load(exported_file)
    onnx.checker.check_model(model)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    exported = Exported.from_text(metadata[KEY])
    assert exported.card.run_id == run_folder.name
    assert exported.recipe is not None
    assert exported.recipe["name"] == "tiny"
    assert {"hrm-arc", "torch", "python"} <= set(exported.versions)
    assert (exported.segments, exported.precision, exported.canvas) == (3, "fp32", None)
    assert (exported.carry, exported.hidden_size, exported.num_heads, exported.prefix) == (("h", "l"), 32, 4, 10)
    assert str(Path(__file__).parents[2]).encode() not in exported_file.read_bytes(), "no paths of this machine"
    # Batch size and canvas are dynamic.
    tokens = next(value for value in model.graph.input if value.name == "tokens")
    assert all(dimension.dim_param for dimension in tokens.type.tensor_type.shape.dim)
    assert OnnxBackend(exported_file).exported == exported
    with pytest.raises(ValueError, match="the description has no card"):
        Exported.from_text(json.dumps({"canvas": None}))


@pytest.fixture(scope="module")
def wide_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wide enough that weights are most of the file; beside it the fp32 file."""
    run = fitted_run(tmp_path_factory.mktemp("wide") / "run", "grid-hrm", steps=30, hidden_size=256, num_heads=4)
    # One inner channel of a feed-forward a thousand times as large as the others, without a change of the function.
    backend, _ = load_model(run, "cpu", "32-true")
    weights = dict(backend.model.named_parameters())
    gate_up, down = (weights[f"h_layers.0.feed_forward.{name}.weight"].data for name in ("gate_up", "down"))
    gate_up[-1] *= 1000
    down[:, -1] /= 1000
    save_run(run, "grid-hrm", "cropped", backend.model, step=2)
    export(run, run / "fp32.onnx", samples=20)
    return run


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_quantized_files_are_smaller_and_answer_nearly_the_same(precision: str, wide_run: Path, tmp_path: Path) -> None:
    small, whole = tmp_path / "small.onnx", wide_run / "fp32.onnx"
    exported, compared = export(wide_run, small, precision, samples=100)  # type: ignore[arg-type]
    assert small.stat().st_size / whole.stat().st_size < {"int8": 0.3, "fp16": 0.55}[precision]
    assert compared.tokens_different <= compared.positions * {"int8": 0.05, "fp16": 0.002}[precision]
    assert exported.precision == precision
    if precision == "int8":
        assert exported.float_ops["Softmax"] > 0, "it lists what is computed in floating point"
        assert "h_layers.0.feed_forward.down" in exported.float_layers


def test_unseen_tasks_can_be_calibrated_on(run_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    # More tasks than the model's task table has rows.
    (tmp_path / "others").mkdir()
    for task in load_tasks("arc-agi-1/training")[12:40]:
        (tmp_path / "others" / f"{task.id}.json").write_text(json.dumps(task_json(task)))
    with caplog.at_level(logging.INFO, logger="hrm_arc"):
        exported, _ = export(run_folder, tmp_path / "small.onnx", "int8", data=str(tmp_path / "others"), samples=20)
    assert exported.precision == "int8"
    messages = [record.message for record in caplog.records if record.name == "hrm_arc.deploy"]
    stages = ("tracing", "calibrating", "comparing")
    assert all(message.startswith(stage) for message, stage in zip(messages, stages, strict=True))


@dataclass(frozen=True)
class CountsConfig:
    hidden_size: int = 8
    tensors: int = 3


class Counts(Reasoner):
    """A model whose carry has any number of tensors; each counts segments, and the logits are their sum."""

    segments = 4

    def __init__(self, config: CountsConfig):
        super().__init__()
        self.config = config
        self.embedding = torch.nn.Embedding(VOCABULARY, config.hidden_size)
        self.output = torch.nn.Linear(config.hidden_size, VOCABULARY)

    def initial_carry(self, batch: Batch) -> Carry:
        blank = self.embedding.weight.new_zeros(len(batch), 2 + batch.height * batch.width, self.config.hidden_size)
        return tuple(blank + number for number in range(self.config.tensors))

    def forward(self, carry: Carry, batch: Batch) -> tuple[Carry, Output]:
        carry = tuple(tensor + 1 for tensor in carry)
        x = self.embedding(batch.inputs)
        for number, tensor in enumerate(carry):
            x = x + torch.sin(tensor[:, 2:] * (number + 1))
        return carry, Output(self.output(x), self.output(x).mean(dim=(1, 2))[:, None])


def register_counts(monkeypatch: pytest.MonkeyPatch, name: str, export: ExportSpec | None) -> None:
    spec = ModelSpec(CountsConfig, lambda config, tasks, variants: Counts(config), export=export)
    monkeypatch.setitem(MODELS._known, name, spec)


@pytest.mark.parametrize("tensors", [0, 1, 3])
def test_the_carry_may_have_any_number_of_tensors(
    tensors: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("fast", "slow", "slowest")[:tensors]
    register_counts(monkeypatch, "counts", ExportSpec(carry=names, num_heads=lambda config: 1))
    torch.manual_seed(0)
    save_run(tmp_path / "run", "counts", "cropped", Counts(CountsConfig(tensors=tensors)))
    exported, compared = export(tmp_path / "run", tmp_path / "model.onnx", samples=100)
    assert exported.carry == names
    assert (exported.prefix, exported.hidden_size) == ((2, 8) if tensors else (0, 0))
    assert compared.tokens_different == 0
    assert compared.largest_logit_difference < 1e-4
    backend, _ = load_model(tmp_path / "run", "cpu", "32-true")
    other = OnnxBackend(tmp_path / "model.onnx")
    assert np.array_equal(backend.refine(batch_of(6)), other.refine(batch_of(6)))
    assert np.array_equal(backend.answer(batch_of(6)).segments, other.answer(batch_of(6)).segments)


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        (None, "cannot be exported: its ModelSpec has no export"),
        (ExportSpec(carry=("h", "l"), num_heads=lambda config: 1), "has 3 tensors, and its ExportSpec names 2"),
        (ExportSpec(carry=("h", "l", "task"), num_heads=lambda config: 1), "'task', which is another input"),
    ],
    ids=["no export", "other carry", "taken name"],
)
def test_a_model_that_cannot_be_exported_is_named(
    spec: ExportSpec | None, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_counts(monkeypatch, "counts", spec)
    save_run(tmp_path / "run", "counts", "cropped", Counts(CountsConfig()))
    with pytest.raises(UserError, match=what) as caught:
        export(tmp_path / "run", tmp_path / "model.onnx")
    assert str(caught.value).startswith("counts: ")
    assert not (tmp_path / "model.onnx").exists()


def test_parity_counts_differences(run_folder: Path) -> None:
    backend, card = load_model(run_folder, "cpu", "32-true")
    tasks = tasks_to_score(card, None)
    same = parity(backend, backend, card, tasks, samples=30)
    assert same.sample_accuracy == same.other_sample_accuracy
    assert (same.tokens_different, same.grids_different, same.largest_logit_difference) == (0, 0, 0.0)

    class Other:
        """The same but for the first cell of every answer."""

        def answer(self, samples: Samples) -> Answers:
            answers = backend.answer(samples)
            answers.tokens[:, 0] = 2 + (answers.tokens[:, 0] + 1) % 10
            return answers

        def refine(self, samples: Samples) -> np.ndarray:
            return backend.refine(samples)

        def logits(self, samples: Samples) -> np.ndarray:
            return backend.logits(samples) + 0.5

    different = parity(backend, Other(), card, tasks, samples=30)
    assert different.tokens_different == different.samples
    assert different.largest_logit_difference == pytest.approx(0.5, abs=1e-5)


def test_sample_accuracy_counts_known_answers_only() -> None:
    (pair, *_) = TASKS[0].tests
    task = replace(TASKS[0], tests=(Pair(pair.input, pair.input), Pair(pair.input, None)))
    card = Card("grid-hrm", {}, [], "cropped", True, [], [], 0, 1, 0, [], 1, "run", {})
    compared = parity(Copies(), Copies(), card, [task], samples=20)
    assert (compared.samples, compared.test_outputs) == (20, 1)
    assert (compared.sample_accuracy, compared.other_sample_accuracy) == (1, 1)


def test_tasks_with_few_variants_count_as_often_as_they_were_answered() -> None:
    """An imported checkpoint has rows of the variants that its own program drew: of one task one, of another eight."""
    few = Task.from_lists("few", [([[1]], [[1]])], [([[1]], [[1]])])
    many = Task.from_lists("many", [([[1, 2, 3]], [[1, 2, 3]])], [([[4, 5, 6]], [[4, 5, 6]])])
    symmetries = {"few": "0" + "0123456789", "many": "".join(f"{n}0123456789" for n in range(8))}
    card = Card("hrm", {}, ["few", "many"], "full", True, [], [], 0, 8, 0, [], 1, "run", {}, symmetries=symmetries)
    compared = parity(Copies(), Copies(), card, [few, many], samples=16)
    assert compared.samples == 9
    assert compared.sample_accuracy == compared.other_sample_accuracy == 1


def test_a_maze_is_compared_in_its_orientations() -> None:
    card = Card("trm", {"vocabulary": "maze"}, [], "full", True, [], [], 0, 1, 0, [], 1, "run", {})
    compared = parity(Copies(), Copies(), card, load_tasks("maze-5x5:10"), samples=2000)
    assert compared.samples == 8


def test_any_altered_byte_is_found(exported_file: Path, tmp_path: Path) -> None:
    content = exported_file.read_bytes()
    random = np.random.default_rng(0)
    places = [0, len(content) - 1, len(content) - 100, *random.integers(0, len(content), 40).tolist()]
    for place in places:
        altered = bytearray(content)
        altered[place] ^= 1 << int(random.integers(8))
        (tmp_path / "altered.onnx").write_bytes(altered)
        with pytest.raises(UserError, match=r"damaged|not written by hrm export"):
            OnnxBackend(tmp_path / "altered.onnx")
    (tmp_path / "short.onnx").write_bytes(content[:-1000])
    with pytest.raises(UserError, match="incomplete"):
        read_checked(tmp_path / "short.onnx")


def test_other_files_and_providers_are_named(exported_file: Path, tmp_path: Path) -> None:
    (tmp_path / "noise.onnx").write_bytes(b"noise" * 100)
    with pytest.raises(UserError, match="not written by hrm export"):
        OnnxBackend(tmp_path / "noise.onnx")
    (tmp_path / "checked.onnx").write_bytes(with_checksum(b"noise" * 100))
    with pytest.raises(UserError, match="cannot be run"):
        OnnxBackend(tmp_path / "checked.onnx")
    with pytest.raises(UserError, match="cannot be read"):
        OnnxBackend(tmp_path / "missing.onnx")
    with pytest.raises(UserError, match="tensorrt is not available here"):
        OnnxBackend(exported_file, provider="tensorrt")


def test_a_gpu_computes_in_full_single_precision_and_leaves_the_rest_to_the_next_provider() -> None:
    everywhere = list(PROVIDERS.values())
    cuda, cpu = ("CUDAExecutionProvider", {"use_tf32": "0"}), ("CPUExecutionProvider", {})
    assert provider_options("tensorrt", everywhere) == [("TensorrtExecutionProvider", {}), cuda, cpu]
    assert provider_options("cuda", everywhere) == [cuda, cpu]
    assert provider_options("cpu", everywhere) == [cpu]


def test_a_model_of_one_canvas_refuses_others(tmp_path: Path) -> None:
    run = fitted_run(tmp_path / "run", "trm", "full", steps=1, mixing="mlp", segments=1)
    exported, _ = export(run, tmp_path / "model.onnx", samples=10)
    assert exported.canvas == (30, 30)
    with pytest.raises(UserError, match="takes a canvas of 30 x 30 only"):
        OnnxBackend(tmp_path / "model.onnx").answer(batch_of(1))


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
