"""A run that goes on is the run that it was: its recipe, its step, its checkpoints and its rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from hrm_arc.errors import UserError
from hrm_arc.files import sealed_row
from hrm_arc.models.dropout import drop
from hrm_arc.models.vocabulary import OwnTokens
from hrm_arc.runs.checkpoint import LATEST, list_checkpoints, read_card, read_tensors
from hrm_arc.runs.folder import RunFolder
from hrm_arc.runs.metrics import Metrics, read_history
from hrm_arc.runs.status import Status, amend_status, read_status
from hrm_arc.training import clock as clock_module
from hrm_arc.training.callbacks import Callback
from hrm_arc.training.checkpointing import Checkpoints
from hrm_arc.training.distributed import Distributed
from hrm_arc.training.metrics import StepMetrics
from hrm_arc.training.recipes import load_recipe
from hrm_arc.training.resuming import resumed_recipe
from hrm_arc.training.trainer import Trainer
from tests.made import stopped, tiny_recipe, write_tasks


def test_a_run_that_was_stopped_says_its_own_step(tmp_path: Path) -> None:
    more = ("--training.max_steps", "12", "--training.log_every", "10", "--validation.every", "0")
    run = stopped(tiny_recipe(write_tasks(tmp_path / "tasks"), "grid-hrm", *more), tmp_path, 7)
    status = run.status()
    assert (status["current_step"], status["last_checkpoint"]) == (7, "checkpoints/step-00000007")
    assert "interrupted at step 7" in run.log_file.read_text()


def test_a_run_that_goes_on_elsewhere_meanwhile_is_not_undone(tmp_path: Path) -> None:
    recipe = tiny_recipe(write_tasks(tmp_path / "tasks"))
    run = stopped(recipe, tmp_path, 2)
    # It has read the state of step 2, and waits for the lock.
    late = Trainer(recipe, resume=run)
    Trainer(recipe, resume=run).fit()
    before = run.metrics_file.read_bytes()
    with pytest.raises(UserError, match="another process has gone on with it meanwhile"):
        late.fit()
    assert run.metrics_file.read_bytes() == before
    assert run.status()["state"] == "finished"
    assert list_checkpoints(run.checkpoints, LATEST)[-1].name == "step-00000006"


def test_a_run_without_time_for_a_step_has_its_checkpoint(tmp_path: Path) -> None:
    recipe = tiny_recipe(write_tasks(tmp_path / "tasks"), "grid-hrm", "--training.max_minutes", "1e-9")
    trainer = Trainer(recipe, root=tmp_path)
    assert (trainer.fit()["state"], trainer.step) == ("finished", 0)
    assert read_card(list_checkpoints(trainer.folder.checkpoints, LATEST)[-1]).step == 0


def test_the_average_at_the_end_is_what_was_saved(tmp_path: Path) -> None:
    seen: dict[str, torch.Tensor] = {}

    class AtTheEnd(Callback):
        def on_run_end(self, state: Any) -> None:
            with trainer.averaged() as model:
                seen.update({name: each.clone() for name, each in model.state_dict().items()})

    trainer = Trainer(tiny_recipe(write_tasks(tmp_path / "tasks")), root=tmp_path, callbacks=[AtTheEnd()])
    trainer.fit()
    saved = read_tensors(list_checkpoints(trainer.folder.checkpoints, LATEST)[-1], "model.safetensors")
    assert seen.keys() == saved.keys()
    assert all(torch.equal(seen[name], saved[name]) for name in saved)


def test_a_run_has_its_name_from_inside_of_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tiny_recipe(write_tasks(tmp_path / "tasks"))
    run = stopped(recipe, tmp_path, 2)
    monkeypatch.chdir(run.path)
    Trainer(resumed_recipe(RunFolder(Path()), None, [], []), resume=RunFolder(Path())).fit()
    assert read_card(list_checkpoints(run.checkpoints, LATEST)[-1]).run_id == run.run_id == run.path.name


@pytest.mark.parametrize(
    "training",
    [{"gate": {"other": 1}}, {"gate": [1]}, {"best": {}}, {"seconds": "long"}, {"seconds": None}],
    ids=str,
)
def test_a_card_that_says_something_else_is_damaged(
    training: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe(write_tasks(tmp_path / "tasks"))
    run = stopped(recipe, tmp_path, 2)
    restore = Checkpoints.restore

    def damaged(*arguments: Any) -> Any:
        card = restore(*arguments)
        assert card is not None
        return replace(card, training={**card.training, **training})

    monkeypatch.setattr(Checkpoints, "restore", damaged)
    with pytest.raises(UserError, match="the card of its checkpoint of step 2 is damaged"):
        Trainer(recipe, resume=run)


def test_scores_that_come_while_a_run_trains_stay(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    status = Status(path, "run")
    status.update(event=True, current_step=1)
    amend_status(path, pass_at_2=0.25, pass_at_2_step=1)
    status.update(event=True, current_step=2)
    found = read_status(path)
    assert (found["pass_at_2"], found["pass_at_2_step"], found["current_step"]) == (0.25, 1, 2)


def test_rows_that_cannot_be_read_are_kept_beside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "metrics.jsonl"
    foreign = '{"step": 1, "loss": 1.0}\n{"step": 2, "loss": 0.5}\n'
    path.write_text(foreign)
    Metrics(path, after=2).__exit__(None, None, None)
    assert path.read_text() == ""
    (kept,) = tmp_path.glob("metrics.jsonl.unread-*")
    assert kept.read_text() == foreign
    assert "2 rows that cannot be read are now in" in caplog.text


def test_a_large_file_with_zeros_in_it_is_read_and_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    rows = [sealed_row({"kind": "train", "step": n, "seconds": 1.0 * n, "loss": 1.0}) for n in range(1, 2001)]
    path.write_bytes("".join(rows[:1000]).encode() + b"\0" * 6 * 2**20 + b"\n" + "".join(rows[1000:]).encode())
    history = read_history(path)
    steps = [row["step"] for row in history.rows]
    assert steps[-1] == 2000
    assert steps[0] < 1000
    assert "a row of more than 64 KiB" in history.damaged[0]


def test_gradients_that_overflow_move_no_weight_of_any_optimizer() -> None:
    weights = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
    optimizers = [torch.optim.SGD([each], lr=1.0) for each in weights]
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    wrapped = [SimpleNamespace(optimizer=each) for each in optimizers]

    def step(bad: bool) -> None:
        scaler.scale(sum(each.sum() for each in weights)).backward()
        if bad:
            weights[0].grad[0] = torch.inf  # type: ignore[index]
        for each in optimizers:
            scaler.unscale_(each)
        # What clipping by the norm of all gradients does.
        norm = torch.nn.utils.clip_grad_norm_(weights, 1.0)
        Distributed.step(SimpleNamespace(scaler=scaler), wrapped, skip=not bool(norm.isfinite()))  # type: ignore[arg-type]
        for each in optimizers:
            each.zero_grad()

    step(bad=True)
    assert all(torch.equal(each.data, torch.ones(2)) for each in weights)
    assert scaler.get_scale() == 2.0
    step(bad=False)
    assert all((each < 1).all() for each in weights)


def test_half_precision_clips_unscaled_gradients_of_a_fused_optimizer() -> None:
    weight = torch.nn.Parameter(torch.zeros(4))
    optimizer = torch.optim.AdamW([weight], lr=0.1, fused=True)
    here: Any = SimpleNamespace(scaler=torch.amp.GradScaler("cpu", init_scale=1024.0))
    here.scaler.scale(weight.sum()).backward()
    Distributed.unscale(here, [optimizer])
    assert float(torch.nn.utils.clip_grad_norm_([weight], 1.0)) == 2.0
    Distributed.step(here, [SimpleNamespace(optimizer=optimizer)])
    assert (weight < 0).all()


@pytest.mark.parametrize("finite", [True, False])
def test_a_step_skips_an_update_that_overflows(finite: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(tiny_recipe(write_tasks(tmp_path / "tasks")), root=tmp_path)
    skipped: list[bool] = []
    monkeypatch.setattr(Distributed, "scaler", SimpleNamespace(unscale_=lambda optimizer: None))
    monkeypatch.setattr(Distributed, "step", lambda self, optimizers, skip: skipped.append(skip))
    for parameter in trainer.model.parameters():
        parameter.grad = torch.full_like(parameter, 1.0 if finite else torch.inf)
    losses: Any = [SimpleNamespace(total=torch.ones(1))]
    trainer._training_step._update(losses, 0)
    assert skipped == [not finite]


def test_half_precision_is_for_gpus(tmp_path: Path) -> None:
    recipe = tiny_recipe(write_tasks(tmp_path / "tasks"), "grid-hrm", "--training.precision", "16-mixed")
    with pytest.raises(UserError, match=r"training\.precision: 16-mixed is for GPUs"):
        Trainer(recipe, root=tmp_path)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--training.accelerator", "tpu"), "training.accelerator: "),
        (("--loss.kind", "torch:float32"), "loss.kind: torch:float32 is dtype, expected a function"),
        (("--optimizer.matrix_lr", "1e300"), "--optimizer.matrix_lr: 1e+300, expected at most"),
        (("--optimizer.lr", ".inf"), "--optimizer.lr: infinite, expected a number"),
    ],
    ids=str,
)
def test_values_that_no_machine_can_train_with_are_one_line(flags: tuple[str, str], said: str, tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks")
    with pytest.raises(UserError) as raised:
        Trainer(tiny_recipe(tasks, "grid-hrm", *flags), root=tmp_path)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("training: {max_steps: 5}\ntraining: {batch_size: 4}\n", "key 'training' appears twice, again in line 3"),
        ("training:\n  max_steps: 5\n  max_steps: 6\n", "key 'max_steps' appears twice, again in line 4"),
        ("data: {__path__: x}\n", "no key data.__path__"),
        ("__path__: x\n", "no key __path__"),
    ],
)
def test_keys_of_a_recipe_that_would_be_lost_are_refused(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"model: {{name: grid-hrm}}\n{text}")
    with pytest.raises(UserError) as raised:
        load_recipe(str(path))
    assert said in str(raised.value)


def test_what_half_precision_and_a_rate_next_to_one_cannot_hold() -> None:
    logits = OwnTokens("sudoku").to_logits(torch.zeros(1, 2, 11, dtype=torch.float16))
    assert logits.isfinite().all()
    assert (logits.argmax(dim=-1) != 1).all()
    dropped = drop(torch.ones(4096), 0.999999)
    assert dropped.isfinite().all()


def test_a_second_fit_goes_on_from_the_weights_and_not_from_their_average(tmp_path: Path) -> None:
    recipe = tiny_recipe(write_tasks(tmp_path / "tasks"), "grid-hrm", "--optimizer.ema", "0.9")
    whole = Trainer(recipe, root=tmp_path / "whole")
    whole.fit()
    saved = {name: tensor.clone() for name, tensor in whole.model.state_dict().items()}
    whole.fit()  # Finished: nothing is left to do, and the model stays the one that was saved.
    assert all(torch.equal(tensor, saved[name]) for name, tensor in whole.model.state_dict().items())

    class StopAt3(Callback):
        def on_run_start(self, trainer: Trainer) -> None:
            self.trainer = trainer

        def on_step(self, metrics: StepMetrics) -> None:
            if metrics.step == 3:
                self.trainer.stop()

    twice = Trainer(
        replace(recipe, training=replace(recipe.training, log_every=1)), root=tmp_path, callbacks=[StopAt3()]
    )
    assert twice.fit()["steps"] == 3
    twice.stopping = False
    assert twice.fit()["steps"] == 6
    assert all(torch.equal(tensor, saved[name]) for name, tensor in twice.model.state_dict().items())


def test_a_run_with_a_time_limit_goes_on_with_the_time_that_is_left(tmp_path: Path) -> None:
    recipe = tiny_recipe(write_tasks(tmp_path / "tasks"), "grid-hrm", "--training.max_minutes", "1")
    run = stopped(recipe, tmp_path, 2)
    (newest,) = list_checkpoints(run.checkpoints, LATEST)
    card = read_card(newest)
    assert card.training["seconds"] > 0
    assert Trainer(recipe, resume=run)._clock.seconds() == card.training["seconds"]
    # By steps it is a third of the way, and by the clock a thousandth of a second from the end.
    resumed = Trainer(recipe, resume=run)
    resumed._clock.resume_from(59.999)
    assert resumed._clock.progress(2) == pytest.approx(59.999 / 60)
    ended = resumed.fit()
    assert (ended["state"], ended["steps"]) == ("finished", 3)
    assert ended["seconds"] >= 60


def test_the_time_of_a_second_fit_is_added_to_that_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(clock_module.time, "perf_counter", lambda: now[0])
    clock = clock_module.Clock(max_steps=10, max_minutes=1)
    clock.start()
    now[0] += 20
    clock.stop()
    now[0] += 3600  # Between two fits nothing is counted.
    assert clock.seconds() == 20
    clock.start()
    now[0] += 10
    assert (clock.seconds(), clock.progress(0)) == (30, 0.5)


def test_trackers_are_opened_anew_by_a_second_fit(tmp_path: Path) -> None:
    recipe = tiny_recipe(write_tasks(tmp_path / "tasks"), "grid-hrm", "--training.trackers", "[csv]")
    trainer = Trainer(recipe, root=tmp_path)
    trainer.stop()
    trainer.fit()
    trainer.stopping = False
    assert trainer.fit()["state"] == "finished"
    assert "train,6,loss," in (trainer.folder.path / "metrics.csv").read_text()
