from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hrm_arc.errors import UserError
from hrm_arc.evaluation.baselines import baselines
from hrm_arc.evaluation.torch_backend import TorchBackend
from hrm_arc.models.reasoner import Batch, Carry, Output, Reasoner
from hrm_arc.puzzles.augmented import AugmentedSet
from hrm_arc.puzzles.canvas import PAD, VOCABULARY, CanvasKind
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.training import validation as validation_module
from hrm_arc.training.config import LossConfig
from hrm_arc.training.validation import Totals, validate

CORPUS = Corpus(solve=load_tasks("arc-agi-1/training")[:12])


class Says(Reasoner):
    """A model that always answers padding, or a copy of the input; with at most ``most`` samples at once."""

    def __init__(self, what: str, most: int | None = None):
        super().__init__()
        self.sure = torch.nn.Parameter(torch.tensor(9.0))
        self.what, self.most = what, most
        self.asked: list[int] = []

    def initial_carry(self, batch: Batch) -> Carry:
        return (torch.zeros(len(batch)),)

    def forward(self, carry: Carry, batch: Batch) -> tuple[Carry, Output]:
        if self.most is not None and len(batch) > self.most:
            torch.empty(2**60, dtype=torch.uint8)
        self.asked.append(len(batch))
        tokens = batch.inputs if self.what == "copy" else torch.full_like(batch.inputs, PAD)
        return carry, Output(self.sure * F.one_hot(tokens, VOCABULARY), torch.zeros(len(batch), 1))


def held_out(canvas: CanvasKind) -> AugmentedSet:
    return AugmentedSet(CORPUS.held_out_puzzles(), augment=5, canvas=canvas, label_canvas="full")


@pytest.mark.parametrize("canvas", ["full", "cropped"])
@pytest.mark.parametrize(("what", "name"), [("padding", "pad_only"), ("copy", "copy_input")])
def test_empty_answers_score_as_their_baselines(what: str, name: str, canvas: CanvasKind) -> None:
    data = held_out(canvas)
    totals = validate(Says(what).eval(), data, np.arange(len(data)), LossConfig(ignore_padding=False))
    expected = baselines(AugmentedSet(CORPUS.held_out_puzzles(), augment=5))[name]
    assert totals.samples == len(data)
    assert totals.correct_cells / (900 * len(data)) == pytest.approx(expected["token_accuracy"], abs=1e-12)
    assert totals.exact / len(data) == expected["exact_accuracy"]


def test_passes_hold_so_many_cells_and_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    data = held_out("cropped")
    whole = validate(Says("copy").eval(), data, np.arange(len(data)), LossConfig())
    monkeypatch.setattr(validation_module, "FORWARD_CELLS", 300)
    few = Says("copy").eval()
    in_parts = validate(few, data, np.arange(len(data)), LossConfig())
    assert in_parts == pytest.approx(tuple(whole))
    assert isinstance(in_parts, Totals)
    smallest = min(puzzle.canvas.cells for puzzle in data.puzzles)
    assert max(few.asked) <= max(1, 300 // smallest)


def test_memory_that_runs_out_is_met_with_fewer_samples() -> None:
    (samples, *_) = held_out("full").samples(np.arange(7))
    tight = Says("copy", most=2)
    for one, two in zip(TorchBackend(Says("copy")).answer(samples), TorchBackend(tight).answer(samples), strict=True):
        assert np.array_equal(one, two)
    assert tight.asked == [2, 2, 2, 1]
    assert np.array_equal(TorchBackend(tight).refine(samples), TorchBackend(Says("copy")).refine(samples))
    with pytest.raises(UserError, match="a sample does not fit"):
        TorchBackend(Says("copy", most=0)).answer(samples)
    with pytest.raises(UserError, match="--device"):
        TorchBackend(Says("copy", most=0)).refine(samples)
