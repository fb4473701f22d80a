from __future__ import annotations

import itertools
import json
import os
import resource
import shutil
import threading
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import torch

from hrm_arc.errors import ReportedError, UserError
from hrm_arc.files import atomic_write, exclusive_lock, sealed_row, write_json, write_lines, write_sealed_json
from hrm_arc.reading import read_bytes, read_lines
from hrm_arc.runs import metrics as metrics_module
from hrm_arc.runs.card import Card
from hrm_arc.runs.checkpoint import (
    BEST,
    LATEST,
    TRAINING,
    WEIGHTS,
    find_checkpoint,
    list_checkpoints,
    prune_checkpoints,
    read_card,
    read_tensors,
    remove_unfinished,
    save_checkpoint,
)
from hrm_arc.runs.folder import RunFolder, create_run, new_run_id
from hrm_arc.runs.metrics import Metrics, read_history, read_metrics
from hrm_arc.runs.status import Status, amend_status, read_status

CARD = Card(
    "grid-hrm",
    {"h_layers": 1},
    ["a", "b"],
    "cropped",
    True,
    ["x"],
    [],
    1,
    1,
    0,
    [],
    7,
    "20250903_100435_3652c9d8",
    {},
)


def test_run_ids_are_in_the_logs_form() -> None:
    ids = {new_run_id(datetime(2025, 9, 3, 10, 4, 35)) for _ in range(10)}
    assert all(run_id.startswith("20250903_100435_") and len(run_id) == 24 for run_id in ids)
    assert len(ids) == 10


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_json(path, {"old": 1})

    def fail() -> None:
        with atomic_write(path) as beside:
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
    assert len(set(seen)) > 1


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
        for step in range(1, 4):
            metrics.log(**train_row(step))
            assert [row["step"] for row in read_lines(path)] == list(range(1, step + 1))


def test_damaged_rows_are_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_lines(path, [{"a": 1}, {"a": 2}])
    assert read_lines(path) == [{"a": 1}, {"a": 2}]
    good = path.read_text()
    for bad, what in (
        (good + "{", "line 3: not JSON"),
        (good + "[]\n", "line 3: a list, expected an object"),
        (good.replace('"a": 2', '"a": 3'), "line 2: its checksum is not that of its content"),
        ('{"a": 1}\n', "line 1: has no checksum"),
        (good + "[" * 100_000 + "\n", "line 3: nested too deeply"),
    ):
        path.write_text(bad)
        with pytest.raises(UserError, match=what):
            read_lines(path)


def test_a_run_folder_keeps_its_configuration(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recipe = {"name": "x", "seed": 3, "model": {"name": "m"}, "training": {"max_steps": 5}}
    folder = create_run(tmp_path / "runs", recipe)
    assert RunFolder(folder.path).config() == recipe
    assert caplog.messages == []
    with pytest.raises(UserError, match="no run here"):
        RunFolder(tmp_path).config()
    text = folder.config_file.read_text()
    folder.config_file.write_text(text.replace("max_steps: 5", "max_steps: 6"))
    assert folder.config()["training"]["max_steps"] == 6
    assert caplog.messages == [f"{folder.config_file} was edited or damaged after the run had started"]
    bomb = "a: &a [1, 1]\nb: [*a, *a]\n"
    for damage, what in (
        ("{]", "not YAML"),
        ("- 1", "damaged: holds a list"),
        (bomb, "aliases"),
        ("[" * 10**5, "deeply"),
        (f"{text}note: 2025-01-01\n", "damaged: note is date, expected text, numbers or lists of them"),
        (f"{text}more: {{a: {{1: x}}}}\n", "damaged: more.a has the key 1, expected text"),
    ):
        folder.config_file.write_text(damage)
        with pytest.raises(UserError, match=what):
            folder.config()


def saved(root: Path, step: int, kind: str = LATEST) -> Path:
    weights = {"w": torch.full((3, 4), float(step)), "b": torch.arange(3)}
    return save_checkpoint(root / "checkpoints", kind, replace(CARD, step=step), weights, {"m": torch.zeros(2)})


def test_checkpoints_come_back_as_they_were(tmp_path: Path) -> None:
    for step in (9, 10):
        saved(tmp_path, step)
    folder, damaged = find_checkpoint(tmp_path)
    assert (folder.name, damaged) == ("step-00000010", [])
    assert find_checkpoint(folder) == (folder, [])
    assert read_card(folder) == replace(CARD, step=10)
    assert read_card(folder).rows() == {"a": 1, "b": 2}
    loaded = read_tensors(folder, WEIGHTS)
    assert torch.equal(loaded["w"], torch.full((3, 4), 10.0))
    assert torch.equal(loaded["b"], torch.arange(3))
    assert set(read_tensors(folder, TRAINING)) == {"m"}


def test_a_card_with_a_thousand_symmetries_of_each_task_is_read() -> None:
    """As an import of a published model with all its variants writes it."""
    symmetries = {"a": "00123456789" * 1001}
    card = Card("hrm", {}, ["a"], "full", True, [], [], 1, 1001, 0, [], 5, "run", {}, symmetries=symmetries)
    assert Card.from_json(card.as_json()) == card
    with pytest.raises(ValueError, match="more than 1000 variants"):
        Card.from_json({**card.as_json(), "variants": 1000})


@pytest.mark.parametrize("probability", [0, 1, -0.5, True, "0.5", None, float("nan")])
def test_a_card_whose_halting_probability_is_none_is_refused(probability: object) -> None:
    assert Card.from_json(replace(CARD, halt_at=0.95).as_json()).halt_at == 0.95
    with pytest.raises(ValueError, match="halt_at"):
        Card.from_json({**CARD.as_json(), "halt_at": probability})


@pytest.mark.parametrize("name", [WEIGHTS, TRAINING, "checkpoint.json"])
@pytest.mark.parametrize("damage", ["cut", "altered", "removed"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(name: str, damage: str, tmp_path: Path) -> None:
    good, bad = saved(tmp_path, 1), saved(tmp_path, 2)
    content = (bad / name).read_bytes()
    if damage == "removed":
        (bad / name).unlink()
    else:
        middle = len(content) // 2
        other = bytes([content[middle] ^ 1])
        (bad / name).write_bytes(
            content[:middle] if damage == "cut" else content[:middle] + other + content[middle + 1 :]
        )
    folder, damaged = find_checkpoint(tmp_path)
    assert folder == good
    assert len(damaged) == 1
    assert all(name in str(error) for error in damaged)


@pytest.mark.parametrize("place", ["file", "link", "nothing"])
def test_a_newest_checkpoint_that_is_no_folder_is_named(place: str, tmp_path: Path) -> None:
    good, bad = saved(tmp_path, 1), saved(tmp_path, 2)
    write_sealed_json(tmp_path / "status.json", {"last_checkpoint": f"checkpoints/{bad.name}"})
    bad.rename(tmp_path / "elsewhere")
    make = {"file": bad.touch, "link": lambda: bad.symlink_to(tmp_path / "elsewhere"), "nothing": lambda: None}
    make[place]()
    folder, damaged = find_checkpoint(tmp_path)
    assert (folder, [error.where for error in damaged]) == (good, [str(bad)])


def test_old_checkpoints_are_pruned_and_the_best_are_apart(tmp_path: Path) -> None:
    root = tmp_path / "checkpoints"
    for step in range(5):
        prune_checkpoints(saved(tmp_path, step), 3)
        prune_checkpoints(saved(tmp_path, step, BEST), 1)
    assert [path.name for path in list_checkpoints(root, LATEST)] == [f"step-{step:08d}" for step in (2, 3, 4)]
    assert [path.name for path in list_checkpoints(root, BEST)] == ["best-00000004"]


def test_a_kill_while_a_checkpoint_is_removed_leaves_no_half_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed_half_way(folder: Path, *arguments: Any, **keywords: Any) -> None:
        (Path(folder) / "checkpoint.json").unlink()
        raise SystemExit

    first, second = saved(tmp_path, 1), saved(tmp_path, 2)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", killed_half_way)
        with pytest.raises(SystemExit):
            prune_checkpoints(second, 1)
    assert not first.exists()
    root = second.parent
    assert list_checkpoints(root, LATEST) == [second]
    remove_unfinished(root)
    assert list(root.iterdir()) == [second]


def test_what_was_just_written_is_never_pruned(tmp_path: Path) -> None:
    root = tmp_path / "checkpoints"
    for kind in (LATEST, BEST):
        # A later one is damaged, or from steps that a resumed run has yet to do.
        for step in (15, 19):
            saved(tmp_path, step, kind)
        os.mkfifo(root / f"{kind}-00000099")
        prune_checkpoints(saved(tmp_path, 16, kind), 1)
        assert [path.name for path in list_checkpoints(root, kind)] == [f"{kind}-00000016"]


def test_a_failed_checkpoint_leaves_the_one_before_and_no_litter(tmp_path: Path) -> None:
    good = saved(tmp_path, 1)
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, kept[1]))
    try:
        with pytest.raises(ReportedError, match="cannot be written"):
            saved(tmp_path, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)
    assert list((tmp_path / "checkpoints").iterdir()) == [good]


def train_row(step: int) -> dict[str, object]:
    return {"kind": "train", "step": step, "seconds": 1.0 * step, "loss": 1 / step}


def test_damaged_rows_of_metrics_are_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "metrics.jsonl"
    rows = [sealed_row(train_row(step)) for step in range(1, 6)]
    flipped = rows[2].replace('"step": 3', '"step": 7')
    path.write_text(rows[0] + rows[1][:20] + "\n" + flipped + "[]\n5\nnull\n" + rows[3] + rows[4][:-5])
    assert [row["step"] for row in read_metrics(path)] == [1, 4]
    assert "line 2: not JSON" in caplog.messages[0]
    assert "(and 5 more)" in caplog.messages[0]


def test_a_large_file_of_metrics_is_thinned_and_keeps_validations_and_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "metrics.jsonl"
    with path.open("w") as file:
        for step in range(1, 20_001):
            file.write(sealed_row(train_row(step)))
            if step % 1000 == 0:
                file.write(sealed_row({"kind": "validation", "step": step, "exact_accuracy": 0.5}))
    monkeypatch.setattr(metrics_module, "SMALL_FILE", 1000)
    history = read_history(path)
    assert history.damaged == []
    steps = [row["step"] for row in history.rows if row["kind"] == "train"]
    assert steps == sorted(set(steps))
    assert steps[0] == 1
    assert steps[-100:] == list(range(19_901, 20_001))
    assert max(after - before for before, after in itertools.pairwise(steps)) <= 20
    assert [row["step"] for row in history.rows if row["kind"] == "validation"] == list(range(1000, 20_001, 1000))


def test_a_folder_is_claimed_once(tmp_path: Path) -> None:
    again = exclusive_lock(tmp_path, "training")
    with exclusive_lock(tmp_path, "training"), pytest.raises(UserError, match="another process is training it"):
        again.__enter__()
    with exclusive_lock(tmp_path, "training"):
        pass


def test_a_full_disk_is_told_in_one_line(tmp_path: Path) -> None:
    # /dev/full refuses every write with the error of a full disk.
    def fill() -> None:
        with atomic_write(tmp_path / "x") as beside:
            beside.symlink_to("/dev/full")
            beside.write_text("text")

    with pytest.raises(ReportedError, match="No space left on device") as caught:
        fill()
    assert caught.value.status == 1, "nobody's mistake"
    assert list(tmp_path.iterdir()) == []


def test_missing_checkpoints_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no checkpoint here"):
        find_checkpoint(tmp_path)


def test_metrics_drop_rows_that_will_be_written_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with Metrics(path) as metrics:
        for step in range(1, 6):
            metrics.log(**train_row(step))
    with path.open("a") as file:
        file.write('{"step": 6, "lo')  # What a killed process leaves.
    assert [row["step"] for row in read_metrics(path)] == [1, 2, 3, 4, 5]
    with Metrics(path, after=3) as metrics:
        metrics.log(**train_row(4))
    assert [row["step"] for row in read_metrics(path)] == [1, 2, 3, 4]
    with Metrics(path, after=0):
        pass
    assert path.read_bytes() == b""


@pytest.mark.parametrize("field", ["state", "current_step", "best", "last_update"])
@pytest.mark.parametrize("value", [[], 5.5, "text", {"a": 1}, True])
def test_a_status_with_a_wrong_type_is_damaged(field: str, value: object, tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    Status(path, "run").update(event=True, state="finished", current_step=3)
    fields = {key: each for key, each in json.loads(path.read_text()).items() if key != "crc32"}
    fits = {"state": str, "current_step": int, "best": dict, "last_update": str}[field]
    write_sealed_json(path, {**fields, field: value})
    found = read_status(path)
    if isinstance(value, fits) and not isinstance(value, bool):
        assert found[field] == value
    else:
        assert found["state"] == "damaged"
        assert field in found["message"]


@pytest.mark.parametrize("text", ["[]", "5", "null", "{", "", "[" * 100_000, '{"state": "running"}'])
def test_a_status_that_is_something_else_is_damaged(text: str, tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    path.write_text(text)
    assert read_status(path)["state"] == "damaged"
    Status(path, "run").update(event=True)
    assert read_status(path)["state"] == "running", "a run that goes on writes it anew"


def test_a_fifo_or_device_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    os.mkfifo(path)
    assert "not a regular file" in read_status(path)["message"]
    path.unlink()
    path.symlink_to("/dev/zero")
    assert "link out of" in read_status(path)["message"]
    with pytest.raises(UserError, match="not a regular file"):
        read_bytes(Path("/dev/zero"))
