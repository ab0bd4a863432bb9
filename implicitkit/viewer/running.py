"""Listen, open the browser, and end when told to."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import webbrowser
from collections.abc import Callable

import uvicorn

from implicitkit.errors import UserError
from implicitkit.viewer.darkroom import Darkroom
from implicitkit.viewer.guard import ANY_HOST, is_loopback, new_token
from implicitkit.viewer.server import Server, application, view_format
from implicitkit.viewer.turns import Turns

GRACE_S = 1  # for answers that are under way when the server ends


def listen(host: str, port: int) -> socket.socket:
    """A socket at ``host`` and ``port`` (0: a free one).

    Raises:
        UserError: the port is in use, or the address is none of this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UserError(f"--host {host} is no address of this machine ({error.strerror or error})") from None
    try:
        if os.name == "posix":  # elsewhere it would let two programs listen at one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        if isinstance(error, PermissionError):
            raise UserError(f"port {port} may not be used ({error.strerror}); choose --port from 1024 on") from None
        what = f"port {port} of {host} cannot be had ({error.strerror})"
        raise UserError(f"{what}; choose another --port, or 0 for a free one") from None
    return listener


def address_of(listener: socket.socket, host: str, token: str) -> str:
    """The page's address, token and all."""
    name = "127.0.0.1" if host in ANY_HOST else host
    return f"http://{f'[{name}]' if ':' in name else name}:{listener.getsockname()[1]}/{token}/"


def serve(
    room: Darkroom,
    listener: socket.socket,
    host: str,
    *,
    browse: bool = True,
    say: Callable[[str], None] = print,
    token: str | None = None,
) -> None:
    """Serve until Ctrl-C (or SIGTERM).

    Args:
        room: what renders.
        listener: see :func:`listen`; closed at the end.
        host: that it listens at.
        browse: open the browser.
        say: what is told, a line each.
        token: of the address (default: a new one).
    """
    token = token or new_token()
    address = address_of(listener, host, token)
    turns = Turns()
    app = application(Server(room, turns, view_format(host)), token, host)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, lifespan="off", timeout_graceful_shutdown=GRACE_S
    )  # no log of addresses: they hold the token
    server = uvicorn.Server(config)
    if not is_loopback(host):
        say(f"warning: {host} can be reached from other machines, unencrypted; who has the address sees the pictures")
    say(f"{address}\nCtrl-C ends it")
    if browse:  # the socket listens already; a browser that is slow to start waits for nobody
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    try:
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it anew when it has ended
            asyncio.run(server.serve(sockets=[listener]))
    finally:
        listener.close()
        turns.stop()
