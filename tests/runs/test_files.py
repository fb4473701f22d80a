from __future__ import annotations

import json
import threading
from datetime import datetime
from pathlib import Path

import pytest
import torch

from hrm_arc.errors import UserError
from hrm_arc.runs.checkpoint import Card, find_checkpoint, read_card, read_weights, save_checkpoint
from hrm_arc.runs.files import read_lines, write_json, write_lines, writing
from hrm_arc.runs.folder import RunFolder, create_run, new_run_id
from hrm_arc.runs.metrics import Metrics
from hrm_arc.runs.status import Status, amend_status

CARD = Card("grid-hrm", {"width": 16}, ["a", "b"], "cropped", True, ["x"], [], 1, 7, "20250903_100435_3652c9d8")


def test_run_ids_are_in_the_logs_form() -> None:
    ids = {new_run_id(datetime(2025, 9, 3, 10, 4, 35)) for _ in range(10)}
    assert all(run_id.startswith("20250903_100435_") and len(run_id) == 24 for run_id in ids)
    assert len(ids) == 10


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_json(path, {"old": 1})

    def fail() -> None:
        with writing(path) as beside:
            beside.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert json.loads(path.read_text()) == {"old": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    status = Status(tmp_path / "status.json", "run")
    status.update(event=True)
    stop = threading.Event()

    def write() -> None:
        step = 0
        while not stop.is_set():
            step += 1
            status.update(event=True, current_step=step)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = [json.loads((tmp_path / "status.json").read_text())["current_step"] for _ in range(500)]
    finally:
        stop.set()
        writer.join()
    assert seen == sorted(seen)


def test_a_status_has_no_other_fields(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        Status(tmp_path / "status.json", "run").update(curent_step=1)


def test_a_finished_status_can_be_amended(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    amend_status(path, pass_at_2=0.5)
    assert not path.exists()
    Status(path, "run").update(event=True, state="finished")
    amend_status(path, pass_at_2=0.5)
    assert json.loads(path.read_text())["pass_at_2"] == 0.5
    assert json.loads(path.read_text())["state"] == "finished"


def test_metrics_are_readable_while_they_grow(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with Metrics(path) as metrics:
        for step in range(3):
            metrics.log(step=step)
            assert [row["step"] for row in read_lines(path)] == list(range(step + 1))


def test_lines_that_are_no_json_are_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_lines(path, [{"a": 1}, {"a": 2}])
    assert read_lines(path) == [{"a": 1}, {"a": 2}]
    path.write_text("{")
    with pytest.raises(UserError, match="not one JSON object a line"):
        read_lines(path)


def test_a_run_folder_keeps_its_configuration(tmp_path: Path) -> None:
    folder = create_run(tmp_path / "runs", {"name": "x", "seed": 3})
    assert RunFolder(folder.path).config() == {"name": "x", "seed": 3}
    with pytest.raises(UserError, match="no run here"):
        RunFolder(tmp_path).config()


def test_checkpoints_come_back_as_they_were(tmp_path: Path) -> None:
    weights = {"w": torch.randn(3, 4), "b": torch.arange(3)}
    for step in (9, 10):
        save_checkpoint(tmp_path / "checkpoints" / f"step-{step:08d}", weights, CARD)
    folder = find_checkpoint(tmp_path)
    assert folder.name == "step-00000010"
    assert find_checkpoint(folder) == folder
    assert read_card(folder) == CARD
    assert read_card(folder).rows() == {"a": 1, "b": 2}
    loaded = read_weights(folder)
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)


def test_a_checkpoint_can_be_written_over(tmp_path: Path) -> None:
    for value in (1.0, 2.0):
        save_checkpoint(tmp_path / "best", {"w": torch.full((2,), value)}, CARD)
    assert read_weights(tmp_path / "best")["w"].tolist() == [2.0, 2.0]
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_missing_checkpoints_and_cards_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no checkpoint here"):
        find_checkpoint(tmp_path)
    save_checkpoint(tmp_path / "c", {"w": torch.zeros(1)}, CARD)
    (tmp_path / "c" / "checkpoint.json").write_text("{}")
    with pytest.raises(UserError, match="missing or damaged"):
        read_card(tmp_path / "c")
