"""Size of the report page of 520 tasks, and the time that a browser needs to open it.

A model of one training step answers both ARC-AGI evaluation sets, so that as many wrong cells as possible are
marked. Needs Chromium and playwright.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from benchmarks._processes import hrm
from hrm_arc.puzzles.formats import task_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repeats", type=int, default=5, help="times that the page is opened (default 5)")


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    from hrm_arc.puzzles.sources import load_tasks

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for number in (1, 2):
            _write(root / "tasks", load_tasks(f"arc-agi-{number}/evaluation"), f"{number}-")
        trained = hrm("train", "race/grid-hrm", "--training.max_steps", "1", "--validation.every", "0", "--out", folder)
        scores = hrm("eval", trained["folder"], "--data", str(root / "tasks"), "--votes", "2")
        page = Path(scores["report"])
        seconds = _open(page, options.repeats)
        yield {
            "tasks": scores["tasks"],
            "pictures": page.read_text(encoding="utf-8").count("<image"),
            "size": f"{page.stat().st_size / 1e6:.1f} MB",
            "opened in, median": f"{statistics.median(seconds):.2f} s",
            "slowest": f"{max(seconds):.2f} s",
        }


def _write(folder: Path, tasks: Sequence[Any], prefix: str) -> None:
    folder.mkdir(exist_ok=True)
    for task in tasks:
        (folder / f"{prefix}{task.id}.json").write_text(json.dumps(task_json(task)))


def _open(page: Path, repeats: int) -> list[float]:
    """Seconds from the request to the end of loading, scripts included."""
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        seconds = []
        for _ in range(repeats):
            tab = browser.new_page()
            tab.goto(page.as_uri())
            seconds.append(tab.evaluate("performance.getEntriesByType('navigation')[0].duration") / 1000)
            tab.close()
        browser.close()
    return seconds
