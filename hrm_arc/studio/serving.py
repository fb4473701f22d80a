"""The server: one process, one address, and an end that leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Sequence

import uvicorn

from hrm_arc.errors import ReportedError, UserError
from hrm_arc.studio.app import Studio
from hrm_arc.studio.places import Places
from hrm_arc.studio.security import Guard, is_loopback

# Connections at once; each page that is open holds one.
MOST_CONNECTIONS = 200
# Seconds that answers in progress get when the server ends.
LAST_SECONDS = 2
# Seconds that the end waits for what is loaded at the start.
WARM_SECONDS = 5.0


def serve(
    places: Places,
    host: str,
    port: int,
    memory: int | None,
    ready: Callable[[str], None],
    ending: Sequence[signal.Signals],
) -> bool:
    """Serve until a signal.

    Args:
        places: what the page shows.
        host: the address to listen on. Where others than this machine reach it, requests need a token.
        port: the port; 0: any that is free.
        memory: bytes that the process of a job may use; None: no limit.
        ready: called with the address when the server listens.
        ending: the signals that end it.

    Returns:
        whether a signal ended it.

    Raises:
        UserError: the address or the port is not available.
    """
    listening = _listen(host, port)
    port = listening.getsockname()[1]
    token = None if is_loopback(host) else secrets.token_urlsafe(24)
    try:
        return asyncio.run(_serve(places, listening, host, port, token, memory, ready, ending))
    finally:
        listening.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        ((family, kind, protocol, _, address), *_) = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise UserError("--host", f"{host} is not an address of this machine, such as 127.0.0.1 or 0.0.0.0") from None
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise UserError("--port", f"{port} is in use; name another one, or 0 for any that is free") from None
        if error.errno == errno.EACCES:
            raise UserError("--port", f"{port} is not allowed here; name one from 1024 on") from None
        raise UserError("--host", f"{host} cannot be listened on: {error.strerror}") from None
    return listening


async def _serve(
    places: Places,
    listening: socket.socket,
    host: str,
    port: int,
    token: str | None,
    memory: int | None,
    ready: Callable[[str], None],
    ending: Sequence[signal.Signals],
) -> bool:
    studio = Studio(places, memory)
    server = _Server(
        uvicorn.Config(
            Guard(studio.app(), host, port, token),
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            limit_concurrency=MOST_CONNECTIONS,
            timeout_keep_alive=10,
            timeout_graceful_shutdown=LAST_SECONDS,
            ws="none",
        )
    )
    asked: list[int] = []

    def end(number: int) -> None:
        if asked and number == signal.SIGINT:
            # A second Ctrl-C: no more waiting for trainings that save their state.
            studio.trainings.kill()
        asked.append(number)
        studio.closing.set()
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in ending:
        loop.add_signal_handler(number, end, number)
    warming = threading.Thread(target=studio.warm, daemon=True)
    warming.start()
    # An address that stands for all of this machine's is none that a browser elsewhere can open.
    is_any = ipaddress.ip_address(listening.getsockname()[0]).is_unspecified
    shown = socket.gethostname() if is_any else f"[{host}]" if ":" in host else host
    ready(f"http://{shown}:{port}/" + (f"?token={token}" if token else ""))
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await server.serve(sockets=[listening])
    finally:
        studio.closing.set()
        await studio.trainings.close()
        # A thread inside a library would abort the process when the interpreter ends.
        await asyncio.to_thread(warming.join, WARM_SECONDS)
    if not asked:
        raise ReportedError("studio", "the server has ended")
    return True


class _Server(uvicorn.Server):
    """A server that leaves signals to the caller, who has more to end than answers."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        yield
