"""Who may ask the server, and what a browser may do with its answers.

Other pages in the same browser, and names that an attacker points at this machine (DNS rebinding), are refused by the
headers Host, Origin and Sec-Fetch-Site; other machines by a token, which is needed wherever the server listens on more
than the loopback address.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hrm_arc.studio.exchange import error_reply

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
# A picture as a document of its own: matplotlib writes styles into its SVG, and nothing in it runs.
PICTURE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """Middleware that refuses requests, and adds :data:`HEADERS` to every answer.

    Args:
        app: what answers the requests that are not refused.
        host: the address that the server listens on.
        port: its port.
        token: what every request has to know, in a cookie or once as ``/?token=``; None: nothing.
    """

    def __init__(self, app: ASGIApp, host: str, port: int, token: str | None):
        self._app = app
        self._host = host
        self._port = port
        self._token = token
        # Browsers do not tell cookies of two ports of one machine apart.
        self._cookie = f"hrm_studio_{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = self._refusal(scope) or self._entry(scope)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await (answer or self._app)(scope, receive, send_guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        """The answer to a request that is refused; None: it is not."""
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if len(headers.getlist("host")) != 1 or not self._is_ours(host):
            what = f"{host!r:.80} is not an address of this server; open the one that hrm studio printed"
            return error_reply("Host", what, 403)
        changes = scope["method"] not in ("GET", "HEAD")
        if origin is None and changes:
            return error_reply("Origin", "missing: only the studio's own page may start or change something", 403)
        if origin is not None and origin != f"http://{host}":
            return error_reply("Origin", f"{origin!r:.80} is another page; only the studio's own may ask", 403)
        site = headers.get("sec-fetch-site", "none")
        if site in ("cross-site", "same-site") and (changes or scope["path"] != "/"):
            return error_reply("Sec-Fetch-Site", "another page may not ask this server", 403)
        if changes and headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return error_reply("Content-Type", "expected application/json", 415)
        return None

    def _entry(self, scope: Scope) -> Response | None:
        """The answer to a request that does not know the token yet; None: it does, or needs none."""
        if self._token is None:
            return None
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if scope["path"] == "/" and self._is_token(given):
            # Out of the address, which a browser keeps in its history.
            answer = RedirectResponse("/", 303)
            answer.set_cookie(self._cookie, self._token, httponly=True, samesite="strict", path="/")
            return answer
        try:
            cookie = SimpleCookie(Headers(scope=scope).get("cookie", "")).get(self._cookie)
        except CookieError:
            cookie = None
        if cookie is not None and self._is_token(cookie.value):
            return None
        return error_reply("token", "missing or wrong: open the whole address that hrm studio printed", 401)

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), (self._token or "").encode())

    def _is_ours(self, host: str) -> bool:
        """Whether a Host header names this server: no name that anybody else could point at it."""
        name, _, port = host.rpartition(":") if not host.endswith("]") and ":" in host else (host, "", "80")
        if port != str(self._port):
            return False
        if is_loopback(self._host):
            return name in ("127.0.0.1", "localhost", "[::1]", self._host)
        return name.lower() in (self._host.lower(), "localhost", socket.gethostname().lower()) or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
