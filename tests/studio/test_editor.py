"""The studio's editor in a browser. Skipped without Chromium and playwright."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hrm_arc.puzzles.html import PALETTE
from tests.studio.pages import click_cell, color_at, drop, open_view


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
