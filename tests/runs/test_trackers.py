from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest

from hrm_arc.errors import UserError
from hrm_arc.runs.trackers import open_tracker
from hrm_arc.training.trainer import Trainer
from tests.made import tiny_recipe, write_tasks

ROWS = [
    {"kind": "train", "step": 2, "loss": 0.5, "timing": {"data": 0.1}},
    {"kind": "validation", "step": 3, "exact_accuracy": 0.25},
]


def test_csv_has_a_line_for_each_figure_and_goes_on_after_a_restart(tmp_path: Path) -> None:
    lost = {"kind": "train", "step": 9, "loss": 0.1}
    for row, after in ((ROWS[0], 0), (lost, 2), (ROWS[1], 2)):
        tracker = open_tracker("csv", tmp_path, "run", {}, after=after)
        tracker.log(row)
        tracker.close()
    with (tmp_path / "metrics.csv").open() as file:
        lines = list(csv.reader(file))
    assert lines == [
        ["kind", "step", "name", "value"],
        ["train", "2", "loss", "0.5"],
        ["validation", "3", "exact_accuracy", "0.25"],
    ]


@pytest.mark.parametrize(
    "damaged",
    ["train,²,loss,1", f"train,{'1' * 5000},loss,1", "train,-1,loss,1", f"train,1,loss,{'1' * 200_000}", 'train,1,"lo'],
    ids=["superscript", "digits", "negative", "long field", "cut"],
)
def test_damaged_rows_of_a_csv_are_left_out(tmp_path: Path, damaged: str) -> None:
    path = tmp_path / "metrics.csv"
    first = "kind,step,name,value\r\ntrain,1,loss,0.5\r\n"
    # An open quotation mark takes all that follows, so that row is the last.
    last = "" if '"' in damaged else "train,2,loss,0.25\r\n"
    path.write_text(f"{first}{damaged}\r\n{last}", newline="")
    open_tracker("csv", tmp_path, "run", {}, after=2).close()
    assert path.read_bytes().decode() == first + last


def test_tensorboard_forgets_what_a_killed_run_had_said_after_its_checkpoint(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    lost = {"kind": "train", "step": 9, "loss": 0.1}
    for rows, after in (([ROWS[0], lost], 0), ([{**ROWS[0], "step": 4}], 2)):
        tracker = open_tracker("tensorboard", tmp_path, "run", {}, after=after)
        for row in rows:
            tracker.log(row)
        tracker.close()
    kept = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in kept.Scalars("train/loss")] == [2, 4]


def test_a_run_feeds_its_trackers(tmp_path: Path) -> None:
    recipe = tiny_recipe(write_tasks(tmp_path / "tasks"), "grid-hrm", "--training.trackers", "[csv]")
    trainer = Trainer(recipe, root=tmp_path / "runs")
    trainer.fit()
    with (trainer.folder.path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows if row["name"] == "loss" and row["kind"] == "train"] == ["2", "4", "6"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_wandb_keeps_a_real_offline_run(tmp_path: Path) -> None:
    import wandb

    tracker = open_tracker("wandb", tmp_path, "20250903_100435_3652c9d8", {"seed": 1})
    for row in ROWS:
        tracker.log(row)
    tracker.close()
    # Its service is told of the end without an answer, and writes the rest at the latest when it
    # ends itself; a process that exits waits for that, and so does this.
    wandb.teardown()
    (kept,) = tmp_path.glob("wandb/offline-run-*-20250903_100435_3652c9d8/run-20250903_100435_3652c9d8.wandb")
    assert b"exact_accuracy" in kept.read_bytes()


def test_a_tracker_that_is_not_installed_is_the_users_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, module in (("wandb", "wandb"), ("tensorboard", "torch.utils.tensorboard")):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(UserError, match=f"{name} is not installed"):
            open_tracker(name, tmp_path, "run", {})  # type: ignore[arg-type]
