from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import hrm_arc
from hrm_arc.errors import UserError
from hrm_arc.evaluation.baselines import baselines
from hrm_arc.evaluation.evaluate import predict_tasks, write_evaluation
from hrm_arc.evaluation.halting import HaltingController
from hrm_arc.evaluation.provenance import tasks_to_score
from hrm_arc.evaluation.torch_backend import infer, load_model
from hrm_arc.models import MODELS
from hrm_arc.models.reasoner import Batch, Carry, Output, Reasoner
from hrm_arc.puzzles.selection import smallest
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.reading import read_lines
from hrm_arc.runs.checkpoint import BEST, CARD, TRAINING, WEIGHTS, find_checkpoint, list_checkpoints, read_card
from hrm_arc.runs.folder import RunFolder
from hrm_arc.training import step as step_module
from hrm_arc.training.build import held_out_set
from hrm_arc.training.losses import SegmentLosses
from hrm_arc.training.metrics import StepMetrics
from hrm_arc.training.segments import ActiveBatch, run_segment
from hrm_arc.training.trainer import Trainer
from tests.made import TORCHRUN, OnStep, tiny_recipe, write_puzzles, write_tasks
from tests.models.examples import made_batch

STATUS_KEYS = {
    *("run_id", "start_time", "current_step", "current_epoch", "best_val_loss", "best_val_acc", "best_step"),
    *("last_checkpoint", "last_validation", "training_loss", "training_acc", "samples_per_sec"),
    *("estimated_time_remaining", "last_update", "state", "pass_at_2", "baselines"),
}


def weights_of(trainer: Trainer) -> dict[str, torch.Tensor]:
    return load_file(newest(trainer.folder) / WEIGHTS)


def newest(folder: RunFolder) -> Path:
    found, damaged = find_checkpoint(folder.path)
    assert damaged == []
    return found


def trained(tmp_path: Path, model: str = "grid-hrm", *flags: str, noise: int | None = None) -> Trainer:
    tasks = write_tasks(tmp_path / f"tasks-{noise}", noise=noise)
    trainer = Trainer(tiny_recipe(tasks, model, *flags), root=tmp_path / "runs")
    trainer.fit()
    return trainer


@pytest.mark.parametrize("model", MODELS)
def test_a_run_leaves_its_folder(model: str, tmp_path: Path) -> None:
    trainer = trained(tmp_path, model)
    folder = trainer.folder
    assert re.fullmatch(r"\d{8}_\d{6}_[0-9a-f]{8}", folder.run_id)
    status = folder.status()
    assert set(status) >= STATUS_KEYS
    assert (status["state"], status["current_step"], status["run_id"]) == ("finished", 6, folder.run_id)
    rows = read_lines(folder.metrics_file)
    assert [(row["kind"], row["step"]) for row in rows] == [
        ("train", 2),
        ("validation", 3),
        ("train", 4),
        ("train", 6),
        ("validation", 6),
    ]
    log = folder.log_file.read_text().splitlines()
    assert len([line for line in log if "train step" in line]) == 3
    assert log[0].endswith("start at step 0")
    assert log[-1].endswith("finished at step 6")
    assert folder.config()["model"]["name"] == model
    card = read_card(newest(folder))
    assert (card.model, card.step, card.tasks) == (model, 6, ["flip0", "flip1", "flip2"])


@pytest.mark.parametrize("model", MODELS)
def test_the_same_seed_gives_the_same_weights_and_another_does_not(model: str, tmp_path: Path) -> None:
    runs = [weights_of(trained(tmp_path / str(n), model, "--seed", str(seed))) for n, seed in enumerate((1, 1, 2))]
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])
    assert not all(torch.equal(runs[0][name], runs[2][name]) for name in runs[0])


def test_test_outputs_change_neither_weights_nor_predictions(tmp_path: Path) -> None:
    results = []
    for noise in (None, 1):
        trainer = trained(tmp_path / str(noise), noise=noise)
        backend, card = load_model(trainer.folder.path, "cpu")
        tasks = tasks_to_score(card, None)
        write_evaluation(card, tasks, predict_tasks(backend, card, tasks, votes=16, refine=True), trainer.folder, {})
        results.append(
            (
                (newest(trainer.folder) / WEIGHTS).read_bytes(),
                trainer.folder.submission_file.read_bytes(),
                [
                    {key: value for key, value in row.items() if key not in ("truth", "error", "solved")}
                    for row in read_lines(trainer.folder.predictions_file)
                ],
            )
        )
    assert results[0] == results[1]


def test_a_model_learns_a_rule_and_solves_what_was_held_out(tmp_path: Path) -> None:
    trainer = trained(
        tmp_path,
        "grid-hrm",
        *(
            "--training.max_steps",
            "350",
            "--training.batch_size",
            "64",
            "--model.hidden_size",
            "32",
            "--data.augment",
            "400",
        ),
        *("--optimizer.name", "muon", "--optimizer.lr", "3e-3", "--validation.every", "0"),
    )
    backend, card = load_model(trainer.folder.path, "cpu")
    tasks = tasks_to_score(card, None)
    scores = write_evaluation(card, tasks, predict_tasks(backend, card, tasks, votes=8), trainer.folder, {})
    assert scores["pass@2"] == 1.0
    assert scores["baselines"]["copy_input"]["exact_accuracy"] == 0.0


def test_accumulating_gradients_is_the_same_as_a_larger_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passed: list[int] = []

    def watched(model: Any, batches: Sequence[ActiveBatch], *rest: Any) -> list[SegmentLosses]:
        passed.append(sum(len(active.batch) for active in batches))
        return run_segment(model, batches, *rest)

    monkeypatch.setattr(step_module, "run_segment", watched)
    one = trained(tmp_path / "one", "grid-hrm", "--training.batch_size", "8", *UNCLIPPED)
    assert set(passed) == {8}
    passed.clear()
    halves = ("--training.batch_size", "4", "--training.grad_accum_steps", "2")
    two = trained(tmp_path / "two", "grid-hrm", *halves, *UNCLIPPED)
    assert set(passed) == {4}, "a pass holds no more than its batch"
    check_same_training(one.folder, two.folder)


# Where sums are cut differently, only single precision shows that they are the same.
SINGLE = ["--training.precision", "32-true"]
# So that the size of gradients can be told from AdamW's moments; its steps do not depend on it.
UNCLIPPED = ("--optimizer.grad_clip", "0")


def check_same_training(one: RunFolder, other: RunFolder) -> None:
    """Whether two runs ended alike but for rounding, and met gradients of the same size on the way."""
    weights, others = (load_file(newest(folder) / WEIGHTS) for folder in (one, other))
    for name, tensor in weights.items():
        torch.testing.assert_close(tensor, others[name], atol=1e-5, rtol=1e-4)
    moments, others = (load_file(newest(folder) / TRAINING) for folder in (one, other))
    names = [name for name, tensor in moments.items() if name.startswith("optimizer") and tensor.ndim]
    kinds = {name.rpartition(".")[2] for name in names}
    assert kinds
    for kind in kinds:
        mine, theirs = (torch.cat([m[n].flatten() for n in names if n.endswith(f".{kind}")]) for m in (moments, others))
        assert (mine - theirs).norm() <= 0.01 * mine.norm(), kind


@pytest.mark.parametrize("model", MODELS)
def test_samples_of_one_canvas_may_go_through_in_parts(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = ["--model.dropout", "0"] if model == "dual-loop" else []
    recipe = tiny_recipe(write_tasks(tmp_path / "tasks"), model, *SINGLE, *more)
    ends = []
    for most in (16_384, 1):
        monkeypatch.setattr(step_module, "max_cells_per_forward", lambda device, most=most: most)
        trainer = Trainer(recipe, root=tmp_path / str(most))
        trainer.fit()
        ends.append(weights_of(trainer))
    for name, tensor in ends[0].items():
        torch.testing.assert_close(tensor, ends[1][name], atol=1e-5, rtol=1e-4)


def test_interrupting_saves_the_state(tmp_path: Path) -> None:
    def on_step(metrics: StepMetrics) -> None:
        if metrics.step == 4:
            trainer.stop()

    trainer = Trainer(tiny_recipe(write_tasks(tmp_path / "tasks")), root=tmp_path / "runs", callbacks=[OnStep(on_step)])
    assert trainer.fit()["state"] == "interrupted"
    assert trainer.folder.status()["state"] == "interrupted"
    assert read_card(newest(trainer.folder)).step == 4


def test_a_failure_is_told_in_the_status(tmp_path: Path) -> None:
    def on_step(metrics: StepMetrics) -> None:
        raise RuntimeError("made up")

    trainer = Trainer(tiny_recipe(write_tasks(tmp_path / "tasks")), root=tmp_path / "runs", callbacks=[OnStep(on_step)])
    with pytest.raises(RuntimeError, match="made up"):
        trainer.fit()
    assert trainer.folder.status()["state"] == "failed"


def test_baselines_are_those_of_what_is_validated(tmp_path: Path) -> None:
    trainer = trained(tmp_path, "grid-hrm", "--validation.augment", "6", "--validation.fraction", "0.5")
    held_out = held_out_set(trainer.recipe, trainer.corpus, canvas="full")
    assert len(held_out) == 3 * 7
    assert trainer.folder.status()["baselines"] == baselines(held_out, held_out.part(0.5))


def test_a_solver_gives_the_attempts_of_an_evaluation(tmp_path: Path) -> None:
    trainer = trained(tmp_path)
    solver = hrm_arc.Solver.load(trainer.folder.path)
    (task, *_) = hrm_arc.load_tasks(str(tmp_path / "tasks-None"))
    (prediction,) = predict_tasks(solver.backend, solver.card, [task], votes=8)
    (attempts,) = solver.solve(task, votes=8)
    assert [grid.tolist() for grid in attempts] == [c.grid.tolist() for c in prediction.candidates[:2]]
    assert len(solver.solve(task, votes=8, attempts=1)[0]) == 1


def test_a_time_limit_ends_the_run(tmp_path: Path) -> None:
    recipe = tiny_recipe(
        write_tasks(tmp_path / "tasks"), "grid-hrm", "--training.max_minutes", "0.01", "--training.max_steps", "1000000"
    )
    seen: list[StepMetrics] = []
    result = Trainer(recipe, root=tmp_path / "runs", callbacks=[OnStep(seen.append)]).fit()
    assert 0 < result["steps"] < 1_000_000
    assert seen[-1].progress == 1.0


def test_the_best_is_kept_only_when_asked_for(tmp_path: Path) -> None:
    kept = trained(tmp_path / "kept", "grid-hrm", "--validation.keep_best", "true")
    left = trained(tmp_path / "left", "grid-hrm")
    assert len(list_checkpoints(kept.folder.checkpoints, BEST)) == 1
    assert list_checkpoints(left.folder.checkpoints, BEST) == []


def test_a_missing_accelerator_is_the_users_mistake(tmp_path: Path) -> None:
    recipe = tiny_recipe(write_tasks(tmp_path / "tasks"), "grid-hrm", "--training.accelerator", "warp")
    with pytest.raises(UserError, match=r"training\.accelerator"):
        Trainer(recipe, root=tmp_path / "runs")


def test_damaged_weights_are_named(tmp_path: Path) -> None:
    folder = newest(trained(tmp_path).folder)
    good = (folder / WEIGHTS).read_bytes()
    for bad in (good[: len(good) // 2], good[:-1] + bytes([good[-1] ^ 1])):
        (folder / WEIGHTS).write_bytes(bad)
        with pytest.raises(UserError, match="damaged: its checksum is not the one on the card"):
            load_model(folder)
    (folder / WEIGHTS).unlink()
    with pytest.raises(UserError, match="missing"):
        load_model(folder)
    (folder / WEIGHTS).write_bytes(good)
    card = json.loads((folder / CARD).read_text())
    card["options"]["width"] = 32
    (folder / CARD).write_text(json.dumps(card))
    with pytest.raises(UserError, match="damaged: its checksum is not that of its content"):
        load_model(folder)


@pytest.mark.parametrize(
    ("model", "more"),
    [
        ("grid-hrm", []),
        # The halting unit is in no loss, and still has to be in every process's gradients.
        ("grid-hrm", ["--loss.halt_kind", "none"]),
        # A puzzle table, whose gradients are sparse.
        ("hrm", ["--loss.halt_kind", "q-learning"]),
        # Distributed on unlike canvases, and samples that halt, in passes of which the last one sends gradients.
        (
            "grid-hrm",
            [*("--halting.early_exit", "true", "--halting.exploration_prob", "0"), "--training.grad_accum_steps", "2"],
        ),
    ],
    ids=["grid-hrm", "no halting", "puzzle table", "halting"],
)
def test_two_processes_train_as_one(model: str, more: list[str], tmp_path: Path) -> None:
    tasks = write_puzzles(tmp_path / "tasks", smallest(load_tasks("arc-agi-1/training"), 4))
    flags = [
        "--training.max_steps",
        "20",
        "--training.log_every",
        "1",
        "--data.canvas",
        "cropped",
        *SINGLE,
        *UNCLIPPED,
        *more,
    ]
    alone = Trainer(tiny_recipe(tasks, model, *flags), root=tmp_path / "alone")
    alone.fit()
    command = [*TORCHRUN, "2", "-m", "hrm_arc", "train"]
    subprocess.run(
        [*command, str(tmp_path / f"{model}.yaml"), *flags, "--out", str(tmp_path / "together")],
        check=True,
        capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    (path,) = (tmp_path / "together").iterdir()
    together = RunFolder(path)
    check_same_training(alone.folder, together)
    rows = [read_lines(folder.metrics_file) for folder in (alone.folder, together)]
    assert [(row["kind"], row["step"]) for row in rows[0]] == [(row["kind"], row["step"]) for row in rows[1]]
    for one, two in zip(*rows, strict=True):
        assert one["loss"] == pytest.approx(two["loss"], abs=1e-5)


class Halting(Reasoner):
    """Says its segment's number in every cell, and halts when its sample's task says so."""

    segments = 4

    def initial_carry(self, batch: Batch) -> Carry:
        return (torch.zeros(len(batch)),)

    def forward(self, carry: Carry, batch: Batch) -> tuple[Carry, Output]:
        number = carry[0] + 1
        logits = torch.zeros(len(batch), batch.inputs.shape[1], 12)
        logits[:, :, int(number[0])] = 1.0
        q_halt = torch.where(batch.identity.task < number, 5.0, -5.0)
        return (number,), Output(logits, q_halt[:, None])


def test_each_sample_keeps_the_answer_with_which_it_halted() -> None:
    output, segments = infer(Halting(), made_batch(), HaltingController(4))
    assert segments.tolist() == [1, 2, 3]
    assert output.logits.argmax(dim=-1)[:, 0].tolist() == [1, 2, 3]
    assert (output.q_halt > 4).all()


def test_tasks_without_answers_are_not_validated_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_tasks(tmp_path / "tasks", count=2)
    for path in folder.iterdir():
        task = json.loads(path.read_text())
        path.write_text(json.dumps({**task, "test": [{"input": pair["input"]} for pair in task["test"]]}))
    trainer = Trainer(tiny_recipe(folder), root=tmp_path / "runs")
    assert trainer.fit()["state"] == "finished"
    assert any("nothing to validate on" in line for line in caplog.messages)
