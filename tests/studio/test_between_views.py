"""What lasts from one view of the studio to the next, and what does not. Skipped without Chromium and playwright."""

from __future__ import annotations

from typing import Any

from tests.studio.conftest import Served
from tests.studio.pages import open_view


def test_the_way_back_leads_to_the_filters_and_to_the_task(page: Any) -> None:
    open_view(page, "Tasks")
    page.select_option("select[aria-label=source]", "arc-agi-1/evaluation")
    count = page.locator(".filters output")
    count.filter(has_text="400 of 400 tasks").wait_for()
    page.select_option("select[aria-label=model]", "weights:arc1-cpu")
    page.locator("select[aria-label=outcome]").wait_for()
    page.select_option("select[aria-label=outcome]", "open")
    page.select_option("select[aria-label=size]", "20")
    page.select_option("select[aria-label=kind]", "same size")
    page.fill("input[aria-label=name]", "A")
    # The address that playwright knows comes after the page's own.
    seen = "[location.href, document.querySelector('.filters output').textContent]"
    before = page.evaluate(seen)
    task = page.locator(".task:not([hidden])").last
    name = task.get_attribute("data-task")
    task.locator("button").first.click()
    page.locator("h1", has_text="Think").wait_for()
    page.go_back()
    page.locator(f".task[data-task='{name}'] button:focus").wait_for()
    assert page.evaluate("document.activeElement.getBoundingClientRect().top < innerHeight")
    assert page.evaluate(seen) == before
    for label, value in (("kind", "same size"), ("size", "20"), ("model", "weights:arc1-cpu"), ("outcome", "open")):
        assert page.locator(f"select[aria-label={label}]").input_value() == value
    assert page.locator("input[aria-label=name]").input_value() == "A"
    # The same address in another tab; and the view without any filter.
    page.reload()
    count.filter(has_text=before[1]).wait_for()
    open_view(page, "Tasks")
    page.locator("header nav a", has_text="Tasks").click()
    page.wait_for_function("!location.hash.includes('kind')")


def test_a_browser_that_keeps_no_data_of_the_site(browser: Any, studio: Served) -> None:
    context = browser.new_context()
    refusing = "{ get() { throw new DOMException('denied', 'SecurityError'); } }"
    context.add_init_script(
        f"for (const name of ['localStorage', 'sessionStorage']) Object.defineProperty(window, name, {refusing});"
    )
    page = context.new_page()
    try:
        page.goto(studio.address)
        page.locator("h1", has_text="Runs").wait_for()
        for name in ("light", "dark", "auto", "light"):
            page.locator("#theme").click()
            assert page.locator("#theme").inner_text() == name
        open_view(page, "Editor")
        page.get_by_role("button", name="let a model think").click()
        page.get_by_role("button", name="Solve").wait_for()
    finally:
        context.close()


def test_an_error_of_a_view_that_was_left_is_not_shown(page: Any) -> None:
    held: list[Any] = []
    page.route("**/api/run?run=trained", lambda route: held.append(route))
    with page.expect_request("**/api/run?run=trained"):
        page.evaluate("location.hash = '#/run?run=trained'")
    open_view(page, "Editor")
    held[0].fulfill(json={"no": "runs"})
    page.evaluate("fetch('/api/about').then(answer => answer.json())")
    assert page.locator("#message").is_hidden()
