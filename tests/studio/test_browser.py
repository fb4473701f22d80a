"""The studio in a browser, as people use it. Skipped without Chromium and playwright."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hrm_arc.files import sealed_row, write_sealed_json
from hrm_arc.puzzles.html import PALETTE
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.studio.tasks import thumbnails
from tests.made import made_run
from tests.studio.conftest import Served

HOSTILE = "<img src=x onerror=alert(1)> ../..\x1b[2J\u202e"


def color_at(page: Any, label: str, row: int, column: int) -> str:
    """The color in the middle of a cell of an editable grid."""
    script = """([canvas, row, column]) => {
        const [height, width] = canvas.getAttribute("aria-label").match(/(\\d+) x (\\d+)/).slice(1).map(Number);
        const place = [(column + 0.5) * canvas.width / width, (row + 0.5) * canvas.height / height].map(Math.floor);
        const copy = Object.assign(document.createElement("canvas"), {width: 1, height: 1});
        const context = copy.getContext("2d", {willReadFrequently: true});
        context.drawImage(canvas, ...place, 1, 1, 0, 0, 1, 1);
        return [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)];
    }"""
    handle = page.get_by_label(label).first.element_handle()
    return "#" + bytes(page.evaluate(script, [handle, row, column])).hex()


def click_cell(page: Any, label: str, row: int, column: int, side: int = 3) -> None:
    canvas = page.get_by_label(label).first
    box = canvas.bounding_box()
    canvas.click(position={"x": (column + 0.5) * box["width"] / side, "y": (row + 0.5) * box["height"] / side})


def open_view(page: Any, name: str) -> None:
    page.locator("header nav a", has_text=name).click()
    page.locator("h1", has_text=name).wait_for()


def drop(page: Any, name: str, content: str) -> None:
    transfer = page.evaluate_handle(
        """([name, content]) => {
            const data = new DataTransfer();
            data.items.add(new File([content], name, {type: "application/json"}));
            return data;
        }""",
        [name, content],
    )
    page.dispatch_event("main", "drop", {"dataTransfer": transfer})


def test_a_task_is_drawn_cell_by_cell_and_solved(page: Any) -> None:
    open_view(page, "Editor")
    for number, (row, column) in enumerate([(0, 0), (1, 1), (2, 2)], start=1):
        page.get_by_label(f"color {number}").click()
        click_cell(page, "demonstration 1 input", row, column)
        page.get_by_label("demonstration 1 output").first.focus()
        assert color_at(page, "demonstration 1 input", row, column) == PALETTE[number]
    # The output by keys: the cursor is at the left upper cell.
    page.get_by_label("demonstration 1 output").first.focus()
    page.keyboard.press("4")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("5")
    assert [color_at(page, "demonstration 1 output", 0, n) for n in (0, 1, 2)] == [PALETTE[4], PALETTE[5], PALETTE[0]]
    page.get_by_role("button", name="let a model think").click()
    page.locator("h1", has_text="Think").wait_for()
    page.select_option("select[name=model]", "run:trained")
    page.fill("input[name=votes]", "4")
    page.get_by_role("button", name="Solve").click()
    page.locator("aside .note", has_text="done; the answers are not known").wait_for(timeout=120_000)
    assert page.locator(".attempt").count() >= 1
    assert "of the votes" in page.locator(".attempt").first.inner_text()
    assert "segment 1" in page.locator(".test").inner_text()
    assert "halting" in page.locator(".test").inner_text()


def test_undo_redo_fill_turn_and_paste(page: Any) -> None:
    open_view(page, "Editor")
    page.get_by_role("button", name="new").click()
    label = "demonstration 1 input"
    page.get_by_label("color 2").click()
    page.get_by_role("button", name="fill", exact=True).click()
    click_cell(page, label, 1, 1)
    assert {color_at(page, label, r, c) for r in range(3) for c in range(3)} == {PALETTE[2]}
    page.get_by_role("button", name="draw", exact=True).click()
    page.get_by_label("color 3").click()
    click_cell(page, label, 0, 2)
    page.get_by_label(label).first.focus()
    page.keyboard.press("Control+z")
    page.get_by_label("color 3").focus()
    assert color_at(page, label, 0, 2) == PALETTE[2]
    page.keyboard.press("Control+y")
    assert color_at(page, label, 0, 2) == PALETTE[3]
    page.get_by_label(label).first.focus()
    page.get_by_role("button", name="turn").click()
    assert (color_at(page, label, 2, 2), color_at(page, label, 0, 2)) == (PALETTE[3], PALETTE[2])
    page.get_by_role("button", name="mirror").click()
    assert color_at(page, label, 2, 0) == PALETTE[3]
    page.get_by_role("button", name="copy", exact=True).click()
    page.get_by_label("demonstration 1 output").first.focus()
    page.get_by_role("button", name="paste").click()
    page.get_by_label("color 3").focus()
    assert color_at(page, "demonstration 1 output", 2, 0) == PALETTE[3]
    page.get_by_label(f"height of {label}").fill("5")
    page.get_by_label(f"height of {label}").press("Enter")
    page.get_by_label(f"{label}, 5 x 3").wait_for()
    page.get_by_role("button", name="add a demonstration").click()
    page.get_by_label("demonstration 2 input").first.wait_for()
    page.get_by_role("button", name="remove demonstration 2").click()
    assert page.get_by_label("demonstration 2 input").count() == 0


def test_a_stroke_has_no_gaps(page: Any) -> None:
    open_view(page, "Editor")
    page.get_by_role("button", name="new").click()
    label = "demonstration 1 input"
    page.get_by_label("color 6").click()
    box = page.get_by_label(label).first.bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 5, box["y"] + box["height"] - 5)
    page.mouse.up()
    page.get_by_label("color 6").focus()
    assert [color_at(page, label, n, n) for n in range(3)] == [PALETTE[6]] * 3
    assert color_at(page, label, 0, 1) == PALETTE[0]


def test_a_file_is_dropped_saved_and_its_problems_are_named(page: Any, tmp_path: Path) -> None:
    open_view(page, "Editor")
    good = {"train": [{"input": [[1, 2]], "output": [[2, 1]]}], "test": [{"input": [[3, 4]], "output": [[4, 3]]}]}
    drop(page, "mine.json", json.dumps(good))
    page.get_by_label("demonstration 1 input, 1 x 2").wait_for()
    assert page.get_by_label("name of the task").input_value() == "mine"
    with page.expect_download() as saved:
        page.get_by_role("button", name="save").click()
    path = tmp_path / saved.value.suggested_filename
    saved.value.save_as(path)
    assert (path.name, json.loads(path.read_text())) == ("mine.json", good)
    bad = {**good, "train": [{"input": [[1, 2], [3]], "output": [[11]]}]}
    drop(page, "bad.json", json.dumps(bad))
    page.locator(".problems li", has_text="train[0].input[1]: ragged: 1 columns, the first row has 2").wait_for()
    page.locator(".problems li", has_text="train[0].output[0][0]: color 11, expected 0 to 9").wait_for()
    # The task that was open still is.
    assert page.get_by_label("name of the task").input_value() == "mine"
    drop(page, "large.json", json.dumps({**good, "train": [{"input": [[0] * 31], "output": [[0]]}]}))
    page.locator(".problems li", has_text="31 columns, expected 1 to 30").wait_for()


def test_the_test_is_tried_by_hand(page: Any) -> None:
    open_view(page, "Editor")
    task = {"train": [{"input": [[1, 2]], "output": [[2, 1]]}], "test": [{"input": [[3, 4]], "output": [[4, 3]]}]}
    drop(page, "mine.json", json.dumps(task))
    page.get_by_label("demonstration 1 input, 1 x 2").wait_for()
    assert page.get_by_text("known output", exact=True).count() == 0
    page.get_by_label("test 1 your answer").first.focus()
    page.keyboard.press("4")
    page.get_by_role("button", name="check").click()
    page.locator(".verdict", has_text="1 of 2 cells wrong").wait_for()
    page.get_by_label("test 1 your answer").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("3")
    page.get_by_role("button", name="check").click()
    page.locator(".verdict.good", has_text="right").wait_for()


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
    refused = {"error": {"where": "arc-agi-1/evaluation", "what": "not today"}}
    page.route("**/api/tasks?source=arc-agi-1%2Fevaluation", lambda route: route.fulfill(status=400, json=refused))
    try:
        page.goto(studio.address)
        open_view(page, "Tasks")
        page.locator(".task").first.wait_for()
        page.select_option("select[aria-label=source]", "arc-agi-1/evaluation")
        page.locator("#message", has_text="arc-agi-1/evaluation: not today").wait_for()
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
    page.locator("#view > *").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 420


def test_every_control_has_a_name_and_a_visible_focus(page: Any) -> None:
    for view in ("Runs", "Tasks", "Editor"):
        open_view(page, view)
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


def test_thumbnails_say_what_tasks_are() -> None:
    (task,) = [each for each in load_tasks("arc-agi-1/training") if each.id == "0d3d703e"]
    (shown,) = [each for each in thumbnails("arc-agi-1/training") if each["id"] == task.id]
    assert shown["input"] == "\n".join("".join(map(str, row)) for row in task.demonstrations[0].input.tolist())
    assert (shown["height"], shown["width"], shown["demonstrations"], shown["tests"]) == (3, 3, 4, 1)
