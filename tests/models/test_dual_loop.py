"""The log's model, number for number."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from benchmarks._log_loop import LogLoop
from hrm_arc.models.dual_loop import DualLoop, DualLoopConfig
from hrm_arc.models.reasoner import Batch, parameter_counts
from hrm_arc.training.config import LossConfig
from hrm_arc.training.losses import segment_losses
from tests.models.examples import plain_identity

GOLDEN = Path(__file__).parent.parent / "golden" / "seed_tiny.safetensors"


def golden(recompute: bool = False) -> tuple[DualLoop, dict[str, torch.Tensor], dict[str, str]]:
    with safe_open(GOLDEN, framework="pt") as file:
        settings = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    model = DualLoop(
        DualLoopConfig(
            hidden_size=int(settings["hidden_size"]),
            num_heads=int(settings["num_heads"]),
            h_layers=int(settings["num_h_layers"]),
            l_layers=int(settings["num_l_layers"]),
            h_cycles=int(settings["max_cycles"]),
            dropout=float(settings["dropout"]),
            recompute=recompute,
        )
    )
    weights = {name.removeprefix("weights."): t for name, t in tensors.items() if name.startswith("weights.")}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert missing == ["positions"], "the position table alone is computed"
    assert unexpected == []
    return model, tensors, settings


def batch_of(inputs: torch.Tensor) -> Batch:
    side = int(inputs.shape[1] ** 0.5)
    return Batch(side, side, inputs, None, plain_identity(torch.zeros(len(inputs), dtype=torch.int64)))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("recompute", [True, False])
def test_golden_logits_halting_and_loss(training: bool, recompute: bool) -> None:
    model, tensors, settings = golden(recompute)
    model.train(training)  # Its dropout is zero, so both modes must agree.
    batch = batch_of(tensors["inputs"])
    _, output = model(model.initial_carry(batch), batch)
    torch.testing.assert_close(output.logits, tensors["logits"], atol=1e-4, rtol=0)
    torch.testing.assert_close(output.q_halt.sigmoid(), tensors["halt_probabilities"], atol=1e-4, rtol=0)
    config = LossConfig(
        ignore_padding=False,
        label_smoothing=float(settings["label_smoothing"]),
        halt_kind="penalty",
        halt_weight=float(settings["halt_penalty"]),
    )
    loss = segment_losses(output, tensors["labels"], config).total.mean()
    torch.testing.assert_close(loss[None], tensors["loss"], atol=1e-4, rtol=0)


def test_the_logs_size() -> None:
    assert parameter_counts(DualLoop(DualLoopConfig())) == (5_667_597, 6_947_597)


def test_halting_stops_the_batch_after_the_second_cycle() -> None:
    model, tensors, _ = golden()
    torch.nn.init.zeros_(model.halt_predictor.weight)
    batch = batch_of(tensors["inputs"])
    for bias, cycles in ((9.0, 2), (-9.0, 4)):
        torch.nn.init.constant_(model.halt_predictor.bias, bias)
        _, output = model(model.initial_carry(batch), batch)
        assert output.q_halt.shape == (3, cycles)


def test_recomputing_changes_no_gradient() -> None:
    gradients = []
    for recompute in (False, True):
        model, tensors, _ = golden(recompute)
        model.train()
        batch = batch_of(tensors["inputs"])
        _, output = model(model.initial_carry(batch), batch)
        segment_losses(output, tensors["labels"], LossConfig(ignore_padding=False)).total.sum().backward()
        gradients.append(model.token_embedding.weight.grad)
    torch.testing.assert_close(gradients[0], gradients[1])


def test_the_loss_is_that_of_the_plain_loop() -> None:
    torch.manual_seed(0)
    config = DualLoopConfig(hidden_size=32, num_heads=4, h_layers=2, l_layers=1, h_cycles=3, dropout=0.0)
    plain, model = LogLoop(config).train(), DualLoop(config).train()
    model.load_state_dict(plain.state_dict())
    inputs, labels = torch.randint(0, 12, (2, 2, 900))
    batch = batch_of(inputs)
    _, output = model(model.initial_carry(batch), batch)
    config_of_loss = LossConfig(ignore_padding=False, halt_kind="penalty", halt_weight=0.01)
    loss = segment_losses(output, labels, config_of_loss).total.mean()
    theirs = plain.loss(inputs, labels)
    assert loss.item() == pytest.approx(theirs.item(), abs=1e-5)
    loss.backward()
    theirs.backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, plain.get_parameter(name).grad, atol=1e-5, rtol=1e-4)
