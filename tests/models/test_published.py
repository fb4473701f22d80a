"""HRM and TRM, number for number: weights, inputs and outputs of independent implementations."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from hrm_arc.models import build_model
from hrm_arc.models.hrm import HRM, HRMConfig
from hrm_arc.models.published import Published, rotary_1d, truncated_normal
from hrm_arc.models.reasoner import Batch, Carry, detach_carry, parameter_counts
from hrm_arc.models.trm import TRM, TRMConfig
from hrm_arc.puzzles.canvas import PAD
from hrm_arc.training.config import LossConfig
from hrm_arc.training.losses import q_continue_target, segment_losses
from tests.models.examples import plain_identity

GOLDEN = Path(__file__).parent.parent / "golden"
FILES = ["hrm_tiny", "trm_tiny", "trm_mlp_tiny"]
GRADIENT = "L_level.layers.0.mlp.down_proj.weight"


def golden(name: str) -> tuple[Published, dict[str, Tensor]]:
    with safe_open(GOLDEN / f"{name}.safetensors", framework="pt") as file:
        settings = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    common = {
        "hidden_size": int(settings["hidden_size"]),
        "num_heads": int(settings["num_heads"]),
        "expansion": float(settings["expansion"]),
        "segments": int(settings["halt_max_steps"]),
        "puzzle_emb_len": int(settings.get("puzzle_emb_len", 1)),
        "h_cycles": int(settings["H_cycles"]),
        "l_cycles": int(settings["L_cycles"]),
    }
    tasks = int(settings["num_puzzle_identifiers"]) - 1
    model: Published
    if name == "hrm_tiny":
        layers = {"h_layers": int(settings["H_layers"]), "l_layers": int(settings["L_layers"])}
        model = HRM(HRMConfig(**common, **layers), tasks, 1)
    else:
        mixing = "mlp" if settings["mlp_t"] == "True" else "attention"
        layers = {"layers": int(settings["L_layers"]), "cells": int(settings["seq_len"])}
        model = TRM(TRMConfig(**common, **layers, mixing=mixing), tasks, 1)  # type: ignore[arg-type]
    prefix = "weights.inner."
    weights = {
        key.removeprefix(prefix).replace("embed_tokens.embedding_weight", "embed_tokens.weight"): tensor
        for key, tensor in tensors.items()
        if key.startswith(prefix)
    }
    model.load_state_dict(weights)
    return model, tensors


def batch_of(tensors: dict[str, Tensor]) -> Batch:
    inputs = tensors["inputs"].long()
    side = int(inputs.shape[1] ** 0.5)
    # Its labels leave cells out by -100; ours leave out padding.
    labels = tensors["labels"].long()
    labels = torch.where(labels == -100, PAD, labels)
    return Batch(side, side, inputs, labels, plain_identity(tensors["puzzle_identifiers"].long()))


def test_no_golden_label_that_counts_is_padding() -> None:
    for name in FILES:
        _, tensors = golden(name)
        assert (tensors["labels"] == -100).any()
        assert not (tensors["labels"] == PAD).any()


def three_segments(name: str, precision: torch.dtype) -> list[dict[str, Tensor]]:
    model, tensors = golden(name)
    model.eval().to(precision)
    batch = batch_of(tensors)
    state, said = model.initial_carry(batch), []
    with torch.no_grad():
        for _ in range(3):
            state, output = model(state, batch)
            values = {"logits": output.logits, "q_halt_logits": output.q_halt[:, 0]}
            said.append(values if output.q_continue is None else {**values, "q_continue_logits": output.q_continue})
    return said


@pytest.mark.parametrize("name", FILES)
def test_golden_evaluation(name: str) -> None:
    """1e-4, but where single precision itself is further from the exact result.

    A feed-forward over positions with a norm over positions magnifies rounding by ten from
    each segment to the next: there the file is as far from double precision as ours is. All outputs
    of a segment come from one state, so its rounding is that of the output which shows most of it:
    three halting logits alone can be nearly exact by chance, on one processor and not on another.
    """
    tensors = golden(name)[1]
    single, double = three_segments(name, torch.float32), three_segments(name, torch.float64)
    for segment in range(3):
        rounding = max(float((single[segment][key] - exact).abs().max()) for key, exact in double[segment].items())
        for key, exact in double[segment].items():
            allowed = 1e-4 if name != "trm_mlp_tiny" or segment == 0 else 3 * rounding
            expected = tensors[f"segment{segment}.{key}"]
            for ours in (single[segment][key], exact.float()):
                torch.testing.assert_close(ours, expected, atol=allowed, rtol=0)


def two_training_segments(name: str, precision: torch.dtype) -> list[dict[str, Tensor]]:
    """Losses, a gradient and who halts; those that halt start afresh, as the published trainers do."""
    model, tensors = golden(name)
    model.train().to(precision)
    batch = batch_of(tensors)
    assert batch.labels is not None
    q_learning = name == "hrm_tiny"
    kind = LossConfig(kind="stablemax", halt_kind="q-learning" if q_learning else "correct", halt_weight=0.5)
    state: Carry = model.initial_carry(batch)
    said = []
    for segment in range(2):
        model.zero_grad()
        last = segment == model.segments - 1
        state, output = model(state, batch)
        state, target = detach_carry(state), None
        if q_learning:
            with torch.no_grad():
                target = q_continue_target(model(state, batch)[1], last)
        losses = segment_losses(output, batch.labels, kind, target)
        losses.total.sum().backward()
        gradient = dict(model.named_parameters())[GRADIENT].grad
        assert gradient is not None
        q_halt, threshold = output.halt_logits()
        halted = (q_halt > threshold) | last
        values = {"lm_loss": losses.loss.sum()[None], "total_loss": losses.total.detach().sum()[None]}
        said.append({**values, f"grad.{GRADIENT}": gradient.clone(), "halted": halted})
        fresh = model.initial_carry(batch)
        state = tuple(torch.where(halted[:, None, None], new, old) for new, old in zip(fresh, state, strict=True))
    return said


@pytest.mark.parametrize("name", FILES)
def test_golden_training(name: str) -> None:
    """Tolerances as in :func:`test_golden_evaluation`."""
    tensors = golden(name)[1]
    single, double = two_training_segments(name, torch.float32), two_training_segments(name, torch.float64)
    for segment in range(2):
        halted = tensors[f"train.segment{segment}.halted"].bool()
        assert torch.equal(single[segment].pop("halted"), halted)
        assert torch.equal(double[segment].pop("halted"), halted)
        for key, exact in double[segment].items():
            rounding = float((single[segment][key] - exact).abs().max())
            allowed = 1e-4 if name != "trm_mlp_tiny" else max(1e-4, 3 * rounding)
            expected = tensors[f"train.segment{segment}.{key}"]
            for ours in (single[segment][key], exact.float()):
                torch.testing.assert_close(ours, expected, atol=allowed, rtol=0)


def test_published_sizes() -> None:
    for model, expected in ((build_model("hrm", {}, 1), 27_276_290), (build_model("trm", {}, 1), 6_829_058)):
        trainable, _ = parameter_counts(model)
        table = sum(p.numel() for name, p in model.named_parameters() if name.startswith("puzzle_emb"))
        assert trainable - table == expected


def test_the_initial_values_have_the_deviation_they_say() -> None:
    drawn = truncated_normal(torch.empty(400, 400), 0.05)
    assert float(drawn.std()) == pytest.approx(0.05, rel=0.01)
    assert float(drawn.abs().max()) <= 2 * 0.05 / 0.8796


def test_rotary_angles_by_hand() -> None:
    cos, sin = rotary_1d(3, 4, torch.device("cpu"))
    torch.testing.assert_close(cos[2], torch.tensor([2.0, 0.02]).cos())
    torch.testing.assert_close(sin[1], torch.tensor([1.0, 0.01]).sin())


@pytest.mark.parametrize("name", ["hrm", "trm"])
def test_gradients_reach_the_last_steps_alone(name: str) -> None:
    """One-step gradient and the last cycle's: the starting state gets none through the others."""
    small = {"hidden_size": 32, "num_heads": 2, "segments": 2, "puzzle_emb": "shared"}
    layers = {"h_layers": 1, "l_layers": 1} if name == "hrm" else {"layers": 1}
    model = build_model(name, {**small, **layers}, 5)
    batch = batch_of(golden("trm_tiny")[1])
    state = tuple(tensor.clone().requires_grad_() for tensor in model.initial_carry(batch))
    _, output = model(state, batch)
    output.logits.sum().backward()
    assert all(tensor.grad is None for tensor in state)


def test_an_mlp_over_positions_needs_its_canvas() -> None:
    model = build_model("trm", {"hidden_size": 32, "num_heads": 2, "layers": 1, "mixing": "mlp", "cells": 36}, 5)
    batch = batch_of(golden("trm_tiny")[1])
    assert model(model.initial_carry(batch), batch)[1].logits.shape == (3, 36, 12)
