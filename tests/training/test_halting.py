from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hrm_arc.evaluation.halting import HaltingController
from hrm_arc.evaluation.torch_backend import infer
from hrm_arc.models.reasoner import Batch, Carry, Output, Reasoner
from hrm_arc.training.config import HaltingConfig, LossConfig
from hrm_arc.training.losses import q_continue_target, stablemax_cross_entropy
from hrm_arc.training.segments import MAX_CELLS_PER_FORWARD, ActiveBatch, microbatches, run_segment
from hrm_arc.training.trainer import Trainer
from tests.made import tiny_recipe, write_tasks
from tests.models.examples import plain_identity


class Counter(Reasoner):
    """Answers with the number of the segment, and halts after as many as a sample's task says."""

    segments = 4

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.seen: list[int] = []

    def initial_carry(self, batch: Batch) -> Carry:
        return (torch.zeros(len(batch)),)

    def forward(self, carry: Carry, batch: Batch) -> tuple[Carry, Output]:
        self.seen.append(len(batch))
        count = carry[0] + 1
        logits = torch.nn.functional.one_hot(count.long(), 12).float()[:, None].expand(-1, 4, -1) * self.scale
        halt = torch.where(count >= batch.identity.task, 1.0, -1.0)
        return (count,), Output(logits, halt[:, None])


def batch_of(task: list[int]) -> Batch:
    labels = torch.full((len(task), 4), 2)
    return Batch(2, 2, labels, labels, plain_identity(torch.tensor(task)))


def test_samples_that_halt_leave_and_keep_their_answers() -> None:
    model = Counter()
    output, segments = infer(model, batch_of([3, 1, 9, 2]), HaltingController(4))
    # The third one never halts and runs all four segments.
    assert segments.tolist() == [3, 1, 4, 2]
    assert output.logits.argmax(dim=-1)[:, 0].tolist() == [3, 1, 4, 2]
    assert model.seen == [4, 3, 2, 1]
    assert (output.q_halt > 0).tolist() == [True, True, False, True]


def test_without_halting_every_segment_is_run() -> None:
    model = Counter()
    _, segments = infer(model, batch_of([1, 2]), HaltingController(4, early_exit=False))
    assert segments.tolist() == [4, 4]
    assert model.seen == [2, 2, 2, 2]


def ended(config: HaltingConfig, task: list[int], keep_shape: bool = False) -> tuple[list[list[float]], list[int]]:
    """Token accuracies of the samples that leave after each segment, and the batch size of each segment."""
    model, rows = Counter(), []
    controller = HaltingController(model.segments, config.early_exit)
    active = ActiveBatch.start(model, batch_of(task))
    for segment in range(1, model.segments + 1):
        if not len(active.batch):
            break
        (losses,) = run_segment(model.forward_packed, [active], LossConfig(), segment == model.segments)
        left = active.release(losses, segment, controller, config.exploration_prob, keep_shape)
        rows.append([float(value) for each in left for value in each.token_accuracy])
    return rows, model.seen


def test_a_halted_sample_is_counted_once_with_its_last_losses() -> None:
    # The labels are 2: right after the second segment, wrong after any other.
    rows, seen = ended(HaltingConfig(early_exit=True, exploration_prob=0), [1, 2, 2, 9])
    assert rows == [[0.0], [1.0, 1.0], [], [0.0]]
    assert seen == [4, 3, 1, 1]


def test_processes_that_train_together_keep_their_shapes() -> None:
    rows, seen = ended(HaltingConfig(early_exit=True, exploration_prob=0), [1, 2, 2, 9], keep_shape=True)
    assert rows == [[0.0], [1.0, 1.0], [], [0.0]]
    assert seen == [4, 4, 4, 4]


def test_without_leaving_all_samples_end_together() -> None:
    rows, seen = ended(HaltingConfig(early_exit=False), [1, 2])
    assert rows == [[], [], [], [0.0, 0.0]]
    assert seen == [2, 2, 2, 2]


def test_exploration_makes_samples_think_on() -> None:
    torch.manual_seed(0)
    rows, _ = ended(HaltingConfig(early_exit=True, exploration_prob=1.0), [1] * 300)
    counts = [len(row) for row in rows]
    assert counts[0] == 0, "everybody explores, for at least two segments"
    assert sum(counts) == 300
    assert all(count > 50 for count in counts[1:]), "two to four segments, equally often"


def test_portions_keep_the_order_and_the_limit() -> None:
    model = Counter()
    few = [ActiveBatch.start(model, batch_of([task])) for task in range(1, 6)]
    assert list(microbatches(few)) == [few]
    large = ActiveBatch.start(model, batch_of([1] * (MAX_CELLS_PER_FORWARD // 4)))
    assert list(microbatches([few[0], large, few[1], few[2]])) == [[few[0]], [large], few[1:3]]
    assert list(microbatches([])) == []


def test_the_value_of_thinking_on_by_hand() -> None:
    following = Output(torch.zeros(2, 1, 12), torch.tensor([[0.0], [2.0]]), torch.tensor([1.0, -1.0]))
    torch.testing.assert_close(q_continue_target(following, False), torch.tensor([1.0, 2.0]).sigmoid())
    torch.testing.assert_close(q_continue_target(following, True), torch.tensor([0.0, 2.0]).sigmoid())


def test_stablemax_by_hand() -> None:
    logits = torch.tensor([[[1.0, -1.0, 0.0]]])
    # s = 2, 1/2, 1: their sum is 3.5.
    for label, s in enumerate((2.0, 0.5, 1.0)):
        loss = stablemax_cross_entropy(logits, torch.tensor([[label]]))
        torch.testing.assert_close(loss, torch.tensor([[3.5 / s]]).log())


def test_stablemax_has_gradients_everywhere() -> None:
    logits = torch.tensor([[[300.0, -300.0, 0.0]]], requires_grad=True)
    stablemax_cross_entropy(logits, torch.tensor([[1]])).sum().backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("model", ["hrm", "trm"])
def test_published_models_train_with_halting_in_the_one_trainer(tmp_path: Path, model: str) -> None:
    flags = ["--halting.early_exit=true", "--model.puzzle_emb=variants"]
    recipe = tiny_recipe(write_tasks(tmp_path / "tasks"), model, *flags)
    recipe = replace(recipe, loss=LossConfig(kind="stablemax", halt_kind="q-learning", halt_weight=0.5))
    trainer = Trainer(recipe, root=tmp_path / "runs")
    before: dict[str, Tensor] = {name: t.clone() for name, t in trainer.model.state_dict().items()}
    assert trainer.fit()["state"] == "finished"
    after = trainer.model.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert "puzzle_emb.weights" in moved
    assert {"H_init", "L_init"}.isdisjoint(moved)


def test_a_share_outside_of_0_to_1_is_refused() -> None:
    with pytest.raises(ValueError, match="exploration_prob is 2"):
        HaltingConfig(exploration_prob=2)


def test_a_higher_halting_probability_stops_later_and_one_half_is_as_in_training() -> None:
    q_halt, q_continue = torch.tensor([-0.1, 0.1, 2.0, 4.0]), torch.tensor([0.0, 0.0, 1.0, 0.0])
    assert HaltingController(4).halted(1, q_halt, q_continue).tolist() == [False, True, True, True]
    # The logit of 0.9 is 2.197.
    assert HaltingController(4, halt_at=0.9).halted(1, q_halt, q_continue).tolist() == [False, False, False, True]
    assert HaltingController(4, halt_at=0.9).halted(4, q_halt, q_continue).all()
    assert not HaltingController(4, early_exit=False, halt_at=0.1).halted(1, q_halt, q_continue).any()
