"""Draws the pictures of the studio: ``make pictures``, or ``python docs/_pictures.py RUNS``.

RUNS is a folder with a scored run, such as ``hrm quickstart`` makes. Needs Chromium and playwright.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

IMAGES = Path(__file__).parent / "images"
# One that the shipped weights solve.
TASK = ("arc-agi-1/evaluation", "137f0df0")
COLORS = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="?", default="runs")
    options = parser.parse_args()
    command = [sys.executable, "-m", "hrm_arc", "studio", options.runs, "--port", "0"]
    served = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert served.stdout is not None
    try:
        _draw(served.stdout.readline().strip())
    finally:
        served.terminate()
        served.wait()


def _draw(address: str) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for scheme, width in (("light", 1400), ("dark", 1400), ("dark", 420)):
            context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
            context.set_default_timeout(120_000)
            page = context.new_page()
            page.goto(address)
            _views(page, address, f"{scheme}-{width}")
            context.close()
        browser.close()


def _views(page: Any, address: str, suffix: str) -> None:
    page.locator("table.runs a").first.wait_for()
    _save(page, f"studio-runs-{suffix}")
    page.locator("table.runs a").first.click()
    page.locator("svg.chart path.line").first.wait_for()
    _save(page, f"studio-run-{suffix}")
    page.goto(f"{address}#/tasks?source={TASK[0].replace('/', '%2F')}")
    page.locator(f".task[data-task='{TASK[1]}']").wait_for()
    page.wait_for_timeout(500)
    _save(page, f"studio-tasks-{suffix}")
    page.get_by_label(f"task {TASK[1]}:").click()
    page.fill("input[name=votes]", "32")
    page.get_by_role("button", name="Solve").click()
    page.locator("aside .note", has_text="done").wait_for()
    _save(page, f"studio-think-{suffix}", whole=True)
    page.locator("header nav a", has_text="Editor").click()
    page.get_by_label("demonstration 1 input").first.focus()
    page.wait_for_timeout(500)
    _save(page, f"studio-editor-{suffix}")


def _save(page: Any, name: str, whole: bool = False) -> None:
    from PIL import Image

    path = IMAGES / f"{name}.png"
    page.screenshot(path=path, full_page=whole)
    # A repository keeps every version of a picture.
    Image.open(path).convert("RGB").quantize(COLORS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(path)


if __name__ == "__main__":
    main()
