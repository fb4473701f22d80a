"""What mixed precision computes in, and what it must not lose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.overrides import TorchFunctionMode

from hrm_arc.hardware import multiplies_bf16
from hrm_arc.models import MODELS
from hrm_arc.models.reasoner import Batch
from hrm_arc.runs.checkpoint import WEIGHTS, find_checkpoint
from hrm_arc.training.resuming import resumed_recipe
from hrm_arc.training.segments import ActiveBatch, run_segment
from hrm_arc.training.trainer import Trainer
from tests.made import tiny_recipe, write_tasks


class LinearLayers(TorchFunctionMode):
    """Records the precision of what linear layers return, small heads excepted."""

    def __init__(self) -> None:
        super().__init__()
        self.dtypes: set[torch.dtype] = set()

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if function is torch.nn.functional.linear and min(args[1].shape) > 2 and torch.is_grad_enabled():
            self.dtypes.add(result.dtype)
        return result


@pytest.mark.parametrize(("precision", "dtype"), [("bf16-mixed", torch.bfloat16), ("32-true", torch.float32)])
@pytest.mark.parametrize("model", MODELS)
def test_products_are_in_the_precision_that_was_asked_for(
    model: str, precision: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    recipe = tiny_recipe(write_tasks(tmp_path / "tasks"), model, "--training.precision", precision)
    trainer = Trainer(recipe, root=tmp_path / "runs")
    with LinearLayers() as layers:
        trainer.fit()
    assert layers.dtypes == {dtype}
    # What auto stands for is in the run, so that a resumed run has it, too.
    assert trainer.folder.config()["training"]["precision"] == precision
    weights = load_file(find_checkpoint(trainer.folder.path)[0] / WEIGHTS)
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    assert all(tensor.isfinite().all() for tensor in weights.values())


@pytest.mark.parametrize("model", MODELS)
def test_mixed_precision_leaves_no_weight_without_a_gradient(model: str, tmp_path: Path) -> None:
    # Weights that are first used without a gradient, in the cycles before the last, may not stay without one.
    recipe = tiny_recipe(write_tasks(tmp_path / "tasks"), model)
    trainer = Trainer(recipe, root=tmp_path / "runs")
    moving = {}
    for precision in (torch.float32, torch.bfloat16):
        (samples, *_) = trainer._batches.draw(0)[0]
        active = ActiveBatch.start(trainer.model, Batch.from_samples(samples))
        with torch.autocast("cpu", precision, enabled=precision == torch.bfloat16):
            (losses,) = run_segment(trainer.model.forward_packed, [active], recipe.loss, last=True)
        trainer.model.zero_grad()
        losses.total.sum().backward()
        moving[precision] = {
            name for name, p in trainer.model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0
        }
    assert moving[torch.bfloat16] == moving[torch.float32] != set()


def test_auto_is_what_the_device_multiplies_fast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_tasks(tmp_path / "tasks")
    for features, precision in (({"avx2": True, "avx512_bf16": True}, "bf16-mixed"), ({"avx2": True}, "32-true")):
        multiplies_bf16.cache_clear()
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda features=features: features)
        trainer = Trainer(tiny_recipe(data, "grid-hrm", "--training.accelerator", "cpu"), root=tmp_path / precision)
        assert trainer.folder.config()["training"]["precision"] == precision
    multiplies_bf16.cache_clear()


def test_a_resumed_run_keeps_its_precision_and_says_where_it_is_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    data = write_tasks(tmp_path / "tasks")
    recipe = tiny_recipe(data, "grid-hrm", "--training.precision", "bf16-mixed", "--training.accelerator", "cpu")
    folder = Trainer(recipe, root=tmp_path / "runs").folder
    multiplies_bf16.cache_clear()
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    again = resumed_recipe(folder, None, ["--training.precision", "auto"], [])
    assert Trainer(again, resume=folder).recipe.training.precision == "bf16-mixed"
    assert "does not multiply bfloat16" in caplog.text
    multiplies_bf16.cache_clear()


def test_a_trainer_that_goes_on_takes_the_runs_precision(tmp_path: Path) -> None:
    recipe = tiny_recipe(write_tasks(tmp_path / "tasks"), "grid-hrm", "--training.accelerator", "cpu")
    for precision in ("32-true", "bf16-mixed"):
        folder = Trainer(recipe.resolve_auto(precision, "never"), root=tmp_path / precision).folder  # type: ignore[arg-type]
        assert Trainer(recipe, resume=folder).recipe.training.precision == precision
