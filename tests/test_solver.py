from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hrm_arc.errors import UserError
from hrm_arc.evaluation import torch_backend
from hrm_arc.evaluation.backend import Answers
from hrm_arc.evaluation.metrics import Metric
from hrm_arc.evaluation.torch_backend import TorchBackend
from hrm_arc.models import build_model, find_model
from hrm_arc.models import compiled as compiled_parts
from hrm_arc.models.compiled import TokenWise, can_compile, compile_token_wise
from hrm_arc.models.grid_hrm import GridHRM, GridHRMConfig
from hrm_arc.models.spec import reference_to
from hrm_arc.puzzles.augmented import AugmentedSet, Samples
from hrm_arc.puzzles.canvas import visible_canvas
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.html import PALETTE
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.puzzles.task import Task
from hrm_arc.runs.card import Card
from hrm_arc.solver import Solver, evaluate
from hrm_arc.training.trainer import Trainer
from tests.made import tiny_recipe, write_tasks

TASKS = load_tasks("arc-agi-1/training")[:4]
CARD = Card(
    "grid-hrm",
    dict(find_model("grid-hrm").example_config),
    [task.id for task in TASKS[:3]],
    *("cropped", True, ["arc-agi-1/training"], [], 3, 1, 0, [], 7, "20250903_100435_3652c9d8", {}),  # type: ignore[arg-type]
)


class Copies:
    """A backend whose answer is the input."""

    def answer(self, samples: Samples) -> Answers:
        return Answers(samples.inputs, np.full(len(samples), 0.5), np.ones(len(samples)))

    def refine(self, samples: Samples) -> np.ndarray:
        return samples.inputs[None]


def test_attempts_are_grids_best_first() -> None:
    solver = Solver(Copies(), CARD)
    (attempts,) = solver.solve(TASKS[0], votes=8)
    assert [grid.tolist() for grid in attempts] == [TASKS[0].tests[0].input.tolist()]
    (prediction,) = solver.predict(TASKS[0], votes=8)
    height, width = TASKS[0].tests[0].input.shape
    shown = f"Prediction({TASKS[0].id}, test 0, 1 candidates, best {height} x {width} with 8 of 8 votes)"
    assert repr(prediction) == shown
    assert repr(solver) == "Solver(grid-hrm, run 20250903_100435_3652c9d8, step 7, 3 tasks)"
    with pytest.raises(UserError, match="votes: 0, expected 1 to 1,000,000"):
        solver.solve(TASKS[0], votes=0)


# Of torch's own compiler.
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_long_work_is_compiled_and_answers_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if not can_compile():
        pytest.skip("there is no C++ compiler")
    torch.manual_seed(0)
    model = build_model("grid-hrm", CARD.options, len(CARD.tasks))
    compile_token_wise(model, "training")
    backend = TorchBackend(model, ignores_padding=True)
    solver = Solver(backend, CARD)
    cells = visible_canvas(TASKS[0]).cells
    weights = sum(each.weight.numel() for each in model.modules() if isinstance(each, torch.nn.Linear))
    monkeypatch.setattr(torch_backend, "LONG_OPERATIONS", 2 * 3 * cells * weights * model.segments)

    def compiled() -> set[frozenset[str]]:
        return {module.compiled for module in model.modules() if isinstance(module, TokenWise)}

    caplog.set_level(logging.INFO, "hrm_arc")
    short = solver.predict(TASKS[0], votes=2)
    assert compiled() == {frozenset({"training"})}
    assert not caplog.messages
    long = solver.predict(TASKS[0], votes=3)
    assert compiled() == {frozenset({"training", "inference"})}
    assert "compiling the model; that takes up to a minute" in caplog.messages
    compile_token_wise(model, "inference", False)
    (samples,) = AugmentedSet(Corpus(solve=tuple(TASKS[:1])).held_out_puzzles()).samples(np.arange(1))
    plain = backend.logits(samples)
    compile_token_wise(model, "inference")
    np.testing.assert_allclose(backend.logits(samples), plain, atol=1e-4, rtol=1e-4)
    assert len(long) == len(short)
    solver.predict(TASKS[0], votes=2)
    assert compiled() == {frozenset({"training"})}, "short work rounds the same after long work"


def test_a_model_that_cannot_be_compiled_answers_without(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(part: Callable[..., Any]) -> Callable[..., Any]:
        raise RuntimeError("no headers\nand more")

    torch.manual_seed(0)
    solver = Solver(TorchBackend(build_model("grid-hrm", CARD.options, len(CARD.tasks)), ignores_padding=True), CARD)
    expected = [p.as_row() for p in solver.predict(TASKS[0], votes=3)]
    monkeypatch.setattr(torch_backend, "LONG_OPERATIONS", 1)
    monkeypatch.setattr(torch_backend, "can_compile", lambda: True)
    monkeypatch.setattr(compiled_parts, "can_compile", lambda: True)
    monkeypatch.setattr(compiled_parts, "_compiled", broken)
    assert [p.as_row() for p in solver.predict(TASKS[0], votes=3)] == expected
    assert "compilation: no headers; going on without, slower and with other rounding" in caplog.messages


def test_a_model_in_memory_answers_as_its_backend_does_and_stays_in_training() -> None:
    torch.manual_seed(0)
    model = build_model("grid-hrm", CARD.options, len(CARD.tasks))
    made, given = Solver.from_model(model, CARD), Solver(TorchBackend(model, ignores_padding=True), CARD)
    rows = [[p.as_row() for p in solver.predict(TASKS[0], votes=3)] for solver in (made, given)]
    assert rows[0] == rows[1]
    assert model.training


def test_scores_of_a_solver_are_complete_and_nothing_is_written() -> None:
    metrics = [Metric("votes_for_best", "", lambda outcome: float(outcome.prediction is not None))]
    scores = evaluate(Solver(Copies(), CARD), TASKS, votes=2, metrics=metrics)
    assert (scores["tasks"], scores["votes"], scores["unseen_tasks"]) == (4, 2, 1)
    assert {"pass@2", "intervals", "baselines", "groups", "errors", "warnings", "versions"} <= set(scores)
    assert scores["votes_for_best"] == 1.0
    assert evaluate(Solver(Copies(), CARD), TASKS, votes=2)["pass@2"] == scores["pass@2"]


def test_a_source_is_loaded_by_its_name() -> None:
    assert evaluate(Solver(Copies(), CARD), TASKS[0].id, votes=1)["tasks"] == 1


def test_a_missing_model_is_a_mistake_of_the_user() -> None:
    with pytest.raises(UserError, match="no-such-run"):
        Solver.load("no-such-run")


def test_an_unseen_task_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "hrm_arc.solver"):
        solver = Solver(Copies(), CARD)
        for _ in range(2):
            for task in TASKS:
                solver.predict(task, votes=1)
    (record,) = caplog.records
    assert (record.name, TASKS[3].id in record.getMessage()) == ("hrm_arc.solver", True)


def test_a_model_without_a_task_table_is_not_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    options = {**CARD.options, "conditioning": ["dihedral", "roles"]}
    model = build_model("grid-hrm", options, len(CARD.tasks))
    with caplog.at_level(logging.WARNING, "hrm_arc.solver"):
        Solver.from_model(model, replace(CARD, options=options)).predict(TASKS[3], votes=1)
    assert caplog.records == []


def test_fitting_learns_the_demonstrations_and_leaves_the_solver_as_it_is() -> None:
    torch.manual_seed(0)
    task = replace(TASKS[0], id="new")
    solver = Solver.from_model(build_model("grid-hrm", CARD.options, len(CARD.tasks)), CARD)
    before = {name: tensor.clone() for name, tensor in solver.backend.model.state_dict().items()}  # type: ignore[attr-defined]
    fitted = solver.fit([task], seconds=2.0)
    assert fitted.card.tasks == ["new"]
    assert fitted.card.step > 0
    for name, tensor in solver.backend.model.state_dict().items():  # type: ignore[attr-defined]
        assert torch.equal(tensor, before[name])
    assert len(solver.solve(task, votes=2, finetune_seconds=1.0)) == len(task.tests)
    with pytest.raises(UserError, match="an exported file cannot be trained"):
        Solver(Copies(), CARD).fit([task])
    with pytest.raises(UserError, match="0 seconds for 1 tasks"):
        solver.fit([task], seconds=0)


@pytest.mark.parametrize("name", ["grid-hrm", "dual-loop", "hrm", "trm"])
def test_a_built_in_class_by_its_module_has_the_rows_of_its_name(name: str) -> None:
    own = find_model(name)
    model = build_model(name, own.example_config, num_tasks=3)
    assert own.task_tables
    assert find_model(reference_to(model)).task_tables == own.task_tables


def test_a_run_of_a_model_in_memory_is_fitted_to_other_tasks(tmp_path: Path) -> None:
    corpus = Corpus(solve=tuple(TASKS[:3]))
    model = GridHRM(GridHRMConfig(**CARD.options), len(corpus.tasks))
    recipe = tiny_recipe(write_tasks(tmp_path / "tasks"), "grid-hrm", "--training.max_steps", "1")
    trainer = Trainer(recipe, corpus, model, root=tmp_path / "runs")
    trainer.fit()
    fitted = Solver.load(trainer.folder.path).fit([TASKS[3]], seconds=0.5)
    assert fitted.card.tasks == [TASKS[3].id]


def test_halting_is_set_for_a_backend_and_not_for_its_model() -> None:
    model = build_model("grid-hrm", {**CARD.options, "segments": 3}, len(CARD.tasks))
    backend = TorchBackend(model, early_exit=False)
    (samples,) = AugmentedSet(Corpus(solve=tuple(TASKS[:1])).held_out_puzzles()).samples(np.arange(1))
    for segments, run in ((2, 2), (5, 5), (None, 3)):
        backend.set_halting(0.5, segments)
        assert backend.answer(samples).segments.tolist() == [run]
        assert len(backend.refine(samples)) == run
    assert model.segments == 3


def test_a_notebook_shows_tasks_and_answers_but_no_test_output() -> None:
    task = Task.from_lists("a <b>", [([[1, 2]], [[2, 1]])], [([[3]], [[9]])], "move & copy")
    assert repr(task) == "Task(a <b>, move & copy, 1 demonstrations, 1 tests)"
    assert repr(task.tests[0]) == "Pair(1 x 1 to 1 x 1)"
    shown = task._repr_html_()
    assert "a &lt;b&gt;" in shown
    assert PALETTE[3] in shown
    assert PALETTE[9] not in shown, "the test output is not shown"
    # Each cell is drawn once: two of the input, two of the output, one of the test input.
    assert shown.count("h1v1h-1z") == 5
    (prediction,) = Solver(Copies(), CARD).predict(TASKS[0], votes=2)
    assert "attempt 1: 100% of the votes" in prediction._repr_html_()
