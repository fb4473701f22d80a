"""Checkpoints in the forms that published HRM and TRM have, made by hand and answered by a plain implementation."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hrm_arc.cli.main import main
from hrm_arc.deploy.importing import Imported, import_checkpoint
from hrm_arc.errors import UserError
from hrm_arc.evaluation.backend import Answers
from hrm_arc.evaluation.evaluate import predict_tasks
from hrm_arc.evaluation.torch_backend import load_model
from hrm_arc.models.reasoner import Batch
from hrm_arc.models.vocabulary import ABSENT
from hrm_arc.puzzles.augmented import Samples
from hrm_arc.puzzles.task import Pair, Task, make_grid
from hrm_arc.runs.checkpoint import newest_checkpoint, read_card
from tests.cli.commands import answer as command
from tests.cli.commands import one_line
from tests.deploy import plain
from tests.deploy.test_importing import OPTIONS, identifiers, published
from tests.models.examples import plain_identity

HEADS = {"num_heads": 2}
ORDERS = itertools.permutations(range(1, 10))


def imported(folder: Path, kind: str, state: dict[str, Tensor], options: dict[str, Any]) -> Imported:
    torch.save(state, folder / "step_1")
    return import_checkpoint(kind, folder / "step_1", folder / "run", options=HEADS | options)


def batch_of(tokens: Tensor, height: int, width: int) -> Batch:
    return Batch(height, width, tokens, None, plain_identity(torch.zeros(len(tokens), dtype=torch.long)))


FORMS: dict[str, tuple[str, dict[str, int], dict[str, Any], dict[str, Any]]] = {
    # kind; what the state dict has; flags of the import; how the plain implementation answers
    "HRM": ("hrm", {}, {}, {"length": 1}),
    "HRM without a puzzle embedding": ("hrm", {"rows": 0}, {}, {"length": 0}),
    "HRM with learned positions": ("hrm", {"positions": 26}, {}, {"length": 1, "rotary": False}),
    "HRM with learned positions alone": ("hrm", {"positions": 25, "rows": 0}, {}, {"length": 0, "rotary": False}),
    "HRM without positions": ("hrm", {}, {"positions": "none"}, {"length": 1, "rotary": False}),
    "HRM, three tokens": ("hrm", {}, {"puzzle_emb_len": 3}, {"length": 3}),
    "TRM": ("trm", {}, {}, {"length": 16}),
    "TRM, one token": ("trm", {}, {"puzzle_emb_len": 1}, {"length": 1}),
    "TRM without a puzzle embedding": ("trm", {"rows": 0}, {}, {"length": 0}),
    "TRM with learned positions": ("trm", {"positions": 41}, {}, {"length": 16, "rotary": False}),
    "TRM MLP": ("trm", {"mixed": 41}, {}, {"length": 16}),
    "TRM MLP, one token": ("trm", {"mixed": 26}, {}, {"length": 1}),
    "TRM MLP, four tokens": ("trm", {"mixed": 29}, {}, {"length": 4}),
    "TRM MLP, its cells given": ("trm", {"mixed": 27}, {"cells": 25}, {"length": 2}),
    "TRM MLP without a puzzle embedding": ("trm", {"mixed": 25, "rows": 0}, {}, {"length": 0}),
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_answers_as_a_plain_implementation(tmp_path: Path, form: str) -> None:
    kind, shape, options, how = FORMS[form]
    state = plain.made_weights(kind, 12, **shape)
    cycles: dict[str, Any] = {"h_cycles": 2, "l_cycles": 3}
    done = imported(tmp_path, kind, state, {**options, **cycles})
    assert done.left_out == []
    backend, card = load_model(tmp_path / "run", "cpu", "32-true")
    assert card.options["puzzle_emb"] == ("none" if shape.get("rows") == 0 else "variants")
    inputs = torch.randint(0, 12, (2, 25), generator=torch.Generator().manual_seed(1))
    expected = plain.answer(kind, state, inputs, torch.zeros(2, dtype=torch.long), heads=2, **how, **cycles)
    batch = batch_of(inputs, 5, 5)
    with torch.inference_mode():
        _, output = backend.model(backend.model.initial_carry(batch), batch)
    torch.testing.assert_close(output.logits, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize(("given", "is_kind"), [("hrm", "trm"), ("trm", "hrm")])
def test_a_checkpoint_of_the_other_model_is_told_which_it_is(
    tmp_path: Path, given: str, is_kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(plain.made_weights(is_kind, 12), tmp_path / "step_1")
    said = one_line(capsys, "import", given, tmp_path / "step_1", "--out", tmp_path / "run")
    assert f"is a checkpoint of {is_kind.upper()}" in said
    assert f"import it with hrm import {is_kind}" in said
    assert not (tmp_path / "run").exists()


def test_a_vocabulary_of_no_published_set_is_refused(tmp_path: Path) -> None:
    torch.save(plain.made_weights("hrm", 9), tmp_path / "step_1")
    with pytest.raises(UserError, match=r"a vocabulary of 9 tokens, expected one of 12 \(arc\), 11 \(sudoku\), 6"):
        import_checkpoint("hrm", tmp_path / "step_1", tmp_path / "run", options=HEADS)


# The digits of a board are tokens 2 to 10 of 11 and a blank is 1; here colors, so 2 more than the digit.
SUDOKU_TOKENS = {token: token + 1 for token in range(1, 11)} | {0: 0}
# The characters "# SGo" are tokens 1 to 5 of 6; here wall 5, free 0, start 3, goal 2 and path 4, each 2 more.
MAZE_TOKENS = {0: 0, 1: 7, 2: 2, 3: 5, 4: 4, 5: 6}


@pytest.mark.parametrize(
    ("kind", "tokens", "ours"), [("hrm", 11, SUDOKU_TOKENS), ("trm", 11, SUDOKU_TOKENS), ("trm", 6, MAZE_TOKENS)]
)
def test_a_model_of_a_game_has_its_own_tokens(tmp_path: Path, kind: str, tokens: int, ours: dict[int, int]) -> None:
    state = plain.made_weights(kind, tokens, mixed=0)
    done = imported(tmp_path, kind, state, {"l_cycles": 2, "h_cycles": 2})
    assert (done.tasks, done.left_out) == (0, [])
    backend, card = load_model(tmp_path / "run", "cpu", "32-true")
    assert (card.canvas, card.options["vocabulary"]) == ("cropped", "sudoku" if tokens == 11 else "maze")
    theirs = torch.randint(1, tokens, (2, 16), generator=torch.Generator().manual_seed(1))
    length = 1 if kind == "hrm" else 16
    expected = plain.answer(kind, state, theirs, torch.zeros(2, dtype=torch.long), heads=2, length=length)
    batch = batch_of(theirs.clone().apply_(lambda token: ours[token]), 4, 4)
    with torch.inference_mode():
        _, output = backend.model(backend.model.initial_carry(batch), batch)
    assert output.logits.shape == (2, 16, 12)
    for token, own in ours.items():
        torch.testing.assert_close(output.logits[..., own], expected[..., token], atol=1e-3, rtol=0)
    absent = [own for own in range(12) if own not in ours.values()]
    assert (output.logits[..., absent] == ABSENT).all()


class Recording:
    """A backend that keeps what it is asked, and answers with the input."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[list[int]], int, int]] = []

    def answer(self, samples: Samples) -> Answers:
        for tokens, task, variant in zip(samples.inputs, samples.identity.task, samples.identity.variant, strict=True):
            grid = samples.canvas.decode(tokens)
            assert grid is not None
            self.asked.append((grid.tolist(), int(task), int(variant)))
        return Answers(samples.inputs, np.full(len(samples), 0.5), np.ones(len(samples)))

    def refine(self, samples: Samples) -> np.ndarray:
        return samples.inputs[None]


GRID = np.array([[1, 2, 3], [0, 4, 5]])
# Both builders' forms, by hand: rotated by three quarter turns counterclockwise, and color 2 becomes 8, and so on.
HRM_NAMES = ["<blank>", "aaaa", "aaaa_t3_0481963275", "bbbb", "bbbb_t5_0213456789"]
TRM_NAMES = ["<blank>", "aaaa", "aaaa|||t3|||0481963275", "bbbb", "bbbb|||t5|||0213456789"]


@pytest.mark.parametrize("names", [HRM_NAMES, TRM_NAMES], ids=["HRM", "TRM"])
def test_each_variant_is_asked_with_its_own_row(tmp_path: Path, names: list[str]) -> None:
    tensors = published(tmp_path / "step_1", "hrm_tiny")
    table = next(value for key, value in tensors.items() if key.endswith("puzzle_emb.weights"))
    file = identifiers(tmp_path, names)
    done = import_checkpoint("hrm", tmp_path / "step_1", tmp_path / "run", file, OPTIONS["hrm_tiny"], variants=True)
    assert (done.tasks, done.variants, done.left_out) == (2, 2, [])
    backend, card = load_model(tmp_path / "run", "cpu", "32-true")
    assert (card.tasks, card.variants) == (["aaaa", "bbbb"], 2)
    pair = Pair(make_grid(GRID.tolist()), make_grid(GRID.tolist()))
    recording = Recording()
    tasks = [Task(name, (pair,), (pair,)) for name in ("aaaa", "bbbb", "cccc")]
    predictions = predict_tasks(recording, card, tasks, votes=1000)
    assert [len(p.candidates) for p in predictions] == [1, 1, 1], "each answer was turned back"
    assert predictions[0].limit == 2
    colors = np.array([0, 4, 8, 1, 9, 6, 3, 2, 7, 5])
    flipped = np.array([0, 2, 1, *range(3, 10)])
    images = {2: np.rot90(colors[GRID], 3), 4: np.flipud(flipped[GRID])}
    known = [asked for asked in recording.asked if asked[1]]
    assert len(known) == 4
    ours = backend.model.state_dict()["puzzle_emb.weights"]
    for grid, task, variant in known:
        row = next(n for n in range(1, 5) if torch.equal(ours[1 + (task - 1) * 2 + variant], table[n]))
        assert names[row].startswith(card.tasks[task - 1])
        assert grid == images.get(row, GRID).tolist()
    assert torch.equal(ours[0], table[0])
    assert {asked[1] for asked in recording.asked} == {0, 1, 2}, "a task without rows is asked as unseen"


def test_tasks_with_fewer_variants_have_fewer_votes(tmp_path: Path) -> None:
    published(tmp_path / "step_1", "hrm_tiny")
    names = ["<blank>", "bbbb", "aaaa_t3_0481963275", "aaaa", "aaaa_t0_0123456798"]
    file = identifiers(tmp_path, names)
    done = import_checkpoint("hrm", tmp_path / "step_1", tmp_path / "run", file, OPTIONS["hrm_tiny"], variants=True)
    assert (done.tasks, done.variants) == (2, 3)
    card = read_card(newest_checkpoint(tmp_path / "run"))
    pair = Pair(make_grid(GRID.tolist()), None)
    recording = Recording()
    first, second = predict_tasks(recording, card, [Task(name, (pair,), (pair,)) for name in "ab"], votes=5)
    assert (first.limit, second.limit) == (5, 5), "unknown tasks are asked under symmetries of this program"
    tasks = [Task(name, (pair,), (pair,)) for name in ("bbbb", "aaaa")]
    assert [p.limit for p in predict_tasks(recording, card, tasks, votes=5)] == [1, 3]
    assert [p.limit for p in predict_tasks(recording, card, tasks, votes=2)] == [1, 2]


def test_one_task_with_far_more_variants_than_others_is_refused(tmp_path: Path) -> None:
    state = plain.made_weights("hrm", 12, rows=101)
    torch.save(state, tmp_path / "step_1")
    variants = [f"many_t{n % 8}_0{''.join(map(str, order))}" for n, order in zip(range(50), ORDERS, strict=False)]
    names = identifiers(tmp_path, ["<blank>", "many", *variants, *(f"few{n}" for n in range(49))])
    with pytest.raises(UserError, match="many has 50 variants and other tasks few"):
        import_checkpoint("hrm", tmp_path / "step_1", tmp_path / "run", names, HEADS, variants=True)
    assert import_checkpoint("hrm", tmp_path / "step_1", tmp_path / "run", names, HEADS).tasks == 50


def write_task(folder: Path) -> Path:
    folder.mkdir()
    pair = {"input": [[1, 2], [3, 4]], "output": [[1]]}
    (folder / "aaaa.json").write_text(json.dumps({"train": [pair], "test": [pair]}))
    return folder


def test_imported_variants_vote_by_default_in_every_segment(tmp_path: Path) -> None:
    published(tmp_path / "step_1", "hrm_tiny")
    flags = ["--num-heads", "4", "--segments", "3"]
    names = identifiers(tmp_path, HRM_NAMES)
    rows = ["--identifiers", str(names), "--variants", *flags]
    with_rows = command("import", "hrm", tmp_path / "step_1", *rows, "--out", tmp_path / "run")
    assert (with_rows["tasks"], with_rows["variants"]) == (2, 2)
    data = write_task(tmp_path / "tasks")
    scores = command("eval", tmp_path / "run", "--data", data, "--reading", "published")
    assert (scores["votes"], scores["early_exit"], scores["mean_segments"]) == (2, False, 3)
    stopped = command("eval", tmp_path / "run", "--data", data, "--early-exit", "--out", tmp_path / "early")
    assert (stopped["early_exit"], stopped["reading"]) == (True, "likely")


def test_flags_that_do_not_fit_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    published(tmp_path / "step_1", "hrm_tiny")
    flags = ["--num-heads", "4", "--out", tmp_path / "run"]
    assert "--variants: needs --identifiers" in one_line(
        capsys, "import", "hrm", tmp_path / "step_1", "--variants", *flags
    )
    names = identifiers(tmp_path, HRM_NAMES)
    assert (
        main([str(a) for a in ("import", "hrm", tmp_path / "step_1", "--identifiers", names, "--variants", *flags)])
        == 0
    )
    capsys.readouterr()
    data = write_task(tmp_path / "tasks")
    said = one_line(capsys, "validate", tmp_path / "run", "--data", data, "--augment", "3")
    assert "rows of variants of its own" in said


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "a text of 0 characters"),
        ("0012345678", "a text of 10 characters"),
        ("0012345678x", "a text of 11 characters"),
        ("80123456789", "a dihedral transform 0 to 7"),
        ("01023456789", "a permutation of colors that keeps 0"),
        ("00123456788", "a permutation of colors that keeps 0"),
        ("00123456789" * 3, "more than 2 variants"),
    ],
)
def test_a_card_with_symmetries_that_are_none_is_refused(tmp_path: Path, text: str, what: str) -> None:
    published(tmp_path / "step_1", "hrm_tiny")
    file = identifiers(tmp_path, HRM_NAMES)
    import_checkpoint("hrm", tmp_path / "step_1", tmp_path / "run", file, OPTIONS["hrm_tiny"], variants=True)
    card = read_card(newest_checkpoint(tmp_path / "run"))
    data = {**card.as_json(), "symmetries": {"aaaa": text}}
    with pytest.raises(ValueError, match=what):
        type(card).from_json(data)
