"""Who may ask: those who have the token, by a name of this machine."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from collections.abc import Collection

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "::1")
ANY_HOST = ("0.0.0.0", "::", "")
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",  # the token stands in the address
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def new_token() -> str:
    """256 random bits, as they may stand in an address."""
    return secrets.token_urlsafe(32)


def is_loopback(host: str) -> bool:
    """Whether an address reaches this machine alone.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_name(header: str) -> str:
    """A ``Host`` header without its port.

    >>> host_name("127.0.0.1:8765"), host_name("[::1]:8765"), host_name("Evil.example")
    ('127.0.0.1', '::1', 'evil.example')
    """
    name = header.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0].rstrip(".")


class Guard:
    """Lets those in whose address begins with the token, and who call this machine by its own name.

    A page elsewhere whose name comes to mean this machine (DNS rebinding) says that name in its ``Host`` header.

    Args:
        app: what is guarded; it sees addresses without the token.
        token: the first part of each address.
        host: that the server listens at.
    """

    def __init__(self, app: ASGIApp, token: str, host: str) -> None:
        self._app, self._token = app, token.encode()
        self._names: Collection[str] = {*LOOPBACK, host.lower()}
        self._anywhere = host in ANY_HOST
        if self._anywhere:
            self._names = {*LOOPBACK, socket.gethostname().lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse with 403."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        _, first, rest = [*scope["path"].split("/", 2), "", ""][:3]
        allowed = len(hosts) == 1 and self._is_ours(host_name(hosts[0]))
        known = secrets.compare_digest(first.encode(), self._token)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        if not (allowed and known):
            why = "the address lacks its token" if allowed else "this server does not go by that name"
            refusal = PlainTextResponse(f"{why}; open the address that `implicitkit view` printed\n", status_code=403)
            await refusal(scope, receive, send_with_headers)
            return
        await self._app({**scope, "path": f"/{rest}", "raw_path": f"/{rest}".encode()}, receive, send_with_headers)

    def _is_ours(self, name: str) -> bool:
        if name in self._names:
            return True
        try:
            return self._anywhere and bool(ipaddress.ip_address(name))
        except ValueError:
            return False
