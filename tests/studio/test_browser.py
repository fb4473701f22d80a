"""The studio in a browser, as people use it. Skipped without Chromium and playwright."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hrm_arc.files import sealed_row, write_sealed_json
from hrm_arc.studio.tasks import thumbnails
from tests.made import made_run
from tests.studio.conftest import Served
from tests.studio.pages import drop, open_view

# What each view shows comes after its title.
SHOWN = {"Runs": "tr[data-run]", "Tasks": ".task", "Editor": "canvas", "Think": "#view p a"}
HOSTILE = "<img src=x onerror=alert(1)> ../..\x1b[2J\u202e"


def test_tasks_are_found_by_name_kind_size_and_what_was_solved(page: Any) -> None:
    open_view(page, "Tasks")
    page.locator(".task").first.wait_for()
    tasks = thumbnails("arc-agi-1/training")
    page.select_option("select[aria-label=source]", "arc-agi-1/training")
    shown = page.locator(".task:not([hidden])")
    page.locator(".filters output", has_text=f"{len(tasks)} of {len(tasks)} tasks").wait_for()
    assert shown.count() == len(tasks) == 400
    page.select_option("select[aria-label=kind]", "cropping")
    cropping = [task["id"] for task in tasks if "cropping" in task["groups"]]
    assert shown.evaluate_all("all => all.map(each => each.dataset.task)") == cropping
    page.select_option("select[aria-label=size]", "10")
    small = [each["id"] for each in tasks if "cropping" in each["groups"] and max(each["height"], each["width"]) <= 10]
    assert shown.evaluate_all("all => all.map(each => each.dataset.task)") == small
    page.select_option("select[aria-label=size]", "")
    page.fill("input[aria-label=name]", cropping[0][:5].upper())
    assert shown.count() == 1
    page.fill("input[aria-label=name]", "")
    page.select_option("select[aria-label=kind]", "")
    page.select_option("select[aria-label=model]", "run:scored")
    page.locator(".filters output", has_text=" of 400 tasks").wait_for()
    page.locator("select[aria-label=outcome]").wait_for()
    solved = shown.count()
    page.select_option("select[aria-label=outcome]", "open")
    assert solved + shown.count() == 12


def test_what_the_shipped_weights_solved(page: Any) -> None:
    open_view(page, "Tasks")
    page.locator("select[aria-label=model] option[value='weights:arc1-cpu']").wait_for(state="attached")
    page.select_option("select[aria-label=source]", "arc-agi-1/evaluation")
    page.locator(".filters output", has_text="400 of 400").wait_for()
    page.locator(".task[data-task='00576224']").wait_for()
    page.select_option("select[aria-label=model]", "weights:arc1-cpu")
    about = json.loads((Path(__file__).parents[2] / "hrm_arc/weights/arc1-cpu/about.json").read_text())
    solved = len(about["scores"][0]["solved_tasks"])
    page.locator(".filters output", has_text=f"{solved} of 400 tasks").wait_for()


def test_a_live_run_grows(page: Any, runs: Path) -> None:
    row = {"kind": "train", "exact_accuracy": 0.1}
    rows = [{**row, "step": n, "seconds": 1.0 * n, "loss": 1 / n, "my_metric": 2.0} for n in range(1, 6)]
    status = {"state": "finished", "current_step": 5, "baselines": {"copy_input": {"exact_accuracy": 0.05}}}
    run = made_run(runs / "live", status, rows, name="growing")
    page.locator("tr[data-run=live] a").click()
    chart = page.get_by_label("loss of the answer, nats per cell")
    chart.wait_for()
    page.get_by_label("my metric").wait_for()
    before = chart.locator("path.line").last.get_attribute("d")
    with run.metrics_file.open("a") as file:
        file.writelines(sealed_row({**row, "step": n, "seconds": 1.0 * n, "loss": 1 / n}) for n in range(6, 12))
    write_sealed_json(run.status_file, {**status, "current_step": 11})
    page.locator(".facts dd", has_text="11 of 9").wait_for()
    grown = page.get_by_label("loss of the answer, nats per cell: growing 0.0909")
    grown.wait_for()
    after = grown.locator("path.line").last.get_attribute("d")
    assert (before.count("L"), after.count("L")) == (4, 10)
    assert grown.locator("path.line").first.get_attribute("d").count("M") == 1
    # Zoomed by keys: fewer steps; the whole run again.
    grown.focus()
    page.keyboard.press("+")
    page.locator(".section-head .note", has_text="steps 3 to 8").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="whole run").wait_for(state="hidden")


def test_zoom_stays_inside_of_the_run(page: Any, runs: Path) -> None:
    rows = [{"kind": "train", "step": n, "seconds": 1.0 * n, "loss": 1 / n} for n in range(100, 2001, 100)]
    made_run(runs / "sparse", {"state": "finished", "current_step": 2000}, rows, name="sparse")
    page.locator("tr[data-run=sparse] a").click()
    page.get_by_label("loss of the answer, nats per cell").focus()
    for _ in range(12):
        page.keyboard.press("+")
    # Between two rows there is nothing to draw.
    note = page.locator(".section-head .note")
    assert note.inner_text() == "steps 1,000 to 1,002"
    page.keyboard.press("ArrowLeft")
    assert note.inner_text() == "steps 999 to 1,001"
    for _ in range(4):
        page.keyboard.press("-")
    for _ in range(500):
        page.keyboard.press("ArrowRight")
    note.filter(has_text="to 2,000").wait_for()
    for _ in range(12):
        page.keyboard.press("-")
    page.get_by_role("button", name="whole run").wait_for(state="hidden")


def test_the_focus_stays_while_a_list_changes(page: Any, runs: Path) -> None:
    focused = "document.activeElement.getAttribute('aria-label')"
    status = {"state": "running", "current_step": 3}
    run = made_run(runs / "focused", {**status, "pid": None}, name="focused")
    page.get_by_label("overlay focused").focus()
    for step in (4, 5):
        write_sealed_json(run.status_file, {**status, "current_step": step})
        page.locator("tr[data-run=focused] td", has_text=f"{step} of 9").wait_for()
        assert page.evaluate(focused) == "overlay focused"
    made_run(runs / "newer", name="newer")
    page.locator("tr[data-run=newer]").wait_for()
    assert page.evaluate(focused) == "overlay focused"


def test_the_link_to_the_content_keeps_the_view(page: Any) -> None:
    open_view(page, "Editor")
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    page.locator("main:focus").wait_for()
    assert page.locator("h1").inner_text() == "Editor"


def test_a_source_that_cannot_be_read_shows_no_other_tasks(browser: Any, studio: Served) -> None:
    context = browser.new_context()
    page = context.new_page()
    context.set_default_timeout(60_000)
    refused = {"error": {"where": "arc-agi-1/evaluation", "what": "not today"}}
    page.route("**/api/tasks?source=arc-agi-1%2Fevaluation", lambda route: route.fulfill(status=400, json=refused))
    # The models come last, as they do on a slow machine.
    held: list[Any] = []
    page.route("**/api/models", lambda route: held.append(route))
    try:
        page.goto(studio.address)
        open_view(page, "Tasks")
        page.locator(".task").first.wait_for()
        page.select_option("select[aria-label=source]", "arc-agi-1/evaluation")
        page.locator("#message", has_text="arc-agi-1/evaluation: not today").wait_for()
        held[0].continue_()
        page.locator("select[aria-label=model] option[value='weights:arc1-cpu']").wait_for(state="attached")
        assert page.locator(".task").count() == 0
        assert page.locator(".filters output").inner_text() == "not readable"
        page.select_option("select[aria-label=source]", "arc-agi-1/training")
        page.locator(".filters output", has_text="400 of 400 tasks").wait_for()
    finally:
        context.close()


def test_two_runs_overlaid(page: Any, runs: Path) -> None:
    made_run(runs / "one", name="one")
    made_run(runs / "two", name="two")
    page.locator("tr[data-run=one]").wait_for()
    page.get_by_label("overlay one").check()
    page.get_by_label("overlay two").check()
    page.get_by_role("button", name="overlay 2 runs").click()
    page.locator("h1", has_text="one and two").wait_for()
    page.locator("path.line.c1").first.wait_for()
    assert page.locator("tr", has_text="name").locator("td").all_text_contents() == ["one", "two"]


def test_the_report_page_of_a_scored_run(page: Any, studio: Served) -> None:
    page.locator("tr[data-run=scored] a").click()
    page.get_by_role("link", name="report: gallery, breakdown, refinement").click()
    page.locator("section.answer").first.wait_for()
    page.wait_for_load_state()
    total = page.locator("section.answer").count()
    assert total >= 12
    page.select_option("select[name=group]", "same size")
    assert 0 < page.locator("section.answer:visible").count() < total
    assert (
        page.locator("img[alt='curves of training']").first.evaluate(
            "image => image.decode().then(() => image.naturalWidth)"
        )
        > 0
    )
    assert page.locator("svg.scale rect").count() > 0


def test_light_and_dark(page: Any) -> None:
    shade = "sum => getComputedStyle(document.body)[sum].match(/\\d+/g).slice(0, 3).reduce((a, b) => a + +b, 0)"

    def is_dark() -> bool:
        return page.evaluate(shade, "color") > page.evaluate(shade, "backgroundColor")

    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert is_dark() == (scheme == "dark")
    page.locator("#theme").click()
    assert (page.locator("#theme").inner_text(), is_dark()) == ("light", False)
    page.locator("#theme").click()
    assert (page.locator("#theme").inner_text(), is_dark()) == ("dark", True)
    page.reload()
    page.locator("h1").wait_for()
    assert is_dark()


@pytest.mark.parametrize("view", ["Runs", "Tasks", "Editor", "Think"])
def test_a_phone_needs_no_scrolling_to_the_side(page: Any, view: str) -> None:
    page.set_viewport_size({"width": 420, "height": 800})
    open_view(page, view)
    page.locator(SHOWN[view]).first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 420


def test_wide_grids_stay_in_their_panel(page: Any) -> None:
    open_view(page, "Editor")
    wide = {"input": [[0] * 30], "output": [[0] * 30]}
    drop(page, "wide.json", json.dumps({"train": [wide], "test": [wide]}))
    page.get_by_label("demonstration 1 input, 1 x 30").wait_for()
    open_view(page, "Think")
    page.locator(".couple canvas").first.wait_for()
    ends = "[...document.querySelectorAll('.couple, .couple canvas')].map(each => each.getBoundingClientRect().right)"
    for width in (1200, 360):
        page.set_viewport_size({"width": width, "height": 800})
        box, *grids = page.evaluate(ends)
        assert max(grids) <= box


def test_every_control_has_a_name_and_a_visible_focus(page: Any) -> None:
    for view in ("Runs", "Tasks", "Editor"):
        open_view(page, view)
        page.locator(SHOWN[view]).first.wait_for()
        controls = "button, input:not([type=file]), select, textarea, a"
        nameless = """controls => [...document.querySelectorAll(controls)].filter(each =>
            !each.getAttribute("aria-label") && !each.textContent.trim() && !each.closest("label"))
            .map(each => each.outerHTML)"""
        assert page.evaluate(nameless, controls) == []
    page.keyboard.press("Tab")
    width = page.evaluate("parseFloat(getComputedStyle(document.activeElement).outlineWidth)")
    assert width >= 2


def test_hostile_names_and_files_run_nothing(page: Any, runs: Path) -> None:
    folder = runs / "<img src=x onerror=alert(2)>\n"
    made_run(folder, {"state": "failed", "current_step": 1, "message": HOSTILE}, name=HOSTILE)
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.locator("td", has_text="<img src=x onerror=alert(1)>").first.wait_for()
    page.locator("a", has_text="onerror=alert(1)").click()
    page.locator("h1", has_text="\\x1b[2J\\u202e").wait_for()
    page.locator(".card .note", has_text="onerror").wait_for()
    open_view(page, "Editor")
    task = {"id": HOSTILE, "train": [{"input": [[1]], "output": [[1]]}], "test": [{"input": [[1]]}]}
    drop(page, "../../<script>alert(3)</script>.json", json.dumps([task, {**task, "id": "other"}]))
    page.get_by_label("demonstration 1 input, 1 x 1").wait_for()
    assert page.get_by_label("name of the task").input_value().startswith("<img src=x")
    with page.expect_download() as saved:
        page.get_by_role("button", name="save").click()
    assert "/" not in saved.value.suggested_filename
    drop(page, "<b>x.json", '{"train": "<img src=x onerror=alert(4)>", "__proto__": {"x": 1}, "test": [[]]}')
    page.locator(".problems li").first.wait_for()
    assert page.locator("main img, main script, main b").count() == 0
    assert dialogs == []


def test_a_server_that_is_gone_is_named(browser: Any, runs: Path) -> None:
    served = Served(runs, cwd=runs.parent)
    context = browser.new_context()
    page = context.new_page()
    try:
        page.goto(served.address)
        page.locator("tr[data-run=trained]").wait_for()
        editor = context.new_page()
        editor.goto(served.address)
        open_view(editor, "Editor")
        editor.get_by_role("button", name="check").wait_for()
        served.end()
        # A list that nobody asked for anything, and a button.
        page.locator("#message", has_text="server: it does not answer").wait_for()
        editor.get_by_role("button", name="check").click()
        editor.locator("#message", has_text="server: it does not answer").wait_for()
    finally:
        context.close()
        served.end()
