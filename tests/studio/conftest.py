"""A studio in a process of its own, as people start it, with small runs beside it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.training.trainer import Trainer
from tests.cli.commands import HRM
from tests.made import scored_run, tiny_recipe, write_tasks

pytest.importorskip("uvicorn", reason="the studio extra is not installed")


class Served:
    """A studio that runs.

    Args:
        arguments: of ``hrm studio``, beside the port.
    """

    def __init__(self, *arguments: object, cwd: Path):
        command = [*HRM, "studio", *map(str, arguments), "--port", "0"]
        self.process = subprocess.Popen(
            command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        self.origin = self.address.partition("?")[0].rstrip("/")

    def get(self, path: str, **parameters: Any) -> httpx.Response:
        return httpx.get(f"{self.origin}{path}", params=parameters, timeout=60)

    def post(self, path: str, data: Any, headers: dict[str, str] | None = None) -> httpx.Response:
        given = {"Origin": self.origin} | (headers or {})
        return httpx.post(f"{self.origin}{path}", json=data, headers=given, timeout=120)

    def is_up(self) -> bool:
        return self.process.poll() is None and self.get("/api/about").status_code == 200

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """End it; returns its status and what it printed to standard error."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            _, said = self.process.communicate(timeout=90)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise
        return self.process.returncode, said


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained run and a scored one."""
    root = tmp_path_factory.mktemp("made")
    tasks = write_tasks(root / "flips")
    trained = Trainer(tiny_recipe(tasks), root=root / "runs").fit()
    Path(trained["folder"]).rename(root / "runs" / "trained")
    scored_run(root / "runs" / "scored", load_tasks("arc-agi-1/training")[:12], wrong=0.004)
    return root / "runs"


@pytest.fixture(scope="session")
def studio(runs: Path) -> Iterator[Served]:
    served = Served(runs, "--tasks", runs.parent / "flips", cwd=runs.parent)
    yield served
    served.end()


class Opened:
    """A page of a browser, with what went wrong in it."""

    def __init__(self, page: Any):
        self.page = page
        self.messages: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.messages.append(message.text))
        page.on("pageerror", lambda error: self.messages.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))


@pytest.fixture
def page(browser: Any, studio: Served) -> Iterator[Any]:
    """A page of the studio; at the end there must be no message on its console and no request to elsewhere."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, accept_downloads=True)
    context.set_default_timeout(60_000)
    opened = Opened(context.new_page())
    opened.page.goto(studio.address)
    yield opened.page
    context.close()
    assert opened.messages == []
    assert [url for url in opened.requests if not url.startswith((studio.origin, "data:", "blob:"))] == []
