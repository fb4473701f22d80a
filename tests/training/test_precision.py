"""What mixed precision computes in, and what it must not lose."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hrm_arc.models import MODELS
from hrm_arc.models.reasoner import Batch
from hrm_arc.runs.checkpoint import WEIGHTS, find_checkpoint
from hrm_arc.training.step import ActiveBatch, run_segment
from hrm_arc.training.trainer import Trainer
from tests.made import tiny_recipe, write_tasks


@pytest.mark.parametrize(("precision", "dtype"), [("bf16-mixed", torch.bfloat16), ("32-true", torch.float32)])
@pytest.mark.parametrize("model", MODELS)
def test_products_are_in_the_precision_that_was_asked_for(
    model: str, precision: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    recipe = tiny_recipe(write_tasks(tmp_path / "tasks"), model, "--training.precision", precision)
    trainer = Trainer(recipe, root=tmp_path / "runs")
    seen: set[torch.dtype] = set()
    for module in trainer.model.modules():
        if isinstance(module, torch.nn.Linear) and min(module.weight.shape) > 2:
            module.register_forward_hook(lambda module, given, out: seen.add(out.dtype) if module.training else None)
    trainer.fit()
    if not seen:
        pytest.skip("the model has no linear layer to look at")
    assert seen == {dtype}
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
        (samples, *_) = trainer._batches.step(0)[0]
        active = ActiveBatch.start(trainer.model, Batch.from_samples(samples))
        with torch.autocast("cpu", precision, enabled=precision == torch.bfloat16):
            (losses,) = run_segment(trainer.model.forward_packed, [active], recipe.loss, last=True)
        trainer.model.zero_grad()
        losses.total.sum().backward()
        moving[precision] = {
            name for name, p in trainer.model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0
        }
    assert moving[torch.bfloat16] == moving[torch.float32] != set()
