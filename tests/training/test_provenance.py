"""A run knows its tasks by their grids: changed tasks, moved data, checkpoints that are gone, links."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from hrm_arc.errors import UserError
from hrm_arc.evaluation.fairness import warnings
from hrm_arc.evaluation.provenance import answers_seen
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.fingerprint import GivenAnswers, task_fingerprint
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.puzzles.task import Task
from hrm_arc.runs.card import Card
from hrm_arc.runs.checkpoint import BEST, CARD, LATEST, _text_digest, list_checkpoints, read_card
from hrm_arc.runs.folder import RunFolder
from hrm_arc.training.build import Pretrained
from hrm_arc.training.config import Recipe
from hrm_arc.training.metrics import StepMetrics
from hrm_arc.training.trainer import Trainer
from tests.cli.commands import answer, check_one_line, hrm
from tests.made import OnStep, tiny_recipe, write_tasks


def stopped_run(tmp_path: Path, *flags: str) -> RunFolder:
    """A run on three tasks, stopped after four of eight steps."""
    often = ("--training.max_steps=8", "--training.checkpoint_every=2", "--training.log_every=1")
    recipe = tiny_recipe(write_tasks(tmp_path / "tasks"), "grid-hrm", *often, *flags)
    trainer = Trainer(
        recipe, callbacks=[OnStep(lambda m: trainer.stop() if m.step == 4 else None)], root=tmp_path / "r"
    )
    trainer.fit()
    return trainer.folder


def something_learned(tmp_path: Path) -> tuple[Recipe, Corpus, Pretrained]:
    """A recipe, its tasks, and weights that were trained on them."""
    corpus = Corpus(solve=load_tasks(str(write_tasks(tmp_path / "tasks"))))
    recipe = tiny_recipe(tmp_path / "tasks", "grid-hrm", "--validation.every=0")
    trainer = Trainer(recipe, corpus, root=tmp_path / "r")
    trainer.fit()
    return recipe, corpus, Pretrained.load(trainer.folder.path)


def edit(task: Path, change: Any) -> None:
    data = json.loads(task.read_text())
    change(data)
    task.write_text(json.dumps(data))


def other_demonstration(data: dict[str, Any]) -> None:
    data["train"][0]["output"][0][0] = (data["train"][0]["output"][0][0] + 1) % 10


def other_answer(data: dict[str, Any]) -> None:
    data["test"][0]["output"][0][0] = (data["test"][0]["output"][0][0] + 1) % 10


def demonstration_as_test(data: dict[str, Any]) -> None:
    data["test"][0] = data["train"][1]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (other_demonstration, "its demonstrations have changed"),
        (other_answer, "its answers have changed"),
        (demonstration_as_test, "its test 1 is a demonstration that was trained on"),
    ],
)
def test_a_changed_task_is_named_scored_apart_and_not_trained_on(change: Any, what: str, tmp_path: Path) -> None:
    run = stopped_run(tmp_path)
    before = answer("eval", run.path, "--votes", "1")
    assert (before["test_outputs"], before["changed_tasks"]) == (3, {})
    edit(tmp_path / "tasks" / "flip1.json", change)
    after = answer("eval", run.path, "--votes", "1")
    assert after["test_outputs"] == 2
    assert after["scored_apart"]["test_outputs"] == 1  # type: ignore[index]
    assert what in after["changed_tasks"]["flip1"]  # type: ignore[index]
    assert any("flip1" in line and what in line for line in after["warnings"])  # type: ignore[union-attr]
    check_one_line(hrm("train", "--resume", run.path), str(run.path), "accept it with --override data")
    gone_on = hrm("train", "--resume", run.path, "--override", "data")
    assert gone_on.returncode == 0, gone_on.stderr
    assert "warning: flip1: its" in gone_on.stderr


def test_answers_are_recognized_under_another_name_and_through_every_training(tmp_path: Path) -> None:
    one, other, studied = load_tasks(str(write_tasks(tmp_path / "tasks")))
    renamed = replace(studied, id="renamed")
    recipe = tiny_recipe(tmp_path / "tasks", "grid-hrm", "--training.max_steps=1", "--validation.every=0")

    def train(corpus: Corpus, begin: Trainer | None = None) -> Trainer:
        start = None if begin is None else Pretrained.load(begin.folder.path)
        trainer = Trainer(recipe, corpus, root=tmp_path / "r", pretrained=start)
        trainer.fit()
        return trainer

    first = train(Corpus(solve=[one], study=[studied]))
    assert answers_seen(first.card(), [one, renamed, other]) == ["renamed"]
    second = train(Corpus(solve=[other]), first)
    assert second.card().leaks == []
    assert answers_seen(second.card(), [one, renamed, other]) == ["renamed"]
    assert answers_seen(second.card(), [renamed.blind()]) == ["renamed"], "its unknown output may be the same"
    third = train(Corpus(solve=[renamed]), second)
    assert third.card().leaks == ["renamed, given away in the training that it began with"]
    resumed = Trainer(recipe, Corpus(solve=[renamed]), root=tmp_path / "r", resume=third.folder)
    assert (resumed.card().leaks, resumed.card().earlier) == (third.card().leaks, third.card().earlier)
    shown = replace(other, id="shown", demonstrations=(*other.demonstrations, *one.tests))
    assert answers_seen(train(Corpus(solve=[shown])).card(), [one]) == ["flip0"], "a demonstration of another task"


def test_rules_that_were_studied_through_generated_pairs_are_known() -> None:
    names = ["mine", "re-0d3d703e"]
    card = Card("grid-hrm", {}, names, "full", True, ["mine"], ["re-arc"], 1, 1, 0, [], 5, "run", {})
    said = "trained on other pairs by the rules of 1 of these tasks (RE-ARC)"
    assert any(said in line for line in warnings(card, load_tasks("0d3d703e")))
    assert not any("RE-ARC" in line for line in warnings(card, load_tasks("00d62c1b")))
    # No answer is given away, so it is no leak; but whatever begins with these weights says it, too.
    assert Pretrained({}, card).leaks(load_tasks("0d3d703e")) == []
    later = replace(card, tasks=["other"], study=[], earlier=card.for_later())
    assert any(said in line for line in warnings(later, load_tasks("0d3d703e")))
    demonstrations = replace(card, held_out=2)
    assert any(said in line for line in warnings(demonstrations, load_tasks("0d3d703e")))


def test_the_boards_of_a_game_are_recognized_one_by_one() -> None:
    (many,), (few,) = load_tasks("maze-7x7:300"), load_tasks("maze-7x7:30")
    given = GivenAnswers.of({many.id: task_fingerprint(many)}, [])
    assert given.include(replace(few, id="other"))
    assert not given.include(replace(few, tests=many.tests))
    one, other = given_test([[1]], [[2]]), given_test([[1]], [[3]])
    both = GivenAnswers.of({each.id: task_fingerprint(each) for each in (one, other)}, [one.id, other.id])
    assert both.include(replace(one, id="a")), "one input, two outputs"
    assert both.include(replace(other, id="b")), "one input, two outputs"


def given_test(test: list[list[int]], output: list[list[int]]) -> Task:
    return Task.from_lists(f"task{output}", train=[([[5]], [[6]])], test=[(test, output)])


def test_a_resumed_run_does_not_forget_what_it_was_given(tmp_path: Path) -> None:
    one, two, _ = load_tasks(str(write_tasks(tmp_path / "tasks")))
    # The test output of one task is, turned, a demonstration of another.
    flags = ("--training.max_steps=1", "--validation.every=0", "--data.allow_leak=true")
    recipe = tiny_recipe(tmp_path / "tasks", "grid-hrm", *flags)
    first = Trainer(recipe, Corpus(solve=[one], study=[two]), root=tmp_path / "r")
    first.fit()
    resumed = Trainer(recipe, Corpus(solve=[one, two]), root=tmp_path / "r", resume=first.folder)
    assert answers_seen(resumed.card(), [one, two]) == ["flip1"]


def test_pretrained_weights_survive_a_run_that_ends_before_its_first_checkpoint(tmp_path: Path) -> None:
    recipe, corpus, start = something_learned(tmp_path)

    def crash(metrics: StepMetrics) -> None:
        raise RuntimeError("the machine is lost")

    second = Trainer(recipe, corpus, callbacks=[OnStep(crash)], root=tmp_path / "r", pretrained=start)
    with pytest.raises(RuntimeError, match="the machine is lost"):
        second.fit()
    resumed = Trainer(recipe, corpus, root=tmp_path / "r", resume=second.folder)
    assert resumed.step == 0
    for name, weight in resumed.model.state_dict().items():
        assert torch.equal(weight, start.weights[name]), name


def test_weights_of_a_model_that_computes_otherwise_are_announced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe, corpus, start = something_learned(tmp_path)
    Trainer(recipe, corpus, root=tmp_path / "r", pretrained=start)
    assert "other options" not in caplog.text
    flags = ("--model.positions=sinusoids", "--model.segments=5")
    other = tiny_recipe(tmp_path / "tasks", "grid-hrm", *flags)
    Trainer(other, corpus, root=tmp_path / "r", pretrained=start)
    assert "positions sinusoids in place of rotary-2d" in caplog.text
    assert "segments 5 in place of" in caplog.text


def test_a_run_whose_pretrained_weights_were_never_saved_does_not_go_on_without_them(tmp_path: Path) -> None:
    recipe, corpus, start = something_learned(tmp_path)
    # The process is gone before its first step.
    folder = Trainer(recipe, corpus, root=tmp_path / "r", pretrained=start).folder
    with pytest.raises(UserError, match=f"was to begin with the weights of {start.card.run_id}"):
        Trainer(recipe, corpus, root=tmp_path / "r", resume=folder)
    # With them it goes on as it was to begin, and knows what they were given.
    resumed = Trainer(recipe, corpus, root=tmp_path / "r", resume=folder, pretrained=start)
    assert all(torch.equal(weight, start.weights[name]) for name, weight in resumed.model.state_dict().items())
    assert resumed.card().earlier == start.card.for_later()


def test_a_checkpoint_that_was_chosen_by_answers_says_so(tmp_path: Path) -> None:
    tasks = load_tasks(str(write_tasks(tmp_path / "tasks")))
    best = ("--validation.keep_best=true", "--validation.every=1", "--validation.full_when=every")
    best = (*best, "--validation.full_every=1")
    trainer = Trainer(tiny_recipe(tmp_path / "tasks", "grid-hrm", *best), Corpus(solve=tasks), root=tmp_path / "r")
    trainer.fit()
    (chosen,) = list_checkpoints(trainer.folder.checkpoints, BEST)
    assert any("chosen by its score" in line for line in warnings(read_card(chosen), tasks))
    assert not any("chosen" in line for line in warnings(trainer.card(), tasks))
    # A training that begins with it, and one that begins with that, were chosen, too; other tasks have no part in it.
    recipe, start = trainer.recipe, Pretrained.load(chosen)
    for _ in range(2):
        later = Trainer(recipe, Corpus(solve=tasks), root=tmp_path / "later", pretrained=start)
        later.fit()
        start = Pretrained.load(later.folder.path)
    said = [line for line in warnings(start.card, tasks) if "chosen" in line]
    assert said == [
        "weights that it goes back to were chosen by their score on test outputs of these tasks: its scores are biased"
    ]
    assert not any("chosen" in line for line in warnings(start.card, load_tasks("0d3d703e")))
    for folder in list_checkpoints(trainer.folder.checkpoints, LATEST):
        shutil.rmtree(folder)
    assert (
        Trainer(trainer.recipe, Corpus(solve=tasks), root=tmp_path, resume=trainer.folder).step
        == read_card(chosen).step
    )


def test_options_that_no_checkpoint_can_hold_are_refused_before_the_training(tmp_path: Path) -> None:
    recipe = tiny_recipe(write_tasks(tmp_path / "tasks"), "dual-loop", "--model.halt_threshold", ".inf")
    with pytest.raises(UserError, match="halt_threshold"):
        Trainer(recipe, root=tmp_path / "r")


def test_what_began_with_an_imported_checkpoint_says_so(tmp_path: Path) -> None:
    (task, *_) = load_tasks(str(write_tasks(tmp_path / "tasks")))
    recipe = tiny_recipe(tmp_path / "tasks", "grid-hrm", "--training.max_steps=1", "--validation.every=0")
    first = Trainer(recipe, Corpus(solve=[task]), root=tmp_path / "r")
    card = replace(first.card(), training={"imported": "weights.pt"})
    second = Trainer(
        recipe, Corpus(solve=[task]), root=tmp_path / "r", pretrained=Pretrained(first.model.state_dict(), card)
    )
    third = Trainer(
        recipe,
        Corpus(solve=[task]),
        root=tmp_path / "r",
        pretrained=Pretrained(first.model.state_dict(), second.card()),
    )
    for trainer in (second, third):
        assert warnings(trainer.card(), [task]) == [
            "it began with an imported checkpoint: which answers its training was given is not known here"
        ]
    assert warnings(first.card(), [task]) == []


def test_a_hidden_answer_that_became_known_is_no_change(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks")
    answers = {path: path.read_text() for path in tasks.iterdir()}
    for path in answers:
        edit(path, lambda data: data["test"][0].pop("output"))
    recipe = tiny_recipe(tasks)
    trainer = Trainer(recipe, root=tmp_path / "r")
    trainer.fit()
    for path, text in answers.items():
        path.write_text(text)
    assert answer("eval", trainer.folder.path, "--votes", "1")["changed_tasks"] == {}


def test_a_checkpoint_without_its_card_is_named_and_the_one_before_used(tmp_path: Path) -> None:
    run = stopped_run(tmp_path)
    newest = list_checkpoints(run.checkpoints, LATEST)[-1]
    (newest / CARD).unlink()
    done = hrm("eval", run.path, "--votes", "1", "--json")
    assert json.loads(done.stdout)["step"] == 2
    assert f"{newest.name}/{CARD}: missing" in done.stderr


@pytest.mark.parametrize("what", ["cards", "folder"])
def test_a_run_whose_checkpoints_are_gone_does_not_start_over(what: str, tmp_path: Path) -> None:
    run = stopped_run(tmp_path)
    rows = run.metrics_file.read_bytes()
    if what == "folder":
        shutil.rmtree(run.checkpoints)
    else:
        for folder in list_checkpoints(run.checkpoints, LATEST):
            (folder / CARD).unlink()
    done = hrm("train", "--resume", run.path)
    assert done.returncode == 2
    assert ("is gone" if what == "folder" else "missing") in done.stderr.splitlines()[-1]
    assert run.metrics_file.read_bytes() == rows


def test_a_run_goes_on_from_another_directory_and_after_a_move(tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    write_tasks(here / "mine")
    tiny_recipe(here / "mine")
    trained = answer("train", "grid-hrm.yaml", "--data.solve", "[mine]", "--training.max_steps", "2", cwd=here)
    run = here / str(trained["folder"])
    assert answer("eval", run, "--votes", "1", cwd=tmp_path)["test_outputs"] == 3
    more = ("--training.max_steps", "3", "--override", "training.max_steps")
    assert answer("train", "--resume", run, *more, cwd=tmp_path)["steps"] == 3
    there = tmp_path / "there"
    here.rename(there)
    moved = there / run.relative_to(here)
    assert answer("eval", moved, "--votes", "1", cwd=tmp_path)["test_outputs"] == 3
    shutil.rmtree(there / "mine")
    check_one_line(hrm("eval", moved, cwd=tmp_path), "mine", "--data")


def test_checkpoints_that_lead_elsewhere_are_not_touched(tmp_path: Path) -> None:
    run = stopped_run(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    shutil.move(run.checkpoints, elsewhere)
    (elsewhere / ".step-00000009.1234").mkdir()
    (elsewhere / ".notes-of-mine").mkdir()
    run.checkpoints.symlink_to(elsewhere)
    before = sorted(path.name for path in elsewhere.rglob("*"))
    for command in (
        ("train", "--resume", run.path),
        ("eval", run.path),
        ("export", run.path, "--out", tmp_path / "x.onnx"),
    ):
        check_one_line(hrm(*command), "checkpoints", "is a link")
    assert sorted(path.name for path in elsewhere.rglob("*")) == before


def test_a_card_names_no_other_file(tmp_path: Path) -> None:
    run = stopped_run(tmp_path)
    card = list_checkpoints(run.checkpoints, LATEST)[-1] / CARD
    body = json.loads(card.read_text())
    body["sha256"]["/dev/zero"] = "0" * 64
    del body["card_sha256"]
    card.write_text(json.dumps({**body, "card_sha256": _text_digest(body)}))
    with pytest.raises(UserError, match="names other files"):
        read_card(card.parent)


SOME_WERE_FRESH = "sudoku-4x4: its training had fresh boards, and these are not those that were kept out of them"


def test_boards_that_fresh_boards_may_have_been_are_named(tmp_path: Path) -> None:
    card = trained_on_boards("sudoku-4x4/test:20", "fresh", tmp_path).card()
    for own in ("sudoku-4x4/test:20", "sudoku-4x4/test:10"):
        assert SOME_WERE_FRESH not in warnings(card, load_tasks(own))
    for other in ("sudoku-4x4/validation:20", "sudoku-4x4/test:30"):
        assert SOME_WERE_FRESH in warnings(card, load_tasks(other))
    assert SOME_WERE_FRESH not in warnings(replace(card, fresh=False), load_tasks("sudoku-4x4/validation:20"))


def test_weights_keep_the_boards_that_their_first_training_left_out(tmp_path: Path) -> None:
    first = Pretrained.load(trained_on_boards("sudoku-4x4/test:20", "fresh", tmp_path).folder.path)
    for boards, left_out in (("variants", 20), ("fresh", 10)):
        card = trained_on_boards("sudoku-4x4/test:10", boards, tmp_path, first).card()
        assert len(card.kept_out()["sudoku-4x4"]) == left_out
        assert SOME_WERE_FRESH not in warnings(card, load_tasks("sudoku-4x4/test:10"))
        assert SOME_WERE_FRESH in warnings(card, load_tasks("sudoku-4x4/validation:20"))


def trained_on_boards(source: str, boards: str, folder: Path, start: Pretrained | None = None) -> Trainer:
    """A trainer after one step on the boards of a game."""
    tasks = write_tasks(folder / "tasks")
    # Boards to be solved have no demonstrations to learn from.
    study = () if boards == "fresh" else ("--data.study", f"[{tasks}]")
    flags = (*study, "--data.boards", boards, "--training.max_steps", "1")
    recipe = tiny_recipe(tasks, "grid-hrm", "--data.solve", f"[{source}]", *flags)
    trainer = Trainer(recipe, root=folder / "runs", pretrained=start)
    trainer.fit()
    return trainer
