"""Losses, schedules, optimizers and batches, each by itself."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hrm_arc.models import build_model
from hrm_arc.models.reasoner import Output
from hrm_arc.puzzles.augmented import AugmentedSet
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.runs.card import Card
from hrm_arc.runs.checkpoint import LATEST, WEIGHTS, read_tensors, save_checkpoint
from hrm_arc.training.config import LossConfig, OptimizerConfig, ScheduleConfig, TrainingConfig
from hrm_arc.training.data import Batches, Prefetcher, sampler_of
from hrm_arc.training.distributed import Distributed
from hrm_arc.training.losses import segment_losses
from hrm_arc.training.optim import EMA, SignSGD, build_optimizers, lr_factor, set_lr, swapped_in


def two_samples() -> tuple[Output, torch.Tensor]:
    """Uniform logits, but for a wrong last cell in the second sample; one padded cell each."""
    logits = torch.zeros(2, 3, 12)
    labels = torch.tensor([[2, 1, 0], [5, 1, 0]])
    for sample in range(2):
        for cell in range(3):
            logits[sample, cell, labels[sample, cell]] = 2.0
    logits[1, 1] = 0.0
    logits[1, 1, 9] = 2.0
    logits[:, 2] = 0.0
    logits[:, 2, 7] = 2.0
    return Output(logits, torch.tensor([[0.0, 1.0], [0.0, -1.0]])), labels


RIGHT = math.log(math.exp(2) + 11) - 2
WRONG = math.log(math.exp(2) + 11)


def test_losses_without_padding_by_hand() -> None:
    output, labels = two_samples()
    losses = segment_losses(output, labels, LossConfig(halt_weight=0.5))
    torch.testing.assert_close(losses.loss, torch.tensor([RIGHT, (RIGHT + WRONG) / 2]))
    assert losses.exact_accuracy.tolist() == [1.0, 0.0]
    assert losses.token_accuracy.tolist() == [1.0, 0.5]
    # The last halting logit is 1 where the answer is right, -1 where it is wrong.
    halt = math.log(1 + math.exp(-1))
    torch.testing.assert_close(losses.total, losses.loss + 0.5 * halt)


def test_losses_with_padding_by_hand() -> None:
    output, labels = two_samples()
    losses = segment_losses(output, labels, LossConfig(ignore_padding=False, halt_kind="penalty", halt_weight=0.01))
    torch.testing.assert_close(losses.loss, torch.tensor([2 * RIGHT + WRONG, RIGHT + 2 * WRONG]) / 3)
    assert losses.exact_accuracy.tolist() == [0.0, 0.0]
    penalty = (torch.tensor([[0.0, 1.0], [0.0, -1.0]]).sigmoid()).mean(dim=1)
    torch.testing.assert_close(losses.total, losses.loss + 0.01 * penalty)


def test_label_smoothing_is_torchs() -> None:
    output, labels = two_samples()
    config = LossConfig(ignore_padding=False, label_smoothing=0.1, halt_kind="none")
    expected = F.cross_entropy(output.logits.flatten(0, 1), labels.flatten(), label_smoothing=0.1)
    torch.testing.assert_close(segment_losses(output, labels, config).total.mean(), expected)


def test_schedules_by_hand() -> None:
    constant = ScheduleConfig(warmup_steps=10, kind="constant")
    assert [lr_factor(constant, step, 0.0) for step in (0, 4, 9, 500)] == [0.1, 0.5, 1.0, 1.0]
    cosine = ScheduleConfig(warmup_steps=0, kind="cosine", min_lr_ratio=0.1)
    assert [round(lr_factor(cosine, 0, p), 6) for p in (0, 0.5, 1)] == [1.0, 0.55, 0.1]
    decay = ScheduleConfig(warmup_steps=0, kind="decay", decay_fraction=0.2, min_lr_ratio=0.1)
    assert [round(lr_factor(decay, 0, p), 6) for p in (0, 0.8, 0.9, 1)] == [1.0, 1.0, 0.5, 0.1]
    restarts = ScheduleConfig(warmup_steps=0, kind="restarts", restart_steps=100, min_lr_ratio=0.0)
    assert [round(lr_factor(restarts, step, 0.7), 6) for step in (0, 50, 100, 150)] == [1.0, 0.5, 1.0, 0.5]
    assert lr_factor(restarts, 99, 0.0) < 0.001


@given(st.integers(0, 10**6), st.floats(0, 1), st.sampled_from(["constant", "cosine", "decay", "restarts"]))
def test_a_schedule_stays_between_nothing_and_its_peak(step: int, progress: float, kind: str) -> None:
    assert 0 < lr_factor(ScheduleConfig(kind=kind), step, progress) <= 1  # type: ignore[arg-type]


def test_muon_takes_the_matrices_of_layers_alone() -> None:
    model = build_model("grid-hrm", {"hidden_size": 32, "num_heads": 4}, num_tasks=40)
    adamw, muon = build_optimizers(model, OptimizerConfig(name="muon"))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    chosen = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    rest = {names[id(p)] for group in adamw.param_groups for p in group["params"]}
    assert chosen == {name for name in names.values() if "_layers." in name and "norm" not in name}
    assert chosen | rest == set(names.values())
    assert not chosen & rest


def test_learning_rates_scale_from_their_peaks() -> None:
    optimizers = build_optimizers(
        build_model("grid-hrm", {}, num_tasks=1), OptimizerConfig(name="muon", lr=0.1, matrix_lr=0.4)
    )
    for value in (0.5, 0.25, 1.0):
        set_lr(optimizers, value)
        assert [o.param_groups[0]["lr"] for o in optimizers] == [0.1 * value, 0.4 * value]


def test_the_average_follows_and_swaps() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(model.weight, 0.0)
    average = EMA(model, decay=0.5)
    torch.nn.init.constant_(model.weight, 1.0)
    average.update(0)  # Early decay is (1 + 0) / (10 + 0) = 0.1, so the mean is 0.9.
    average.update(1000)  # Later it is 0.5: 0.95.
    average.swap()
    assert model.weight.item() == pytest.approx(0.95)
    average.swap()
    assert model.weight.item() == 1.0


TASKS = load_tasks("arc-agi-1/training")[:6]
DATA = AugmentedSet(Corpus(study=TASKS).training_puzzles(), augment=7, canvas="cropped")


def located(batches: Batches, steps: int) -> list[tuple[int, bytes]]:
    """Every sample of some steps, in the order in which canvases group them."""
    return [
        (int(part.identity.task[n]), part.inputs[n].tobytes())
        for step in range(steps)
        for each in batches.draw(step)
        for part in each
        for n in range(len(part))
    ]


def test_an_epoch_takes_every_sample_once() -> None:
    batches = Batches(DATA, batch_size=len(DATA), sampling="samples")
    whole = sorted(sample.tobytes() for part in DATA for sample in part.inputs)
    for step in range(2):
        drawn = [sample.tobytes() for part in batches.draw(step)[0] for sample in part.inputs]
        assert sorted(drawn) == whole
    assert batches.epoch(2) == 2.0


def test_epochs_come_in_different_orders() -> None:
    sampler = sampler_of(DATA, "samples")
    first = sampler.indices(np.arange(len(DATA)))
    second = sampler.indices(np.arange(len(DATA), 2 * len(DATA)))
    assert sorted(first) == sorted(second)
    assert first.tolist() != second.tolist()


def test_drawing_by_tasks_takes_each_equally_often() -> None:
    batches = Batches(DATA, batch_size=60, sampling="tasks")
    for step in range(3):
        rows = np.concatenate([part.identity.task for part in batches.draw(step)[0]])
        assert (np.bincount(rows)[1:] == 10).all()


def test_small_tasks_are_drawn_more_often_by_the_root_of_their_cells() -> None:
    size = 64 * len(DATA.puzzles)
    batches = Batches(DATA, batch_size=size, sampling="inverse-size")
    counts = np.bincount(DATA.locate(batches.indices(0))[0], minlength=len(DATA.puzzles))
    roots = np.sqrt([puzzle.canvas.cells for puzzle in DATA.puzzles])
    assert len(set(roots)) > 1
    wanted = size / roots / np.sum(1 / roots)
    # A round is exact but for rounding.
    assert np.abs(counts - wanted).max() <= 1


@pytest.mark.parametrize("sampling", ["samples", "tasks", "inverse-size"])
def test_ranks_share_a_step_without_overlap(sampling: str) -> None:
    whole = located(Batches(DATA, 12, 2, sampling), 3)  # type: ignore[arg-type]
    shares = [located(Batches(DATA, 12, 2, sampling, rank, 3), 3) for rank in range(3)]  # type: ignore[arg-type]
    assert sorted(sample for share in shares for sample in share) == sorted(whole)
    assert {len(share) for share in shares} == {len(whole) // 3}


def test_a_step_depends_on_its_number_alone() -> None:
    later = Batches(DATA, 12)
    for step in (5, 3, 4):
        fresh = Batches(DATA, 12)
        (one,), (other,) = later.draw(step), fresh.draw(step)
        assert [p.inputs.tobytes() for p in one] == [p.inputs.tobytes() for p in other]


def test_samples_drawn_ahead_are_those_of_their_step() -> None:
    data = AugmentedSet(Corpus(solve=load_tasks("arc-agi-1/training")[:3]).training_puzzles(), augment=5)
    batches = Batches(data, 8, grad_accum_steps=2)
    ahead = Prefetcher(Batches(data, 8, grad_accum_steps=2))
    for step in (0, 1, 2, 7, 8, 1):
        for drawn, expected in zip(ahead.draw(step), batches.draw(step), strict=True):
            assert [part.inputs.tobytes() for part in drawn] == [part.inputs.tobytes() for part in expected]


def test_every_optimizer_moves_by_what_the_scaler_has_taken_off_once() -> None:
    distributed = Distributed(TrainingConfig(accelerator="cpu"))
    model = torch.nn.ParameterList([torch.zeros(1), torch.zeros(1)])
    optimizers = [torch.optim.SGD([parameter], lr=1.0) for parameter in model]
    stepped = [distributed.fabric.setup_optimizers(optimizer) for optimizer in optimizers]
    # As fp16 has it on a GPU.
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=3)
    distributed.precision.scaler = scaler  # type: ignore[attr-defined]
    for _ in range(3):
        scaler.scale(sum(model)).backward()  # type: ignore[union-attr]
        for optimizer in optimizers:
            scaler.unscale_(optimizer)
        distributed.step(stepped)
        for optimizer in optimizers:
            optimizer.zero_grad()
    assert [parameter.item() for parameter in model] == [-3.0, -3.0]
    assert scaler.get_scale() == 2048.0, "it grows once in three updates"


def test_a_row_without_a_gradient_is_not_met() -> None:
    table = torch.nn.Parameter(torch.ones(4, 2))
    rows, values = torch.tensor([[1, 2]]), torch.tensor([[0.5, -0.5], [0.0, 0.0]])
    table.grad = torch.sparse_coo_tensor(rows, values, (4, 2), check_invariants=True)
    SignSGD([table], lr=0.1, weight_decay=1.0).step()
    torch.testing.assert_close(table.detach(), torch.tensor([[1.0, 1.0], [0.8, 1.0], [1.0, 1.0], [1.0, 1.0]]))


def test_a_puzzle_table_is_not_averaged() -> None:
    shape = {"hidden_size": 16, "num_heads": 2, "h_layers": 1, "l_layers": 1}
    model = build_model("hrm", shape, num_tasks=3, num_variants=2)
    average = EMA(model, 0.9)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    before = {name: tensor.clone() for name, tensor in model.named_parameters()}
    average.update(step=100)
    average.swap()
    same = [name for name, tensor in model.named_parameters() if torch.equal(tensor, before[name])]
    assert same == [name for name, _ in model.named_parameters() if name == "puzzle_emb.weights"] != []


def test_tied_weights_have_one_average(tmp_path: Path) -> None:
    model = nn.Module()
    model.one, model.other = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    model.other.weight = model.one.weight
    average = EMA(model, decay=0.5)
    start = model.one.weight.detach().clone()
    with torch.no_grad():
        model.one.weight += 1
    average.update(100)
    with swapped_in(average):
        torch.testing.assert_close(model.other.weight.detach(), start + 0.5)
        card = Card("own", {}, [], "full", True, [], [], 0, 1, 0, [], 1, "run", {})
        saved = save_checkpoint(tmp_path, LATEST, card, model.state_dict(), {})
    torch.testing.assert_close(model.other.weight.detach(), start + 1)
    weights = read_tensors(saved, WEIGHTS)
    assert list(weights) == ["one.weight", "other.weight"]
    for weight in weights.values():
        torch.testing.assert_close(weight, start + 0.5)
