"""Views that follow files: one reader for any number of browsers, which runs only while somebody looks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from hrm_arc.errors import ReportedError
from hrm_arc.studio.exchange import to_json

# Seconds between two readings; a reading that takes long is followed by a pause of so many times its duration, up to
# a limit: to watch a run must not slow it down.
PAUSE, SHARE, LONGEST_PAUSE = 1.0, 200, 10.0
# Seconds after which a comment is sent, so that a connection that is gone is noticed.
QUIET = 15.0


class Topic:
    """The newest result of a reading, for everybody who watches.

    Args:
        read: called in a thread; its result is sent as JSON when it changes, as ``{"content": result}``. A
            :class:`ReportedError` is sent as ``{"problem": {"where": ..., "what": ...}}``.
        closing: set when the server ends.
    """

    def __init__(self, read: Callable[[], Any], closing: asyncio.Event):
        self._read = read
        self._closing = closing
        self._watchers = 0
        self._changed = asyncio.Condition()
        self._version = 0
        self._content = b""
        self._task: asyncio.Task[None] | None = None

    @property
    def is_watched(self) -> bool:
        return self._watchers > 0

    async def contents(self) -> AsyncIterator[bytes | None]:
        """Each new content as JSON, the present one first; None now and then while nothing changes."""
        self._watchers += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._follow())
        seen = 0
        try:
            while not self._closing.is_set():
                try:
                    async with asyncio.timeout(QUIET), self._changed:
                        await self._changed.wait_for(lambda seen=seen: self._version != seen)  # type: ignore[misc]
                except TimeoutError:
                    yield None
                    continue
                seen = self._version
                yield self._content
        finally:
            self._watchers -= 1

    async def _follow(self) -> None:
        while self._watchers and not self._closing.is_set():
            started = time.monotonic()
            content = await asyncio.to_thread(self._reading)
            if content != self._content or not self._version:
                async with self._changed:
                    self._content = content
                    self._version += 1
                    self._changed.notify_all()
            pause = min(LONGEST_PAUSE, max(PAUSE, SHARE * (time.monotonic() - started)))
            await asyncio.sleep(pause if self._version > 1 else PAUSE / 4)
        self._version, self._content = 0, b""

    def _reading(self) -> bytes:
        try:
            return to_json({"content": self._read()})
        except ReportedError as error:
            return to_json(problem(error))


def problem(error: ReportedError) -> dict[str, Any]:
    """What is sent in place of a content that cannot be read."""
    return {"problem": {"where": error.where, "what": error.what}}


async def server_sent(contents: AsyncIterator[bytes | None]) -> AsyncIterator[bytes]:
    """Contents in the form of server-sent events."""
    async for content in contents:
        yield b": quiet\n\n" if content is None else b"data: " + content + b"\n\n"


async def changes_of(contents: AsyncIterator[bytes | None]) -> AsyncIterator[bytes | None]:
    """A stream of objects as changes: all keys first, then those whose value changed; a key that is gone is null.

    The first one has ``whole``: who has followed another stream before may have keys that are gone meanwhile.
    """
    sent: dict[str, Any] = {}
    is_first = True
    async for content in contents:
        if content is None:
            yield None
            continue
        said = json.loads(content)
        if "content" not in said:
            yield content
            continue
        rows = said["content"]
        changed = {key: row for key, row in rows.items() if sent.get(key) != row}
        changed |= dict.fromkeys(sent.keys() - rows.keys())
        if changed or is_first:
            yield to_json({"content": changed, "whole": is_first})
        sent, is_first = rows, False


async def until(parts: AsyncIterator[bytes], closing: asyncio.Event, last: bytes = b"") -> AsyncIterator[bytes]:
    """The parts of an answer, up to the end of the server.

    Args:
        parts: the parts.
        closing: set when the server ends.
        last: sent in place of the parts that this cuts off.
    """
    ended = asyncio.ensure_future(closing.wait())
    try:
        while True:
            part = asyncio.ensure_future(anext(parts, None))
            try:
                await asyncio.wait((part, ended), return_when=asyncio.FIRST_COMPLETED)
            finally:
                if not part.done():
                    part.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await part
            if part.cancelled() or (content := part.result()) is None:
                break
            yield content
        if ended.done() and last:
            yield last
    finally:
        ended.cancel()
        aclose = getattr(parts, "aclose", None)
        if aclose is not None:
            await asyncio.shield(aclose())
