"""What the server computes of runs: bounded reading, lists that are read once, charts."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrm_arc.files import sealed_row, write_sealed_json, write_text
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.report.listing import RunList, run_rows
from hrm_arc.runs import metrics
from hrm_arc.runs.metrics import read_between
from hrm_arc.studio import run_view
from hrm_arc.studio.curves import Columns, charts
from hrm_arc.studio.exchange import RefusedError, to_json
from hrm_arc.studio.places import key_of
from hrm_arc.studio.run_view import Followers, report_page, report_picture
from hrm_arc.studio.tasks import check, judge
from tests.made import made_run, scored_run


def written(path: Path, steps: list[int], extra: str = "") -> Path:
    rows = [sealed_row({"kind": "train", "step": step, "seconds": 1.0 * step, "loss": 1.0}) for step in steps]
    path.write_text("".join(rows) + extra)
    return path


@given(st.sets(st.integers(1, 300), max_size=60), st.integers(0, 310), st.integers(0, 310))
def test_a_range_of_steps_has_exactly_its_rows(steps: set[int], first: int, last: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder) / "metrics.jsonl", sorted(steps))
        found = [row["step"] for row in read_between(path, first, last, most=1000)]
    assert found == [step for step in sorted(steps) if first <= step <= last]


def test_a_large_range_is_thinned_and_a_damaged_row_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "metrics.jsonl", list(range(1, 5001)), extra='{"kind": "train", "st')
    assert [row["step"] for row in read_between(path, 4998, 9999)] == [4998, 4999, 5000]
    monkeypatch.setattr(metrics, "RANGE_BYTES", 1000)
    found = [row["step"] for row in read_between(path, 1001, 4000, most=100)]
    assert 90 <= len(found) <= 110
    assert (found[0], found[-1] > 3900) == (1001, True)
    assert found == sorted(found)
    assert read_between(tmp_path / "none.jsonl", 0, 10) == []


def test_a_run_whose_files_stay_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [made_run(tmp_path / f"run{n}") for n in range(3)]
    listed = RunList(tmp_path)
    assert listed.rows() == run_rows(tmp_path)
    reads: list[str] = []
    kinds = type(runs[0])
    config, status = kinds.config, kinds.status
    monkeypatch.setattr(kinds, "config", lambda run: (reads.append(f"{run.run_id} recipe"), config(run))[1])
    monkeypatch.setattr(kinds, "status", lambda run: (reads.append(f"{run.run_id} status"), status(run))[1])
    listed.rows()
    assert reads == []
    write_sealed_json(runs[1].status_file, {"state": "finished", "current_step": 77})
    assert [row["step"] for row in listed.rows()] == [2, 77, 2]
    assert reads == ["run1 status"]
    write_text(runs[2].config_file, "name: [")
    assert [row["state"] for row in listed.rows()] == ["finished", "finished", "damaged"]
    for file in runs[0].path.iterdir():
        file.unlink()
    assert [row["run_id"] for row in listed.rows()] == ["run1", "run2"]


def test_recipes_that_there_was_no_time_for_are_read_next_time(tmp_path: Path) -> None:
    for n in range(3):
        made_run(tmp_path / f"run{n}", {"state": "finished", "current_step": n})
    listed = RunList(tmp_path)
    first = listed.rows(seconds=-1)
    assert [(row["state"], row["name"], row["step"]) for row in first] == [("reading", None, n) for n in range(3)]
    assert [row["name"] for row in listed.rows()] == ["made"] * 3


def test_charts_are_bounded_and_know_metrics_of_ones_own() -> None:
    rows: list[dict[str, Any]] = [
        {"kind": "train", "step": n, "seconds": 0.5 * n, "loss": 1 / n, "lr": None, "mine": 1.0} for n in range(1, 3001)
    ]
    rows.append({"kind": "validation", "step": 3000, "exact_accuracy": 0.25, "seconds": 3.0})
    drawn = charts(rows)
    by_key = {chart["key"]: chart for chart in drawn["charts"]}
    assert by_key.keys() == {"loss", "exact_accuracy", "mine"}
    steps, values, means = by_key["loss"]["train"]
    assert len(steps) == len(values) == len(means) <= 400
    assert (steps[0], steps[-1], drawn["last"]) == (1, 3000, 3000)
    assert np.allclose(values, [1 / step for step in steps], rtol=1e-4)
    assert by_key["exact_accuracy"]["validation"] == [[3000], [0.25]]
    assert by_key["loss"]["scale"] == "log"
    assert charts([{**rows[0], "loss": 0.0}])["charts"][0]["scale"] == "linear"
    assert charts([]) == {"charts": [], "time": [[], []], "last": None}


def test_runs_that_are_followed_say_whether_they_can_be_stopped_here(tmp_path: Path) -> None:
    here: list[str] = []
    runs = [made_run(tmp_path / name, {"state": "running", "current_step": 2}) for name in ("one", "two")]
    followers = Followers(runs, lambda: here)
    assert [each["status"]["ours"] for each in followers.read()] == [False, False]
    here.append("two")
    assert [each["status"]["ours"] for each in followers.read()] == [False, True]
    # One that cannot be read does not hide the other.
    runs[0].metrics_file.unlink()
    runs[0].metrics_file.mkdir()
    problem, other = followers.read()
    assert problem.keys() == {"problem"}
    assert problem["problem"]["where"] == str(runs[0].metrics_file)
    assert other["last"] == 2
    # Nor does one that is gone look like one that has not begun.
    shutil.rmtree(runs[0].path)
    assert followers.read()[0] == {"problem": {"where": "one", "what": "is gone: its folder was deleted or moved"}}


def test_numbers_that_are_not_finite_are_null() -> None:
    assert to_json({"a": [float("nan"), 1.5], "b": "\ud800"}) == b'{"a":[null,1.5],"b":"\\ud800"}'


@given(st.text(min_size=1, max_size=80))
def test_keys_of_runs_are_plain(name: str) -> None:
    key = key_of(name.replace("\x00", "x").encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape"))
    assert key.isascii()
    assert "/" not in key
    assert key not in (".", "..")


def test_answers_by_hand() -> None:
    assert judge([[1, 2]], [[1, 3]]) == {"verdict": "1 of 2 cells wrong", "right": False, "wrong": [[0, 1]]}
    assert judge([[1, 2]], [[1, 2]])["right"] is True
    assert judge([[1]], [[1, 2]]) == {"verdict": "1 x 1, should be 1 x 2", "right": False, "wrong": []}
    assert judge([[1]], None)["right"] is None
    with pytest.raises(RefusedError, match=r"answer\[0\]: 31 columns"):
        judge([[0] * 31], None)


def test_files_are_checked_by_their_text(tmp_path: Path) -> None:
    pair = '{"input": [[1]], "output": [[2]]}'
    good = check("x.json", f'{{"train": [{pair}], "test": [{pair}]}}')
    assert (good["problems"], [task["id"] for task in good["tasks"]]) == ([], ["x"])
    twice = check("x.json", f'{{"train": [{pair}], "train": [{pair}], "test": [{pair}]}}')
    assert "appears twice" in twice["problems"][0]["what"]
    with pytest.raises(RefusedError, match=r"10,001 pairs, the studio takes at most 100"):
        check("x.json", f'{{"train": [{",".join([pair] * 10_000)}], "test": [{pair}]}}')
    assert "expected a .json file" in check("/etc/passwd", "x")["problems"][0]["what"]
    # Challenges come without their solutions: nothing beside a file that was dropped is read.
    beside = tmp_path / "arc_solutions.json"
    beside.write_text('{"a": [[[9]]]}')
    alone = check(
        str(tmp_path / "arc_challenges.json"), f'{{"a": {{"train": [{pair}], "test": [{{"input": [[1]]}}]}}}}'
    )
    assert "output" not in alone["tasks"][0]["test"][0]


def test_charts_that_are_kept_are_those_of_all_rows() -> None:
    rows = [{"kind": "train", "step": n, "seconds": 1.0 * n, "loss": 1 / n} for n in range(1, 40)]
    kept = Columns()
    for end in (10, 10, 25, 39):
        kept.add(rows[:end])
        assert kept.last == end
        assert kept.column("train", "loss")[0].tolist() == list(range(1, end + 1))
    # A reader that thins its rows, and one that reads a file anew.
    for other in (rows[::2], [dict(row) for row in rows], rows[:3], []):
        kept.add(other)
        assert kept.column("train", "loss")[0].tolist() == [row["step"] for row in other]


def test_one_picture_at_a_time_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = made_run(tmp_path / "run")
    second = threading.Thread(target=report_picture, args=(run, "details"))

    def draw_curves(rows: object) -> str:
        # While this one is drawn, the other one does not come to its end.
        second.start()
        second.join(0.2)
        return "<svg/>" if second.is_alive() else "together"

    monkeypatch.setitem(run_view._PICTURES, "curves", draw_curves)
    monkeypatch.setitem(run_view._PICTURES, "details", lambda rows: "<svg/>")
    assert report_picture(run, "curves") != "together"
    second.join()


def test_a_report_links_only_pictures_that_there_are(tmp_path: Path) -> None:
    folder = scored_run(tmp_path / "scored", load_tasks("arc-agi-1/training")[:2])
    assert report_picture(folder, "details.svg") is None
    page = report_page(folder, "run=scored")
    assert ("/report/curves.svg?run=scored" in page, "details.svg" in page) == (True, False)
    with folder.metrics_file.open("a") as file:
        file.write(sealed_row({"kind": "train", "step": 4, "seconds": 240.0, "loss": 0.2, "lr": 0.1}))
    assert "learning rate" in (report_picture(folder, "details.svg") or "")
    assert "/report/details.svg?run=scored" in report_page(folder, "run=scored")
