"""What a person does on the studio's page."""

from __future__ import annotations

from typing import Any


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
