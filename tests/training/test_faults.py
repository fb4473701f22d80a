"""Disks that fill up, losses that are no numbers, memory that runs out: told in a line, and nothing is lost."""

from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import Any

import pytest
import torch

from hrm_arc.errors import UserError
from hrm_arc.runs.checkpoint import LATEST, list_checkpoints
from hrm_arc.runs.metrics import read_metrics
from hrm_arc.training import checkpointing as checkpointing_module
from hrm_arc.training import segments
from hrm_arc.training.config import Recipe
from hrm_arc.training.failures import DivergedError
from hrm_arc.training.metrics import StepMetrics
from hrm_arc.training.trainer import Trainer
from tests.made import OnStep, tiny_recipe, write_tasks


def recipe_for(tmp_path: Path, *flags: str) -> Recipe:
    often = ["--training.max_steps", "12", "--training.checkpoint_every", "4"]
    return tiny_recipe(write_tasks(tmp_path / "tasks"), "grid-hrm", *often, *flags)


def test_a_full_disk_keeps_the_last_checkpoint_and_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = recipe_for(tmp_path)
    save = checkpointing_module.save_checkpoint

    def full(root: Path, kind: str, card: Any, *tensors: Any) -> Path:
        if card.step == 8:
            raise UserError(root, "cannot be written: No space left on device")
        return save(root, kind, card, *tensors)

    monkeypatch.setattr(checkpointing_module, "save_checkpoint", full)
    trainer = Trainer(recipe, root=tmp_path / "runs")
    assert trainer.fit()["state"] == "finished"
    assert [line for line in caplog.messages if "No space left on device" in line] == caplog.messages != []
    names = [path.name for path in list_checkpoints(trainer.folder.checkpoints, LATEST)]
    assert names == ["step-00000004", "step-00000012"]


def test_a_disk_that_is_full_for_a_while_costs_rows_and_not_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)

    def on_step(metrics: StepMetrics) -> None:
        # From here on, and until there is room again, no file can grow.
        if metrics.step in (4, 9):
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 if metrics.step == 4 else kept[0], kept[1]))

    flags = ("--training.log_every", "1", "--training.trackers", "[csv]")
    trainer = Trainer(recipe_for(tmp_path, *flags), root=tmp_path / "runs", callbacks=[OnStep(on_step)])
    try:
        assert trainer.fit()["state"] == "finished"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)
    assert any("are lost" in line and "training goes on" in line for line in caplog.messages)
    assert sum("are lost" in line for line in caplog.messages) == 1
    assert any("checkpoints/step-00000008" in line for line in caplog.messages)
    steps = [row["step"] for row in read_metrics(trainer.folder.metrics_file) if row["kind"] == "train"]
    assert steps[:3] == [1, 2, 3]
    assert steps[-1] == 12
    assert trainer.folder.status()["state"] == "finished"
    assert [path.name for path in list_checkpoints(trainer.folder.checkpoints, LATEST)][-1] == "step-00000012"


def test_a_loss_that_is_not_finite_stops_the_run_with_its_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_for(tmp_path)
    losses = segments.segment_losses
    calls = [0]

    def broken(*arguments: Any) -> Any:
        calls[0] += 1
        result = losses(*arguments)
        # Two segments a step: the tenth call is in the fifth step, after the checkpoint of the fourth.
        return result._replace(total=result.total * float("nan")) if calls[0] >= 10 else result

    monkeypatch.setattr(segments, "segment_losses", broken)
    trainer = Trainer(recipe, root=tmp_path / "runs")
    with pytest.raises(DivergedError, match="step 4: the loss or a gradient is not finite"):
        trainer.fit()
    assert trainer.folder.status()["state"] == "failed"
    (path,) = trainer.folder.path.glob("diverged-*.json")
    kept = json.loads(path.read_text())
    assert (kept["step"], len(kept["indices"])) == (4, 8)
    assert [path.name for path in list_checkpoints(trainer.folder.checkpoints, LATEST)] == ["step-00000004"]
    assert all(tensor.isfinite().all() for tensor in trainer.model.state_dict().values())


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_memory_that_runs_out_names_a_batch_to_try(
    device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(*arguments: Any) -> Any:
        if device == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory")
        # More than any address space; what torch raises for it has no type of its own.
        return torch.empty(2**60, dtype=torch.uint8)

    monkeypatch.setattr(segments, "segment_losses", greedy)
    trainer = Trainer(recipe_for(tmp_path), root=tmp_path / "runs")
    with pytest.raises(UserError, match=r"try --training\.batch_size 4 --training\.grad_accum_steps 2"):
        trainer.fit()
