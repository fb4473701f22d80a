"""The list of runs and the pages of runs in a browser. Skipped without Chromium and playwright."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hrm_arc.files import sealed_row, write_sealed_json
from hrm_arc.runs.folder import RunFolder
from tests.made import made_run
from tests.studio.conftest import Served
from tests.studio.pages import open_view

LOSS = "loss of the answer, nats per cell"


def training(steps: Sequence[int]) -> list[dict[str, Any]]:
    return [{"kind": "train", "step": n, "seconds": 1.0 * n, "loss": 1 / n, "token_accuracy": 0.5} for n in steps]


def overlay(page: Any, *keys: str) -> None:
    page.evaluate("keys => { location.hash = '#/run?' + keys.map(key => 'run=' + key).join('&'); }", list(keys))
    page.locator(f".card[data-run='{keys[-1]}']").wait_for()


def test_deleted_runs_leave_the_list(page: Any, runs: Path, studio: Served) -> None:
    for name in ("stays", "also", "first", "second"):
        made_run(runs / name, name=name)
    for name in ("stays", "also", "first", "second"):
        page.get_by_label(f"overlay {name}").check()
    page.get_by_role("button", name="overlay 4 runs").wait_for()
    shutil.rmtree(runs / "first")
    page.get_by_role("button", name="overlay 3 runs").wait_for()
    assert page.locator("tr[data-run=first]").count() == 0
    # A page that is hidden follows nothing; what it is told first when it is seen again is everything there is.
    hide = """hidden => {
        Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(hide, True)
    shutil.rmtree(runs / "second")
    said = json.dumps({"content": studio.get("/api/runs").json(), "whole": True})
    events = {"content_type": "text/event-stream", "body": f"data: {said}\n\n"}
    page.route("**/api/runs/events", lambda route: route.fulfill(**events))
    page.evaluate(hide, False)
    page.get_by_role("button", name="overlay 2 runs").wait_for()
    assert page.locator("tr[data-run=second]").count() == 0
    for name in ("stays", "also"):
        shutil.rmtree(runs / name)


def test_a_drag_over_a_run_that_trains(page: Any, runs: Path) -> None:
    status = {"state": "running", "current_step": 9}
    run = made_run(runs / "dragged", status, training(range(1, 10)), name="dragged")
    overlay(page, "dragged")
    box = page.get_by_label(LOSS).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 30, box["y"] + 50)
    grow(run, status, 10)
    page.locator(".facts dd", has_text="10 of 9").wait_for()
    page.mouse.up()
    page.locator(".section-head .note", has_text="steps 4 to").wait_for()
    # A press that is no drag draws what came meanwhile.
    page.get_by_role("button", name="whole run").click()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 50)
    page.mouse.down()
    grow(run, status, 12)
    page.locator(".facts dd", has_text="12 of 9").wait_for()
    page.mouse.up()
    page.get_by_label(f"{LOSS}: dragged 0.0833").wait_for()


def grow(run: RunFolder, status: dict[str, Any], step: int) -> None:
    with run.metrics_file.open("a") as file:
        file.writelines(map(sealed_row, training([step])))
    write_sealed_json(run.status_file, {**status, "current_step": step})


def test_a_run_that_is_to_think_is_not_forgotten(page: Any, runs: Path) -> None:
    link = page.get_by_role("link", name="let this run think about a task")
    made_run(runs / "bare", name="bare")
    overlay(page, "bare")
    assert link.count() == 0 or not link.is_visible()
    overlay(page, "trained")
    link.click()
    page.get_by_role("link", name="find one").click()
    page.locator(".thumb").first.click()
    page.locator("select[name=model]").wait_for()
    assert page.locator("select[name=model]").input_value() == "run:trained"
    # A choice lasts, too, and a run that cannot think is named.
    page.select_option("select[name=model]", "weights:arc1-cpu")
    open_view(page, "Editor")
    page.get_by_role("button", name="let a model think").click()
    assert page.locator("select[name=model]").input_value() == "weights:arc1-cpu"
    page.evaluate("location.hash = '#/think?model=run%3Abare'")
    page.locator("#message", has_text="run:bare: it has no checkpoint").wait_for()


def test_token_accuracy_of_training_and_of_validation_are_two_charts(page: Any, runs: Path) -> None:
    scores = {"exact_accuracy": 0.0, "token_accuracy": 0.7}
    status = {"state": "finished", "current_step": 5, "baselines": {"pad_only": scores, "copy_input": scores}}
    rows = [*training(range(1, 6)), {"kind": "validation", "step": 5, "exact_accuracy": 0.0, "token_accuracy": 0.9}]
    made_run(runs / "scores", status, rows, name="scores")
    overlay(page, "scores")
    trained = page.get_by_label("token accuracy, cells that matter: scores 0.5")
    scored = page.get_by_label("token accuracy, 900 cells, padding included: scores 0.9")
    scored.wait_for()
    assert [each.locator("circle").count() for each in (trained, scored)] == [0, 1]
    assert trained.locator(".baseline").count() == 0
    assert scored.locator(".baseline title").all_text_contents() == ["padding everywhere", "copy of the input"]


def test_overlaid_runs_of_one_recipe(page: Any, runs: Path) -> None:
    for number, end in enumerate((5, 9, 9, 9, 9, 7)):
        name = "twin" if number < 5 else "other"
        made_run(
            runs / f"twin-{number}", {"state": "finished", "current_step": end}, training(range(1, end)), name=name
        )
    overlay(page, "twin-0", "twin-1", "twin-5")
    assert page.locator("h1").inner_text() == "twin-0 and twin-1 and other"
    assert page.locator(".card strong").all_text_contents() == ["twin-0", "twin-1", "other"]
    assert page.locator(".about h2").all_text_contents() == ["twin-0", "twin-1", "other"]
    assert page.locator("thead th").all_text_contents() == ["key", "twin-0", "twin-1", "other"]
    # Beyond its last step a run has no value, and the chart stays where it is.
    overlay(page, *(f"twin-{number}" for number in range(6)))
    for width in (1200, 360):
        page.set_viewport_size({"width": width, "height": 800})
        chart = page.get_by_label(LOSS)
        chart.scroll_into_view_if_needed()
        before = chart.bounding_box()
        page.mouse.move(before["x"] + before["width"] - 12, before["y"] + 50)
        read = page.locator(".readout").first
        read.filter(has_text="step 8: –  0.125  0.125  0.125  0.125  –").wait_for()
        assert chart.bounding_box() == before
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_run_that_is_resumed_says_so_until_it_goes_on(page: Any, runs: Path) -> None:
    status = {"state": "interrupted", "current_step": 2}
    run = made_run(runs / "resumed", status, name="resumed")
    asked: list[Any] = []
    page.route("**/api/runs/resume", lambda route: asked.append(route))
    overlay(page, "resumed")
    page.get_by_role("button", name="resume").click()
    resuming = page.get_by_role("button", name="resuming", disabled=True)
    resuming.wait_for()
    # Also when the card is drawn anew.
    write_sealed_json(run.status_file, {**status, "current_step": 3})
    page.locator(".facts dd", has_text="3 of 9").wait_for()
    resuming.click(force=True)
    assert resuming.evaluate("each => each === document.activeElement")
    asked[0].fulfill(json={})
    page.get_by_role("button", name="resume", exact=True, disabled=False).wait_for()
    assert len(asked) == 1


def test_a_part_of_the_time_keeps_its_color(page: Any, runs: Path) -> None:
    status = {"state": "running", "current_step": 2, "timing": {"forward": 0.6, "backward": 0.4}}
    run = made_run(runs / "timed", status, name="timed")
    overlay(page, "timed")
    color = "all => Object.fromEntries(all.map(each => [each.textContent.split(' ')[0], each.firstChild.className]))"
    legend = page.locator(".legend > span")
    before = legend.evaluate_all(color)
    assert len(set(before.values())) == 2
    write_sealed_json(run.status_file, {**status, "timing": {"forward": 0.4, "backward": 0.6}})
    legend.filter(has_text="backward 60%").wait_for()
    assert legend.evaluate_all(color) == before


def test_keys_of_a_new_run_come_with_a_value(page: Any) -> None:
    asked: list[Any] = []
    page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/start") else None)
    page.get_by_text("Start a run").click()
    changes = page.get_by_label("other keys, one a line")
    for line in ("training.max_steps", "training.max_steps 5 6", "= 5", "optimizer.lr="):
        changes.fill(f"model.hidden_size 16\n{line}")
        page.get_by_role("button", name="start").click()
        page.locator("#message", has_text=f"{line}: expected a key and one value").wait_for()
    assert asked == []
