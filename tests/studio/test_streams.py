"""Streams of events: what they say first, and how they end."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

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
            assert next(following[-1])["content"]
        status, said = served.end(signal.SIGINT)
    assert (status, "Traceback" in said) == (130, False), said


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
