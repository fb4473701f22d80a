"""The list of runs and the pages of runs in a browser. Skipped without Chromium and playwright."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tests.made import made_run

LOSS = "loss of the answer, nats per cell"


def test_deleted_runs_leave_the_list(page: Any, runs: Path) -> None:
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
    page.evaluate(hide, False)
    page.get_by_role("button", name="overlay 2 runs").wait_for()
    assert page.locator("tr[data-run=second]").count() == 0
    for name in ("stays", "also"):
        shutil.rmtree(runs / name)
