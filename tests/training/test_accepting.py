"""Keys of a recipe that a resume changes: which are kept, when, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from hrm_arc.errors import UserError
from hrm_arc.models.grid_hrm import GridHRM, GridHRMConfig
from hrm_arc.runs.folder import RunFolder
from hrm_arc.training.build import load_corpus
from hrm_arc.training.callbacks import Callback
from hrm_arc.training.config import DataConfig, Recipe, TrainingConfig
from hrm_arc.training.resuming import resumed_recipe
from hrm_arc.training.trainer import Trainer
from tests.made import stopped, tiny_recipe, write_tasks


def test_accepted_changes_are_the_recipe_of_the_next_resume(tmp_path: Path) -> None:
    recipe = tiny_recipe(write_tasks(tmp_path / "tasks"))
    folder = Trainer(recipe, root=tmp_path / "runs").fit()["folder"]
    run = RunFolder(Path(folder))
    flags = ["--training.max_steps", "20", "--optimizer.lr", "5e-4"]
    with pytest.raises(UserError, match=r"the recipe differs in optimizer\.lr; accept each with --override"):
        resumed_recipe(run, None, flags, ["training.max_steps"])
    overrides = ["training.max_steps", "optimizer.lr"]
    changed = resumed_recipe(run, None, flags, overrides)
    stopped(changed, tmp_path, 8, run, overrides)
    again = resumed_recipe(run, None, [], [])
    assert (again.training.max_steps, again.optimizer.lr) == (20, 5e-4)
    assert run.config()["training"]["max_steps"] == 20
    assert "training.max_steps: 6 before, 20 from here on" in run.log_file.read_text()
    assert Trainer(again, resume=run).fit()["steps"] == 20
    # Beside the recipe that the run was started with, which stays as it was sealed.
    assert "max_steps: 6" in run.config_file.read_text()


def test_what_was_not_accepted_and_what_did_not_train_changes_no_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe(write_tasks(tmp_path / "tasks"))
    run = stopped(recipe, tmp_path, 2)
    # Tasks in memory are none of the recipe's sources; a key that an earlier version did not have is no change.
    text = run.config_file.read_text()
    run.config_file.write_text("".join(line for line in text.splitlines(True) if "largest" not in line))
    stopped(recipe, tmp_path, 3, run)
    Trainer(recipe, corpus=load_corpus(recipe), resume=run).fit()
    assert not run.accepted_file.exists()
    assert run.config()["data"]["solve"] == recipe.data.solve
    # A batch that never fitted the memory is not the run's.
    overrides = ["training.batch_size", "training.max_steps"]
    larger = resumed_recipe(run, None, ["--training.batch_size", "512", "--training.max_steps", "9"], overrides)

    def no_memory(*arguments: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_one_step", no_memory)
        with pytest.raises(UserError, match="512 samples do not fit"):
            Trainer(larger, resume=run, overrides=overrides).fit()
    assert resumed_recipe(run, None, [], []).training.batch_size == 8


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("schedule.kind", "constant"),
        ("name", "other"),
        ("training.trackers", "[csv]"),
        ("optimizer.betas", "[0.5, 0.6]"),
    ],
)
def test_accepted_keys_of_every_type_come_back(key: str, value: str, tmp_path: Path) -> None:
    run = stopped(tiny_recipe(write_tasks(tmp_path / "tasks")), tmp_path, 2)
    overrides = [key, "training.max_steps"]
    changed = resumed_recipe(run, None, [f"--{key}", value, "--training.max_steps", "3"], overrides)
    Trainer(changed, resume=run, overrides=overrides).fit()
    assert resumed_recipe(run, None, [], []) == changed
    with pytest.raises(UserError, match=r"max_minutes: infinite"):
        resumed_recipe(run, None, ["--training.max_minutes", ".inf"], ["training.max_minutes"])


def test_a_recipe_of_other_keys_is_refused_in_python_too(tmp_path: Path) -> None:
    recipe = tiny_recipe(write_tasks(tmp_path / "tasks"))
    run = stopped(recipe, tmp_path, 2)
    longer = replace(recipe, training=replace(recipe.training, max_steps=9))
    with pytest.raises(UserError, match=r"the recipe differs in training\.max_steps; accept each with --override"):
        Trainer(longer, resume=run)
    Trainer(longer, resume=run, overrides=["training.max_steps"]).fit()
    assert run.config()["training"]["max_steps"] == 9


def test_a_full_disk_does_not_end_a_run_that_goes_on_with_other_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = stopped(tiny_recipe(write_tasks(tmp_path / "tasks")), tmp_path, 2)
    overrides = ["training.max_steps"]
    longer = resumed_recipe(run, None, ["--training.max_steps", "9"], overrides)

    def full(*arguments: Any) -> None:
        raise UserError(run.accepted_file, "cannot be written: No space left on device")

    monkeypatch.setattr(RunFolder, "accept", full)
    assert Trainer(longer, resume=run, overrides=overrides).fit()["state"] == "finished"
    assert "No space left on device" in caplog.text


def test_damaged_changes_are_named(tmp_path: Path) -> None:
    run = stopped(tiny_recipe(write_tasks(tmp_path / "tasks")), tmp_path, 2)
    run.accept({"training.max_steps": "many"})
    with pytest.raises(UserError, match=r"accepted\.json: damaged: it has no training\.max_steps"):
        run.config()
    run.accepted_file.write_text("{")
    with pytest.raises(UserError, match=r"accepted\.json"):
        resumed_recipe(run, None, [], [])


def test_changes_are_kept_as_soon_as_the_disk_takes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = stopped(tiny_recipe(write_tasks(tmp_path / "tasks")), tmp_path, 2)
    overrides = ["training.max_steps", "training.checkpoint_every"]
    flags = ["--training.max_steps", "9", "--training.checkpoint_every", "2"]
    changed = resumed_recipe(run, None, flags, overrides)
    accept, calls = RunFolder.accept, []

    def full_at_first(self: RunFolder, changes: Any) -> None:
        calls.append(changes)
        if len(calls) == 1:
            raise UserError(run.accepted_file, "cannot be written: No space left on device")
        accept(self, changes)

    monkeypatch.setattr(RunFolder, "accept", full_at_first)
    Trainer(changed, resume=run, overrides=overrides).fit()
    assert resumed_recipe(run, None, [], []) == changed


def test_a_run_that_did_no_step_keeps_its_recipe(tmp_path: Path) -> None:
    run = stopped(tiny_recipe(write_tasks(tmp_path / "tasks")), tmp_path, 2)
    overrides = ["training.batch_size"]
    changed = resumed_recipe(run, None, ["--training.batch_size", "4"], overrides)
    trainer = Trainer(changed, resume=run, overrides=overrides)
    trainer.stop()
    assert trainer.fit()["state"] == "interrupted"
    assert not run.accepted_file.exists()


def test_changes_are_kept_before_the_first_checkpoint_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stopped(tiny_recipe(write_tasks(tmp_path / "tasks")), tmp_path, 2)
    overrides = ["optimizer.lr"]
    changed = resumed_recipe(run, None, ["--optimizer.lr", "5e-4"], overrides)
    trainer = Trainer(changed, resume=run, overrides=overrides)
    save, kept = trainer._checkpoints.save, []

    def watched(*arguments: Any) -> Any:
        kept.append(run.accepted())
        return save(*arguments)

    monkeypatch.setattr(type(trainer._checkpoints), "save", lambda self, *arguments: watched(*arguments))
    trainer.fit()
    assert kept
    assert all(each == {"optimizer.lr": 5e-4} for each in kept)


def test_a_recipe_made_in_python_is_resumed_as_it_is(tmp_path: Path) -> None:
    recipe = Recipe(
        model={"name": "grid-hrm", "hidden_size": 32, "num_heads": 4},
        data=DataConfig(solve=[str(write_tasks(tmp_path / "tasks"))], augment=20),
        training=TrainingConfig(max_steps=4, batch_size=8, accelerator="cpu"),
    )
    run = stopped(recipe, tmp_path, 2)
    assert Trainer(recipe, resume=run).fit()["steps"] == 4
    assert not run.accepted_file.exists()
    with pytest.raises(UserError, match=r"hidden_size"):
        Trainer(replace(recipe, model={"name": "grid-hrm", "hidden_sizes": 32}), root=tmp_path)


def test_a_model_that_no_recipe_can_name_is_resumed(tmp_path: Path) -> None:
    recipe = tiny_recipe(write_tasks(tmp_path / "tasks"))
    corpus = load_corpus(recipe)

    class Local(GridHRM):
        """Of a class that cannot be imported."""

    def model() -> GridHRM:
        torch.manual_seed(0)
        config = GridHRMConfig(hidden_size=32, num_heads=4, h_layers=1, l_layers=1)
        return Local(config, len(corpus.tasks))

    class Stopping(Callback):
        def on_run_start(self, trainer: Trainer) -> None:
            trainer.stop()

    first = Trainer(recipe, corpus, model(), [Stopping()], root=tmp_path)
    first.fit()
    assert Trainer(recipe, corpus, model(), resume=first.folder).fit()["steps"] == 6


def test_an_override_that_is_no_key_is_named(tmp_path: Path) -> None:
    run = stopped(tiny_recipe(write_tasks(tmp_path / "tasks")), tmp_path, 2)
    for wrong in ("training.max_step", "training.max_steps=9"):
        with pytest.raises(UserError, match=f"--override: {wrong} is no key of the recipe"):
            resumed_recipe(run, None, [], [wrong])


def test_the_first_checkpoint_of_a_run_is_one_of_its_changed_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe(write_tasks(tmp_path / "tasks"))
    run = Trainer(recipe, root=tmp_path).folder
    overrides = ["model.hidden_size"]
    wider = resumed_recipe(run, None, ["--model.hidden_size", "64"], overrides)
    trainer = Trainer(wider, resume=run, overrides=overrides)
    trainer.stop()
    assert trainer.fit()["steps"] == 0
    # Its checkpoint has the new size, and goes on without the override.
    assert Trainer(resumed_recipe(run, None, [], []), resume=run).fit()["steps"] == 6
