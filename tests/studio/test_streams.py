"""Streams of events: what they say first, and how they end."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from hrm_arc.studio import launching
from hrm_arc.studio.app import Studio
from hrm_arc.studio.places import Places
from tests.studio.conftest import Served


def messages(stream: httpx.Response) -> Iterator[dict[str, Any]]:
    """The messages of a stream of server-sent events."""
    for line in stream.iter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def test_the_end_of_the_server_ends_streams_without_a_traceback(runs: Path) -> None:
    served = Served(runs, cwd=runs.parent)
    # Kept, because a stream that nobody reads any more is closed.
    following = []
    with ExitStack() as opened:
        for path in ("/api/runs/events", "/api/run/events?run=trained"):
            stream = opened.enter_context(httpx.stream("GET", f"{served.origin}{path}", timeout=60))
            following.append(messages(stream))
            first = next(following[-1])
            assert first["content"]
            assert first.get("whole") is (True if path == "/api/runs/events" else None)
        status, said = served.end(signal.SIGINT)
    # No answer had to be cut off either.
    assert (status, "Traceback" in said, "Cancel" in said) == (130, False, False), said


def test_a_page_that_is_closed_during_an_upload(tmp_path: Path) -> None:
    served = Served(tmp_path, cwd=tmp_path)
    host = served.origin.removeprefix("http://")
    name, _, port = host.rpartition(":")
    head = f"POST /api/check HTTP/1.1\r\nHost: {host}\r\nOrigin: {served.origin}\r\nContent-Type: application/json\r\n"
    with socket.create_connection((name, int(port))) as raw:
        raw.sendall(f"{head}Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n".encode())
        # The server asks for the body once something reads it.
        assert raw.recv(100).startswith(b"HTTP/1.1 100")
        raw.sendall(b'{"name"')
    assert served.is_up()
    status, said = served.end(signal.SIGINT)
    assert (status, "Traceback" in said) == (130, False), said


def test_a_training_that_is_still_starting_ends_with_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "HRM", (sys.executable, "-c", "import time; time.sleep(600)"))

    async def cut_off() -> tuple[httpx.Response, asyncio.subprocess.Process]:
        studio = Studio(Places(tmp_path))
        trainings = studio.trainings
        async with httpx.AsyncClient(transport=httpx.ASGITransport(studio.app()), base_url="http://studio") as client:
            asked = asyncio.create_task(client.post("/api/runs/start", json={"recipe": "quickstart"}))
            while not trainings._processes:
                await asyncio.sleep(0.01)
            (process,) = trainings._processes.values()
            studio.closing.set()
            asked.cancel()
            answer = await asked
        assert trainings._processes, "a second Ctrl-C has to know it"
        await trainings.close()
        await process.communicate()  # To the end of its pipe, so that nothing stays open.
        return answer, process

    # In a thread, because a browser's tests leave a running loop in this one.
    with ThreadPoolExecutor(1) as thread:
        answer, process = thread.submit(lambda: asyncio.run(cut_off())).result()
    assert (answer.status_code, answer.json()["error"]["where"]) == (503, "server")
    assert process.returncode == -signal.SIGTERM
