"""The server of the page: loopback, no telemetry, no file of the machine."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from implicitkit.app.session import Limits, Session
from implicitkit.errors import UserError

if TYPE_CHECKING:
    from fastapi import FastAPI

LOOPBACK = ("127.0.0.1", "localhost", "::1")
NO_TELEMETRY = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1", "GRADIO_RUN_HISTORY": "False"}


async def make_app(session: Session, host: str = "127.0.0.1") -> FastAPI:
    """The page of ``session`` as an ASGI application; no file can be had but what was uploaded or made."""
    import gradio as gr
    from fastapi import FastAPI
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from implicitkit.app.page import build_page

    app = FastAPI(openapi_url=None)
    if host in LOOPBACK:  # another site's page cannot reach it by a name that it points here
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK, "[::1]"])
    return gr.mount_gradio_app(
        app,
        await build_page(session),
        path="/",
        server_name=host,
        allowed_paths=[],
        max_file_size=int(session.limits.upload * 1e6),
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        run_history=False,
        footer_links=["api"],
    )


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises:
        UserError: the port is in use, or the host is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    if os.name == "posix":  # a port that was used a moment ago; elsewhere it would take one that is in use
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()  # at once: a bound port that nobody listens at could be bound twice
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot listen at {host}:{port}: {reason}; choose another --port, or 0 for any") from None
    return listener


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder for uploads and results, gone afterwards; Gradio's settings are off in the meantime."""
    before = {name: os.environ.get(name) for name in (*NO_TELEMETRY, "GRADIO_TEMP_DIR")}
    with tempfile.TemporaryDirectory(prefix="implicitkit-app-", ignore_cleanup_errors=True) as folder:
        os.environ.update(NO_TELEMETRY, GRADIO_TEMP_DIR=folder)
        try:
            yield Path(folder)
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


def serve(
    models: tuple[str, ...],
    device: torch.device,
    limits: Limits,
    host: str,
    port: int,
    started: Callable[[str], Any],
) -> None:
    """Serve the page until Ctrl-C.

    Args:
        models: names and weight files to offer.
        device: where they compute.
        limits: what is taken and given.
        host: the address to listen at.
        port: its port; 0: any that is free.
        started: called with the page's address.

    Raises:
        UserError: the port is in use, or a model cannot be loaded.
    """
    listener = listen(host, port)
    with listener, private_folder() as folder:
        import uvicorn

        app = asyncio.run(make_app(Session(folder / "results", models, device, limits), host))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on", timeout_graceful_shutdown=2))
        shown = f"[{host}]" if ":" in host else host
        started(f"http://{shown}:{listener.getsockname()[1]}/")
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
