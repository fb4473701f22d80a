"""Jobs: whatever happens to the process of one, it ends with a named error, and the server goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from hrm_arc.puzzles.formats import task_json
from hrm_arc.puzzles.sources import load_tasks
from tests.studio.conftest import Served

LONG = {"votes": 4, "seconds": 500}


@pytest.fixture(scope="module")
def task(runs: Path) -> dict[str, Any]:
    (first, *_) = load_tasks(str(runs.parent / "flips"))
    return {"id": first.id, **task_json(first)}


def order(task: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return {"model": "run:trained", "task": task, "votes": 4, **settings}


def events(studio: Served, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    headers = {"Origin": studio.origin}
    with httpx.stream("POST", f"{studio.origin}/api/think", json=body, headers=headers, timeout=300) as answer:
        for line in answer.iter_lines():
            yield json.loads(line)


def until(found: Iterator[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(event for event in found if event["event"] == name)


def workers(studio: Served) -> list[int]:
    """The processes of jobs that a studio has."""
    children = Path(f"/proc/{studio.process.pid}/task/{studio.process.pid}/children")
    if not children.exists():
        pytest.skip("needs /proc")
    return [int(each) for each in children.read_text().split()]


def gone(studio: Served) -> bool:
    end = time.monotonic() + 60
    while workers(studio) and time.monotonic() < end:
        time.sleep(0.1)
    return workers(studio) == []


def test_a_job_from_the_queue_to_the_comparison(studio: Served, task: dict[str, Any]) -> None:
    found = list(events(studio, order(task)))
    names = [event["event"] for event in found]
    assert names[:3] == ["job", "loading", "model"]
    assert names[-1] == "done"
    segments = [event for event in found if event["event"] == "segment"]
    assert [event["segment"] for event in segments] == list(range(1, len(segments) + 1))
    assert all(0 <= event["halting"] <= 1 for event in segments)
    assert segments[-1]["halted"] is True
    votes = [event for event in found if event["event"] == "votes"]
    assert votes[-1]["done"] == votes[-1]["of"] == 4
    (answer,) = [event for event in found if event["event"] == "answer"]
    assert len(answer["attempts"]) == len(found[-1]["tests"][0]) <= 2
    assert found[-1]["known"] == 1
    truth = task["test"][0]["output"]
    for attempt, verdict in zip(answer["attempts"], found[-1]["tests"][0], strict=True):
        assert verdict["right"] == (attempt["grid"] == truth)
        # Until the end nothing says how the attempts compare with the answer.
        assert attempt.keys() == {"grid", "share"}


def test_a_worker_never_sees_the_answer(studio: Served, task: dict[str, Any]) -> None:
    other = {**task, "test": [{**task["test"][0], "output": [[9] * 3] * 3}]}
    both = [[e for e in events(studio, order(each)) if e["event"] == "answer"] for each in (task, other)]
    assert both[0] == both[1]
    unknown = list(events(studio, order({**task, "test": [{"input": task["test"][0]["input"]}]})))
    assert (unknown[-1]["known"], unknown[-1]["tests"][0][0]["right"]) == (0, None)


def test_learning_shows_progress_and_stops_on_request(studio: Served, task: dict[str, Any]) -> None:
    found = events(studio, order(task, **LONG))
    job = until(found, "job")["job"]
    assert until(found, "learning")["step"] >= 1
    assert studio.post("/api/think/stop", {"job": "no-such-job"}).status_code == 404
    assert studio.post("/api/think/stop", {"job": job}).status_code == 200
    assert until(found, "learned")["stopped"] is True
    assert until(found, "done")["known"] == 1


def test_a_closed_page_ends_its_job_and_the_next_one_begins(studio: Served, task: dict[str, Any]) -> None:
    first = events(studio, order(task, **LONG))
    until(first, "learning")
    second = events(studio, order(task))
    assert until(second, "queued")["before"] == 1
    first.close()  # type: ignore[attr-defined]
    assert until(second, "done")
    assert gone(studio)


def test_a_job_that_is_killed_ends_in_a_named_error(studio: Served, task: dict[str, Any]) -> None:
    found = events(studio, order(task, **LONG))
    until(found, "learning")
    (worker,) = workers(studio)
    os.kill(worker, signal.SIGKILL)
    error = until(found, "error")
    assert error["where"] == "memory"
    assert "killed" in error["what"]
    assert list(found) == []
    assert until(events(studio, order(task)), "done")


def test_a_job_that_runs_out_of_memory_ends_in_a_named_error(runs: Path, task: dict[str, Any]) -> None:
    served = Served(runs, "--job-memory", "0.05", cwd=runs.parent)
    try:
        for _ in range(2):
            error = until(events(served, order(task)), "error")
            assert error["where"] == "memory", error
        assert served.is_up()
    finally:
        served.end()


def test_a_model_that_was_replaced_meanwhile_is_named(tmp_path: Path, runs: Path, task: dict[str, Any]) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    from hrm_arc.deploy.export import export

    root = tmp_path / "runs"
    shutil.copytree(runs / "trained", root / "trained")
    file = root / "model.onnx"
    export(root / "trained", file)
    served = Served(root, cwd=tmp_path)
    try:
        (key,) = [each["key"] for each in served.get("/api/models").json() if each["kind"] == "file"]
        assert until(events(served, order(task, model=key)), "done")
        learning = events(served, order(task, **LONG))
        until(learning, "learning")
        waiting = events(served, order(task, model=key))
        until(waiting, "queued")
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(content)
        learning.close()  # type: ignore[attr-defined]
        error = until(waiting, "error")
        assert error["where"] == "model.onnx"
        assert "replaced" in error["what"]
        file.write_bytes(content[:1000])
        assert until(events(served, order(task, model=key)), "error")["where"].endswith("model.onnx")
        file.unlink()
        gone = served.post("/api/think", order(task, model=key))
        assert (gone.status_code, gone.json()["error"]["where"]) == (404, "model")
        assert served.is_up()
    finally:
        served.end()


def test_an_end_in_the_middle_of_a_job_leaves_nothing_behind(runs: Path, task: dict[str, Any]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
        served = Served(runs, cwd=runs.parent)
        found = events(served, order(task, **LONG))
        until(found, "learning")
        (worker,) = workers(served)
        status, said = served.end(number)
        if number == signal.SIGKILL:
            with pytest.raises(httpx.HTTPError):
                list(found)
        else:
            assert status == 130, said
            assert "Traceback" not in said
        end = time.monotonic() + 60
        while Path(f"/proc/{worker}").exists() and time.monotonic() < end:
            time.sleep(0.1)
        assert not Path(f"/proc/{worker}").exists()


@pytest.mark.parametrize(
    ("change", "where", "what"),
    [
        ({"train": [{"input": [[0] * 31] * 31, "output": [[0]]}]}, "task", "31 rows, expected 1 to 30"),
        ({"train": [{"input": [[0]], "output": [[0]]}] * 10_000}, "task", "10,001 pairs"),
        ({"train": []}, "task", "empty"),
        ({"test": [{"input": [[10]]}]}, "task", "color 10"),
        ({"id": ""}, "task", "empty name"),
        ({"id": "x" * 300}, "task", "300 characters"),
        ({"id": None}, "task", "name"),
    ],
)
def test_tasks_that_are_refused(
    studio: Served, task: dict[str, Any], change: dict[str, Any], where: str, what: str
) -> None:
    answer = studio.post("/api/think", order({**task, **change}))
    assert answer.status_code == 400
    assert answer.json()["error"]["where"] == where
    assert what in answer.json()["error"]["what"]


@pytest.mark.parametrize(
    "settings", [{"votes": 0}, {"votes": 10**9}, {"votes": "x"}, {"seconds": -1}, {"seconds": 1e9}]
)
def test_settings_that_are_refused(studio: Served, task: dict[str, Any], settings: dict[str, Any]) -> None:
    answer = studio.post("/api/think", order(task, **settings))
    assert (answer.status_code, answer.json()["error"]["where"]) == (400, next(iter(settings)))


def test_a_run_is_started_stopped_and_resumed(runs: Path, tmp_path: Path) -> None:
    served = Served(tmp_path / "runs", "--tasks", runs.parent / "flips", cwd=tmp_path)
    try:
        changes = {"data.solve": str(runs.parent / "flips"), "data.smallest": 0, "training.max_steps": 100_000}
        tiny = {
            "model.hidden_size": 16,
            "training.batch_size": 4,
            "training.log_every": 1,
            "training.precision": "32-true",
        }
        begun = served.post("/api/runs/start", {"recipe": "quickstart", "changes": {**changes, **tiny}})
        assert begun.status_code == 200, begun.text
        run = begun.json()["run"]

        def row() -> dict[str, Any]:
            return served.get("/api/runs").json()[run]

        def reaches(state: str, step: int) -> bool:
            end = time.monotonic() + 120
            while time.monotonic() < end:
                now = row()
                if now["state"] == state and (now["step"] or 0) >= step:
                    return True
                time.sleep(0.2)
            return False

        assert reaches("running", 3)
        assert row()["ours"] is True
        assert served.post("/api/runs/stop", {"run": run}).status_code == 200
        assert reaches("interrupted", 3)
        at = row()["step"]
        # A second click while the first one loads torch changes nothing, nor does one while the run goes on.
        with ThreadPoolExecutor(2) as pool:
            clicks = [pool.submit(served.post, "/api/runs/resume", {"run": run}) for _ in range(2)]
            assert sorted(click.result().status_code for click in clicks) == [200, 409]
        assert reaches("running", at + 2)
        assert served.post("/api/runs/resume", {"run": run}).status_code == 409
        assert row()["ours"] is True
        # The end of the studio saves what it has started.
        status, said = served.end(signal.SIGINT)
        assert (status, "Traceback" in said) == (130, False)
        saved = json.loads((tmp_path / "runs" / run / "status.json").read_text())
        assert saved["state"] == "interrupted"
        assert saved["current_step"] > at
    finally:
        served.end()
