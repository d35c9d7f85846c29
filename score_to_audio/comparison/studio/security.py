"""Who may talk to the studio: pages of its own address, and, beyond this machine, holders of its token."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "score-to-audio-studio"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "media-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Of the studio's own page."""
CONTENT_POLICY = "connect-src 'none'; form-action 'none'; frame-ancestors 'self'"
"""Of files that the studio serves: scripts in them cannot call it."""


class Guard:
    """ASGI middleware: refuses foreign hosts (DNS rebinding), foreign origins, and requests without token."""

    def __init__(self, app: ASGIApp, *, hosts: Sequence[str], token: str) -> None:
        """``hosts``: HOST:PORT as browsers write it; ``token``: empty where none is needed."""
        self._app, self._hosts, self._token = app, frozenset(hosts), token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = HTTPConnection(scope)
        host = request.headers.get("host", "")
        origin = request.headers.get("origin")
        if host not in self._hosts:
            response: Response = PlainTextResponse(f"The studio does not answer for the host {host!r}.", 403)
        elif origin is not None and urlsplit(origin).netloc != host:
            response = PlainTextResponse("The studio takes requests from its own page only.", 403)
        elif self._token and not self._matches(request.cookies.get(COOKIE)):
            response = self._admission(request)
        else:
            await self._app(scope, receive, _with_headers(send))
            return
        await response(scope, receive, send)

    def _matches(self, given: str | None) -> bool:
        return given is not None and hmac.compare_digest(given.encode(), self._token.encode())

    def _admission(self, request: HTTPConnection) -> Response:
        if not self._matches(request.query_params.get("token")):
            return PlainTextResponse("Open the address that `score-to-audio studio` printed.", 401)
        response = RedirectResponse("/")
        response.set_cookie(COOKIE, self._token, httponly=True, samesite="strict")
        return response


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            names = {name for name, _ in message["headers"]}
            message["headers"] += [
                (name, value)
                for name, value in (
                    (b"content-security-policy", POLICY.encode()),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                    (b"cross-origin-resource-policy", b"same-origin"),
                )
                if name not in names
            ]
        await send(message)

    return sending
