"""What a step measures, and where it goes: callbacks, metrics.jsonl, the status."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from rich.console import Console

from hrm_arc.errors import UserError
from hrm_arc.files import sealed_row
from hrm_arc.models import MODELS
from hrm_arc.models.grid_hrm import GridHRM, GridHRMConfig
from hrm_arc.models.reasoner import Batch, Carry, Output, Reasoner
from hrm_arc.reading import read_lines
from hrm_arc.report.charts import training_details
from hrm_arc.report.watch import live_view
from hrm_arc.runs.metrics import read_history
from hrm_arc.runs.status import RunState
from hrm_arc.studio.curves import charts
from hrm_arc.training.build import load_corpus
from hrm_arc.training.callbacks import Callback
from hrm_arc.training.config import LossConfig
from hrm_arc.training.flops import FlopCounter
from hrm_arc.training.losses import segment_losses
from hrm_arc.training.metrics import StepMetrics, Validation
from hrm_arc.training.trainer import Trainer
from tests.made import tiny_recipe, write_tasks
from tests.models.examples import example_model, made_batch

ROW = {
    *("kind", "step", "epoch", "seconds", "loss", "halt_loss", "halt_accuracy", "mean_segments", "grad_norm", "lr"),
    *("token_accuracy", "exact_accuracy", "samples_per_sec", "cells_per_sec", "model_flops_per_sec"),
    *("peak_memory_bytes", "timing"),
}


class Watching(Callback):
    """Writes down what it is called with."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.metrics: list[StepMetrics] = []

    def on_run_start(self, trainer: Trainer) -> None:
        self.calls.append(f"start {trainer.step}")

    def on_step(self, metrics: StepMetrics) -> None:
        self.metrics.append(metrics)

    def on_validation_start(self, step: int) -> None:
        self.calls.append(f"validating {step}")

    def on_validation(self, step: int, result: Validation) -> None:
        self.calls.append(f"validated {step} {result.samples}")

    def on_checkpoint(self, path: Path) -> None:
        self.calls.append(path.name)

    def on_run_end(self, state: RunState) -> None:
        self.calls.append(state)


@pytest.mark.parametrize("model", MODELS)
def test_a_run_logs_what_research_needs(model: str, tmp_path: Path) -> None:
    recipe = tiny_recipe(write_tasks(tmp_path / "tasks"), model, "--training.log_every", "1")
    watching = Watching()
    trainer = Trainer(recipe, callbacks=[watching], root=tmp_path / "runs")
    trainer.fit()
    rows = [row for row in read_lines(trainer.folder.metrics_file) if row["kind"] == "train"]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    for row, metrics in zip(rows, watching.metrics, strict=True):
        assert set(row) == ROW
        assert row == {"kind": "train", **metrics.as_row()}
        assert 0 < row["grad_norm"] < 1000
        assert row["mean_segments"] == trainer.model.segments
        assert 0 <= row["halt_accuracy"] <= 1
        assert row["halt_loss"] > 0
        assert row["cells_per_sec"] > 4 * row["samples_per_sec"], "a grid of 2 x 2 has four cells"
        assert row["peak_memory_bytes"] > 10**7
    # The sixth step of a warm-up over 100 steps, five sixths along a cosine from 1 to 0.02.
    cosine = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * 5 / 6))
    assert rows[-1]["lr"] == pytest.approx(recipe.optimizer.lr * 0.06 * cosine)
    status = trainer.folder.status()
    for key in ("grad_norm", "lr", "halt_accuracy", "mean_segments", "token_accuracy", "exact_accuracy"):
        assert status[key] == rows[-1][key]
    assert status["training_acc"] == status["token_accuracy"], "the log's key stands beside"
    assert watching.calls == [
        *("start 0", "validating 3", "validated 3 3", "validating 6", "validated 6 3", "step-00000006", "finished"),
    ]


class Measured(GridHRM):
    """A model that logs the row of each sample's task, and the number of cells of its canvas."""

    metrics = ("task_row", "canvas")

    def forward_packed(self, carries: Sequence[Carry], batches: Sequence[Batch]) -> list[tuple[Carry, Output]]:
        results = super().forward_packed(carries, batches)
        return [
            (carry, output._replace(metrics=self.measured(batch)))
            for (carry, output), batch in zip(results, batches, strict=True)
        ]

    def measured(self, batch: Batch) -> torch.Tensor:
        cells = torch.full((len(batch),), batch.inputs.shape[1])
        return torch.stack([batch.identity.task, cells], dim=1)


def trained(tmp_path: Path, kind: type[GridHRM]) -> Trainer:
    recipe = tiny_recipe(write_tasks(tmp_path / "tasks"), "grid-hrm", "--training.log_every", "1")
    corpus = load_corpus(recipe)
    model = kind(GridHRMConfig(hidden_size=32, num_heads=4, h_layers=1, l_layers=1), len(corpus.tasks))
    trainer = Trainer(recipe, corpus, model, root=tmp_path / "runs")
    trainer.fit()
    return trainer


def test_a_model_logs_metrics_of_its_own(tmp_path: Path) -> None:
    trainer = trained(tmp_path, Measured)
    rows = [row for row in read_lines(trainer.folder.metrics_file) if row["kind"] == "train"]
    for row in rows:
        assert set(row) == {*ROW, "task_row", "canvas"}
        # Three tasks on canvases of 2 x 2, with a margin for EOS or without.
        assert 1 <= row["task_row"] <= 3
        assert 4 <= row["canvas"] <= 9
    assert {"task_row", "canvas"} <= {chart["key"] for chart in charts(rows)["charts"]}
    assert "task row" in training_details({"run": rows})
    console = Console(width=100, file=io.StringIO())
    console.print(live_view(trainer.folder))
    assert "task row" in console.file.getvalue()  # type: ignore[attr-defined]


def test_metrics_of_a_model_that_do_not_fit_its_names_are_refused(tmp_path: Path) -> None:
    class TooFew(Measured):
        def measured(self, batch: Batch) -> torch.Tensor:
            return super().measured(batch)[:, :1]

    class Taken(Measured):
        metrics = ("task_row", "loss")

    with pytest.raises(UserError, match="expected one for each of"):
        trained(tmp_path / "few", TooFew)

    class Twice(Measured):
        metrics = ("canvas", "canvas")

    class Checksum(Measured):
        metrics = ("task_row", "crc32")

    for kind, name in ((Taken, "loss"), (Checksum, "crc32")):
        with pytest.raises(UserError, match=f"{name} is a metric of every run"):
            trained(tmp_path / name, kind)
    with pytest.raises(UserError, match="canvas, canvas: two have the same name"):
        trained(tmp_path / "twice", Twice)


def test_the_gradients_norm_is_that_before_clipping(tmp_path: Path) -> None:
    norms = []
    for clip in ("0", "1e-6"):
        recipe = tiny_recipe(
            write_tasks(tmp_path / "tasks"), "dual-loop", "--optimizer.grad_clip", clip, "--training.log_every", "1"
        )
        trainer = Trainer(recipe, root=tmp_path / clip)
        trainer.fit()
        norms.append(read_lines(trainer.folder.metrics_file)[0]["grad_norm"])
    assert norms[0] == norms[1] > 1e-3


def test_halting_metrics_by_hand() -> None:
    labels = torch.tensor([[2], [2], [2], [2]])
    logits = torch.zeros(4, 1, 12)
    # The first two answers are right, the others wrong; the first and the third halt.
    logits[:2, 0, 2] = logits[2:, 0, 3] = 9.0
    q_halt = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]])
    losses = segment_losses(Output(logits, q_halt), labels, LossConfig())
    assert losses.halt_accuracy.tolist() == [1, 0, 0, 1]
    right, wrong = math.log(1 + math.exp(-1)), math.log(1 + math.exp(1))
    torch.testing.assert_close(losses.halt_loss, torch.tensor([right, wrong, wrong, right]))
    assert losses.cells.tolist() == [1, 1, 1, 1]
    # With a logit of continuing the two are compared.
    losses = segment_losses(Output(logits, q_halt, torch.full((4,), 2.0)), labels, LossConfig())
    assert losses.halt_accuracy.tolist() == [0, 0, 1, 1]


def grid_hrm_flops(config: GridHRMConfig, cells: int) -> int:
    """Forward operations of one sample by hand: two for each weight and token, four n^2 d for attention."""
    d, n = config.hidden_size, cells + 10
    inner = max(32, round(config.expansion * d * 2 / 3 / 32) * 32)
    block = 2 * n * (4 * d * d + 3 * d * inner) + 4 * n * n * d
    layers = config.h_cycles * (config.h_layers + config.l_layers)
    return layers * block + 2 * n * d * 12 + 2 * d


@pytest.mark.parametrize("cells", [(4, 5), (9, 9), (12, 3)])
def test_floating_point_operations_by_hand(cells: tuple[int, int]) -> None:
    config = GridHRMConfig(hidden_size=32, num_heads=4, h_layers=2, l_layers=1, h_cycles=2)
    counter = FlopCounter(GridHRM(config, num_tasks=3), extra_forward=False)
    by_hand = grid_hrm_flops(config, cells[0] * cells[1])
    # Backward takes two products for each of forward's, but none for the input of the first layer.
    assert counter.of(made_batch(2, *cells)) == pytest.approx(2 * 3 * by_hand, rel=0.03)
    # Without a logit of continuing there is no second forward pass.
    forward_too = FlopCounter(GridHRM(config, num_tasks=3), extra_forward=True)
    assert forward_too.of(made_batch(2, *cells)) == counter.of(made_batch(2, *cells))


def test_models_with_a_logit_of_continuing_are_counted_with_their_second_forward_pass() -> None:
    model, batch = example_model("hrm"), made_batch(2, 4, 5)
    once, twice = (FlopCounter(model, extra_forward=extra).of(batch) for extra in (False, True))
    # Forward is a third of forward and backward, where nothing of backward is left out.
    assert 1 < twice / once < 2


def test_models_of_one_class_without_options_are_counted_each() -> None:
    class Wide(OneCanvas):
        def __init__(self, width: int):
            super().__init__()
            self.layer = torch.nn.Linear(1, width * 12, bias=False)

        def forward(self, carry: Carry, batch: Batch) -> tuple[Carry, Output]:
            logits = self.layer(batch.inputs.float()[..., None]).unflatten(-1, (-1, 12)).mean(2)
            return (), Output(logits, logits.mean(dim=(1, 2))[:, None])

    small, large = (FlopCounter(Wide(width), extra_forward=False).of(made_batch(1, 4, 5)) for width in (1, 3))
    assert large == pytest.approx(3 * small)


def test_counting_operations_leaves_no_trace() -> None:
    model = example_model("hrm", puzzle_emb="variants").train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    FlopCounter(model, extra_forward=True)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


class OneCanvas(Reasoner):
    """A model that takes one canvas only."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(20, 20 * 12, bias=False)

    def initial_carry(self, batch: Batch) -> Carry:
        return ()

    def forward(self, carry: Carry, batch: Batch) -> tuple[Carry, Output]:
        if batch.inputs.shape[1] != 20:
            raise ValueError("twenty cells only")
        logits = self.layer(batch.inputs.float()).view(-1, 20, 12)
        return (), Output(logits, logits.mean(dim=(1, 2))[:, None])


def test_a_model_of_one_canvas_is_counted_there_and_nowhere_else() -> None:
    counter = FlopCounter(OneCanvas(), extra_forward=False)
    # 2 x 20 x 240 forward, and the same for the weight's gradient.
    assert counter.of(made_batch(3, 4, 5)) == 3 * 2 * 2 * 20 * 240
    assert math.isnan(counter.of(made_batch(3, 4, 4)))


def test_unknown_operations_are_null_and_not_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(self: FlopCounter, batch: Batch) -> float:
        return float("nan")

    monkeypatch.setattr(FlopCounter, "of", unknown)
    trainer = Trainer(tiny_recipe(write_tasks(tmp_path / "tasks")), root=tmp_path / "runs")
    trainer.fit()
    rows: Sequence[dict[str, object]] = read_lines(trainer.folder.metrics_file)
    assert {row["model_flops_per_sec"] for row in rows if row["kind"] == "train"} == {None}


@pytest.mark.parametrize("name", ["loss", "of_its_own"])
def test_a_number_that_no_float_holds_is_no_row(name: str, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    row = {"kind": "train", "step": 1, "seconds": 1.0}
    path.write_text(sealed_row({**row, name: 10**400}) + sealed_row({**row, name: 0.5}))
    history = read_history(path)
    assert [each[name] for each in history.rows] == [0.5]
    assert "which is too large" in history.damaged[0]
