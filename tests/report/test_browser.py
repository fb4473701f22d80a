"""The pages in a browser. Skipped without Chromium and playwright."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hrm_arc.evaluation.comparison import compare
from hrm_arc.evaluation.results import read_scores
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.reading import read_lines
from hrm_arc.report.page import write_page
from hrm_arc.report.versus import write_versus
from hrm_arc.runs.folder import RunFolder
from tests.made import scored_run

TASKS = load_tasks("arc-agi-1/evaluation")[:30]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return scored_run(tmp_path_factory.mktemp("made") / "run", TASKS, wrong=0.004)


@pytest.fixture
def opened(browser: Any) -> Iterator[Any]:
    """A function that opens a page; at the end there must be no error and no request to a network."""
    page = browser.new_page(viewport={"width": 1100, "height": 900})
    messages: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))

    def open_page(path: Path) -> Any:
        page.goto(path.as_uri())
        return page

    yield open_page
    page.close()
    assert messages == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []


def shown(page: Any) -> list[dict[str, str]]:
    """The data attributes of each visible answer."""
    script = "all => all.filter(a => a.offsetParent !== null).map(a => ({...a.dataset}))"
    return page.eval_on_selector_all("section.answer", script)


def test_filters_of_the_gallery(run_folder: RunFolder, opened: Any) -> None:
    page = opened(write_page(run_folder))
    rows = read_lines(run_folder.predictions_file)
    assert len(shown(page)) == len(rows)
    page.select_option("select[name=group]", "same size")
    same_size = [row for row in rows if "same size" in row["groups"]]
    assert 0 < len(same_size) < len(rows)
    assert [answer["task"] for answer in shown(page)] == [row["task"] for row in same_size]
    assert page.text_content(".filters output") == f"{len(same_size)} of {len(rows)} test outputs"
    kind = same_size[0]["error"]
    page.select_option("select[name=error]", kind)
    assert len(shown(page)) == sum(row["error"] == kind for row in same_size)
    page.select_option("select[name=outcome]", "solved")
    assert shown(page) == []
    page.select_option("select[name=outcome]", "")
    page.fill("input[name=task]", same_size[0]["task"].upper())
    assert {answer["task"] for answer in shown(page)} == {same_size[0]["task"]}


def test_a_link_in_a_table_filters_the_gallery(run_folder: RunFolder, opened: Any) -> None:
    page = opened(write_page(run_folder))
    link = page.locator("a.pick[data-filter=error]").first
    link.click()
    assert {answer["error"] for answer in shown(page)} == {link.text_content()}
    assert page.evaluate("location.hash") == "#gallery"


def test_tables_show_the_metrics_that_scores_json_describes(run_folder: RunFolder, opened: Any) -> None:
    page = opened(write_page(run_folder))
    described = read_scores(run_folder)["metrics"]
    shown = page.locator("table").first.locator("td:first-child").all_text_contents()
    assert shown == [metric["name"] for metric in described if metric["headline"]]
    page.locator("summary", has_text="further scores").click()
    assert page.locator("td", has_text="pass@100_tasks_strict").is_visible()


def test_the_strip_shows_the_answer_after_each_segment(run_folder: RunFolder, opened: Any) -> None:
    page = opened(write_page(run_folder))
    strip = page.locator("section.answer details", has_text="the answer after each segment").first
    assert not strip.locator(".strip").is_visible()
    strip.locator("summary").click()
    captions = strip.locator("figcaption").all_text_contents()
    assert captions[0].startswith("segment")
    assert strip.locator("svg.grid image").first.is_visible()


def test_the_demonstrations_are_folded(run_folder: RunFolder, opened: Any) -> None:
    page = opened(write_page(run_folder))
    folded = page.locator("section.answer details", has_text="the demonstrations").first
    assert not folded.locator(".strip").is_visible()
    folded.locator("summary").click()
    captions = folded.locator("figcaption").all_text_contents()
    assert captions[:2] == ["demonstration 1: input", "demonstration 1: output"]
    assert folded.locator("svg.grid image").first.is_visible()


def test_a_phone_needs_no_scrolling_to_the_side(run_folder: RunFolder, opened: Any, tmp_path: Path) -> None:
    # Two runs of one recipe have their IDs as names.
    both = [scored_run(tmp_path / f"20261130_010101_aaaaaaa{n}", TASKS[:9]) for n in range(2)]
    rows = [read_lines(folder.predictions_file) for folder in both]
    for path in (write_page(run_folder), write_versus(*both, compare(*rows), tmp_path / "versus.html")):
        page = opened(path)
        page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        for width in (420, 360, 320):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        position = "getComputedStyle(document.querySelector('.filters')).position"
        assert page.evaluate(position) == "sticky"
        # A page at 400%.
        page.set_viewport_size({"width": 320, "height": 256})
        assert page.evaluate(position) == "static"


def test_grids_are_drawn_in_their_colors(run_folder: RunFolder, opened: Any) -> None:
    page = opened(write_page(run_folder))
    script = """async image => {
        const drawn = new Image(); drawn.src = image.getAttribute("href"); await drawn.decode();
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [drawn.width, drawn.height];
        const context = canvas.getContext("2d"); context.drawImage(drawn, 0, 0);
        return [drawn.width, drawn.height, ...context.getImageData(0, 0, 1, 1).data.slice(0, 3)];
    }"""
    from hrm_arc.report.grids import PALETTE

    grid = read_lines(run_folder.predictions_file)[0]["input"]
    width, height, *color = page.locator("section.answer svg.grid image").first.evaluate(script)
    assert (width, height) == (len(grid[0]), len(grid))
    assert "#" + bytes(color).hex() == PALETTE[grid[0][0]]


def test_the_page_is_dark_in_a_dark_color_scheme(run_folder: RunFolder, opened: Any) -> None:
    page = opened(write_page(run_folder))
    shade = "sum => getComputedStyle(document.body)[sum].match(/\\d+/g).slice(0, 3).reduce((a, b) => a + +b, 0)"
    for scheme, brighter in (("light", "backgroundColor"), ("dark", "color")):
        page.emulate_media(color_scheme=scheme)
        shades = {name: page.evaluate(shade, name) for name in ("backgroundColor", "color")}
        assert max(shades, key=lambda name: shades[name]) == brighter


def test_the_page_prints_without_filters(run_folder: RunFolder, opened: Any) -> None:
    page = opened(write_page(run_folder))
    page.emulate_media(media="print")
    assert not page.locator("form.filters").is_visible()
    assert page.pdf().startswith(b"%PDF")


def test_two_runs_side_by_side(run_folder: RunFolder, opened: Any, tmp_path: Path) -> None:
    other = scored_run(tmp_path / "other", TASKS, name="other", wrong=0.0)
    rows = [read_lines(folder.predictions_file) for folder in (run_folder, other)]
    page = opened(write_versus(run_folder, other, compare(*rows), tmp_path / "versus.html"))
    assert page.text_content("h1") == "made and other"
    page.select_option("select[name=outcome]", "neither")
    assert len(shown(page)) == compare(*rows)["neither"]
    assert page.locator("section.answer figure").count() >= 4 * len(shown(page))
