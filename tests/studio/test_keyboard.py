"""The studio with the keyboard, in low windows and for screen readers. Skipped without Chromium and playwright."""

from __future__ import annotations

import json
from typing import Any

from hrm_arc.puzzles.html import PALETTE
from tests.studio.pages import color_at, drop, open_view

FOCUSED = "document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent"


def test_the_focus_stays_while_a_task_is_drawn(page: Any) -> None:
    open_view(page, "Editor")
    page.get_by_role("button", name="new").click()

    def press(name: str, key: str = "Enter") -> str:
        page.get_by_role("button", name=name, exact=True).focus()
        page.keyboard.press(key)
        return page.evaluate(FOCUSED)

    page.get_by_label("height of demonstration 1 input").focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    page.get_by_label("demonstration 1 input, 5 x 3").wait_for()
    assert page.evaluate(FOCUSED) == "height of demonstration 1 input"
    page.get_by_label("height of demonstration 1 output").fill("4")
    page.keyboard.press("Tab")
    page.get_by_label("demonstration 1 output, 4 x 3").wait_for()
    assert page.evaluate(FOCUSED) == "width of demonstration 1 output"
    assert press("add a demonstration") == "add a demonstration"
    page.keyboard.press("Space")
    page.get_by_label("demonstration 3 input").first.wait_for()
    # The next one takes its place, and where there is none, the control that has.
    assert press("remove demonstration 2") == "remove demonstration 2"
    assert press("remove demonstration 2").startswith("test 1 input, 3 x 3")
    assert press("copy the input") == "copy the input"
    assert press("clear") == "clear"
    assert press("show known outputs") == "hide known outputs"
    assert press("hide known outputs") == "show known outputs"
    assert press("add a test") == "add a test"
    page.get_by_role("button", name="check").nth(1).focus()
    page.get_by_role("button", name="clear").nth(1).focus()
    page.keyboard.press("Enter")
    second = "[...document.querySelectorAll('.test')][1].contains(document.activeElement)"
    assert (page.evaluate(FOCUSED), page.evaluate(second)) == ("clear", True)
    assert press("undo") == "undo"
    for _ in range(12):
        page.keyboard.press("Enter")
    page.get_by_role("button", name="undo", disabled=True).wait_for()
    assert page.evaluate(FOCUSED) == "undo"
    assert press("redo") == "redo"
    page.get_by_label("test 1 your answer").first.focus()
    page.keyboard.press("Control+z")
    assert page.evaluate(FOCUSED).startswith("test 1 your answer")


def test_a_click_after_a_typed_size_arrives(page: Any) -> None:
    open_view(page, "Editor")
    page.get_by_role("button", name="new").click()
    for added in (1, 2):
        before = page.locator("canvas").count()
        page.get_by_label("height of demonstration 1 input").fill(str(3 + added))
        page.get_by_role("button", name="add a demonstration").hover()
        page.mouse.down()
        # A person holds a button longer than a program.
        page.wait_for_timeout(100)
        page.mouse.up()
        page.wait_for_function("before => document.querySelectorAll('canvas').length > before", arg=before)
        page.get_by_label(f"demonstration 1 input, {3 + added} x").first.wait_for()


def test_tools_hide_nothing_in_a_low_window_and_no_focus_in_a_high_one(page: Any) -> None:
    open_view(page, "Editor")
    position = "getComputedStyle(document.querySelector('.toolbar')).position"
    assert page.evaluate(position) == "sticky"
    hidden = """() => {
        const both = [document.querySelector(".toolbar"), document.activeElement];
        const [tools, box] = both.map(each => each.getBoundingClientRect());
        return document.activeElement.closest(".pairs") !== null && box.top < tools.bottom && box.bottom > tools.top;
    }"""
    for width in (1200, 900, 360):
        page.set_viewport_size({"width": width, "height": 800})
        page.get_by_role("button", name="show known outputs").focus()
        page.keyboard.press("End")
        for _ in range(14):
            page.keyboard.press("Shift+Tab")
            assert not page.evaluate(hidden), page.evaluate(FOCUSED)
    # A page at 400%.
    page.set_viewport_size({"width": 320, "height": 256})
    assert page.evaluate(position) == "static"
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_a_turned_selection_loses_no_cell(page: Any) -> None:
    open_view(page, "Editor")
    label = "demonstration 1 input"

    def select_row(name: str, *rows: list[int]) -> None:
        """A task with these rows, with three cells of the last row selected."""
        pair = {"input": rows, "output": [[1]]}
        drop(page, name, json.dumps({"train": [pair], "test": [{"input": [[1]]}]}))
        page.get_by_label(f"{label}, {len(rows)} x 4").focus()
        keys = ["Escape", *["ArrowUp"] * 3, *["ArrowLeft"] * 4, *["ArrowDown"] * (len(rows) - 1)]
        for key in [*keys, "Shift+ArrowRight", "Shift+ArrowRight"]:
            page.keyboard.press(key)

    def colors(height: int) -> list[list[int]]:
        return [[PALETTE.index(color_at(page, label, y, x)) for x in range(4)] for y in range(height)]

    select_row("low.json", [0, 0, 0, 0], [1, 2, 3, 4])
    page.get_by_role("button", name="turn").click()
    page.locator("#message", has_text="the turned selection does not fit into 2 x 4 cells").wait_for()
    assert colors(2)[1] == [1, 2, 3, 4]
    # It moves up, stays selected, and moves no further.
    select_row("high.json", [0, 0, 0, 0], [0, 0, 0, 0], [1, 2, 3, 4])
    page.get_by_role("button", name="turn").click()
    assert [row[0] for row in colors(3)] == [1, 2, 3]
    page.get_by_role("button", name="turn").click()
    assert colors(3) == [[3, 2, 1, 0], [0, 0, 0, 0], [0, 0, 0, 4]]


def test_a_screen_reader_hears_the_cells_of_a_grid(page: Any) -> None:
    open_view(page, "Editor")
    page.get_by_role("button", name="new").click()
    heard = page.locator(".spoken[aria-live=polite]")
    page.get_by_label("demonstration 1 input").first.focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    assert heard.text_content() == "row 2, column 3: color 0"
    page.keyboard.press("5")
    assert heard.text_content() == "row 2, column 3: color 5"
    page.keyboard.press("Shift+ArrowLeft")
    assert heard.text_content() == "row 2, column 2: color 0; rows 2 to 2, columns 2 to 3 selected"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_meters_have_names(page: Any) -> None:
    votes = {"event": "votes", "test": 0, "done": 3, "of": 4, "different": 2}
    candidates = [{"grid": [[n]], "votes": n} for n in (2, 1)]
    said = [{**votes, "candidates": candidates}, {"event": "done", "tests": [], "warnings": [], "known": 0}]
    page.route("**/api/think", lambda route: route.fulfill(body="".join(json.dumps(each) + "\n" for each in said)))
    open_view(page, "Editor")
    page.get_by_role("button", name="let a model think").click()
    page.get_by_role("button", name="Solve").click()
    meters = page.locator("meter")
    page.locator("aside .note", has_text="done").wait_for()
    names = ["votes for candidate 1", "votes for candidate 2"]
    assert meters.evaluate_all("all => all.map(each => each.getAttribute('aria-label'))") == names
