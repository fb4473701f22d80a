"""Settings for all tests."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Nothing is timed in a test; a slow machine is no fault. Examples are the same every time.
settings.register_profile("tests", deadline=None, derandomize=True)
settings.load_profile("tests")

# Several processes share the cores, before any of them imports torch: threads that wait for each other crawl.
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    share = (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, share)))

# A shell's background jobs ignore Ctrl-C, those under nohup SIGHUP, and processes inherit that from them; some tests
# stop what they start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A browser; without Chromium or playwright the test is skipped."""
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no Chromium here")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def concept_arc() -> Path:
    """ConceptARC's folder, where there is one; it is not part of this repository."""
    path = Path(os.environ.get("CONCEPT_ARC", Path(__file__).parents[2] / "shared" / "data" / "conceptarc"))
    if not path.is_dir():
        pytest.skip("ConceptARC is not here; set CONCEPT_ARC to its folder")
    return path
