"""Every model on torch's meta device, whose tensors have no values: what a GPU would wait for is an error there."""

from __future__ import annotations

import pytest
import torch

from hrm_arc.models import MODELS
from hrm_arc.models.reasoner import Batch
from hrm_arc.training.config import LossConfig, OptimizerConfig
from hrm_arc.training.optim import build_optimizers, dense_parameters
from hrm_arc.training.segments import ActiveBatch, run_segment
from tests.models.examples import example_model, made_batch

META = torch.device("meta")
# The log's model asks after each cycle whether to stop, unless the number of cycles is fixed.
FIXED = {"dual-loop": {"halt_threshold": 1.0}}


def on_meta(batch: Batch) -> Batch:
    assert batch.labels is not None
    identity = batch.identity.map(lambda tensor: tensor.to(META))
    return Batch(batch.height, batch.width, batch.inputs.to(META), batch.labels.to(META), identity)


@pytest.mark.parametrize("name", MODELS)
def test_a_training_step_reads_no_value_and_leaves_no_tensor_on_the_cpu(name: str) -> None:
    model = example_model(name, **FIXED.get(name, {})).to(META).train()
    optimizers = build_optimizers(model, OptimizerConfig(name="muon"))
    batches = [ActiveBatch.start(model, on_meta(made_batch())) for _ in range(2)]
    for segment in range(model.segments):
        losses = run_segment(model.forward_packed, batches, LossConfig(), last=segment == model.segments - 1)
        total = torch.cat([each.total for each in losses]).sum()
        assert total.device == META
        total.backward()
        torch.nn.utils.clip_grad_norm_(dense_parameters(model), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()


@pytest.mark.parametrize("name", MODELS)
def test_an_evaluation_pass_reads_no_value(name: str) -> None:
    model = example_model(name, **FIXED.get(name, {})).to(META).eval()
    batch = on_meta(made_batch())
    with torch.inference_mode():
        carry, output = model(model.initial_carry(batch), batch)
        _, output = model(carry, batch)
    assert output.logits.device == META
    assert output.logits.shape[:2] == batch.inputs.shape
