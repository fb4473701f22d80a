"""Requests and answers: bounded bodies, JSON, and errors that name a place and what is wrong."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hrm_arc.errors import ReportedError, UserError, printable
from hrm_arc.reading import MIB, kind_of, parse_json

# Kaggle's largest file of ARC tasks has 7 MB.
LARGEST_BODY = 8 * MIB
# How much of a body that is too large is read and dropped, and for how long, so that its sender sees the answer.
DRAINED, DRAIN_SECONDS = 256 * MIB, 20.0
# Letters of an error's message.
LONGEST_MESSAGE = 2000


class RefusedError(UserError):
    """A request that is refused.

    Args:
        where: the part of the request concerned.
        what: what is wrong and what would be right.
        code: the HTTP status.
    """

    def __init__(self, where: object, what: str, code: int = 400):
        super().__init__(where, what)
        self.code = code


def reply(data: Any, code: int = 200) -> Response:
    """An answer in JSON; numbers that are not finite are null."""
    return Response(to_json(data), code, media_type="application/json")


def to_json(data: Any) -> bytes:
    """JSON in ASCII, so that half of a surrogate pair in a name is an escape; numbers that are not finite are null."""
    try:
        return json.dumps(data, allow_nan=False, separators=(",", ":")).encode()
    except ValueError:
        return json.dumps(_finite(data), allow_nan=False, separators=(",", ":")).encode()


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value


def error_reply(where: str, what: str, code: int) -> Response:
    """An error as an answer, and as the page shows it: ``WHERE: WHAT``."""
    error = {"where": printable(where)[:LONGEST_MESSAGE], "what": printable(what)[:LONGEST_MESSAGE]}
    return reply({"error": error}, code)


async def read_object(request: Request) -> dict[str, Any]:
    """The JSON object in a request's body.

    Raises:
        RefusedError: the body is larger than :data:`LARGEST_BODY`, ends too early, or holds something else.
    """
    try:
        body = await _read_body(request)
    except ClientDisconnect:
        # Nobody reads this answer; the page was closed.
        raise RefusedError("body", "ended too early") from None
    try:
        # A few megabytes of JSON take a second, in which others wait.
        data = await asyncio.to_thread(parse_json, body)
    except ValueError as error:
        raise RefusedError("body", str(error)) from None
    if not isinstance(data, dict):
        raise RefusedError("body", f"holds {kind_of(data)}, expected a JSON object")
    return data


async def _read_body(request: Request) -> bytes:
    parts: list[bytes] = []
    size = 0
    length = request.headers.get("content-length", "0")
    is_large = not length.isdecimal() or len(length) > 15 or int(length) > LARGEST_BODY
    end = asyncio.get_running_loop().time() + DRAIN_SECONDS
    async for part in request.stream():
        size += len(part)
        is_large = is_large or size > LARGEST_BODY
        if is_large:
            parts.clear()
        else:
            parts.append(part)
        if is_large and (size > DRAINED or asyncio.get_running_loop().time() > end):
            break
    if is_large:
        raise RefusedError("body", f"larger than {LARGEST_BODY // MIB} MiB, which is the most that is taken", 413)
    return b"".join(parts)


def text_of(data: dict[str, Any], key: str, most: int = 300) -> str:
    """A text of a request.

    Raises:
        RefusedError: it is missing, no text, or longer than ``most`` characters.
    """
    value = data.get(key)
    if not isinstance(value, str):
        raise RefusedError(key, f"{kind_of(value)}, expected text")
    if len(value) > most:
        raise RefusedError(key, f"{len(value):,} characters, expected at most {most:,}")
    return value


def number_of(data: dict[str, Any], key: str, low: float, high: float, default: float) -> float:
    """A number of a request, ``default`` where it is missing.

    Raises:
        RefusedError: it is no number, or out of its range.
    """
    value = data.get(key, default)
    if type(value) not in (int, float) or not low <= value <= high:
        given = f"{value:g}" if type(value) in (int, float) and abs(value) < 1e300 else kind_of(value)
        raise RefusedError(key, f"{given}, expected {low:g} to {high:g}")
    return value


def whole_of(request: Request, name: str) -> int:
    """A whole number of a request's address.

    Raises:
        RefusedError: it is missing or something else.
    """
    value = request.query_params.get(name, "")
    if not value.isdecimal() or len(value) > 18:
        raise RefusedError(name, f"{value!r:.40}, expected a whole number")
    return int(value)


async def _reported(request: Request, error: Exception) -> Response:
    assert isinstance(error, ReportedError)
    code = error.code if isinstance(error, RefusedError) else 400 if isinstance(error, UserError) else 500
    return error_reply(error.where, error.what, code)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return error_reply(request.url.path, error.detail, error.status_code)


async def _unreadable(request: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    return error_reply(str(error.filename or "disk"), error.strerror or type(error).__name__, 500)


async def _unforeseen(request: Request, error: Exception) -> Response:
    return error_reply("studio", f"{type(error).__name__}: {error}", 500)


def answered_at_the_end(app: ASGIApp, closing: asyncio.Event) -> ASGIApp:
    """An application whose requests get an answer, and leave no traceback, when the end of the server cuts them off."""

    async def answered(scope: Scope, receive: Receive, send: Send) -> None:
        is_begun = False

        async def sending(message: Message) -> None:
            nonlocal is_begun
            is_begun = True
            await send(message)

        try:
            await app(scope, receive, sending)
        except asyncio.CancelledError:
            if not closing.is_set():
                raise
            if not is_begun:
                await error_reply("server", "it ends; start hrm studio again", 503)(scope, receive, send)

    return answered


# How an application answers each kind of error.
HANDLERS: Any = {
    ReportedError: _reported,
    HTTPException: _refused,
    OSError: _unreadable,
    Exception: _unforeseen,
}
