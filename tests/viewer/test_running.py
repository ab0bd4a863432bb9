"""Listening, and ending when told to."""

from __future__ import annotations

import socket
import threading
import urllib.request
from pathlib import Path

import pytest

import implicitkit as ik
from implicitkit.viewer import running
from implicitkit.viewer.darkroom import Darkroom, Named
from implicitkit.viewer.running import address_of, listen, serve
from oracles.models import small_model


def test_a_port_in_use_is_one_line() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(ik.UserError, match=f"port {port} of 127.0.0.1 cannot be had .*choose another --port"):
            listen("127.0.0.1", port)
    with listen("127.0.0.1", port):  # and is free again at once
        pass


def test_an_address_of_no_machine_is_one_line() -> None:
    with pytest.raises(ik.UserError, match="--host no-such-host.invalid is no address"):
        listen("no-such-host.invalid", 0)


@pytest.mark.parametrize(
    ("host", "name"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "[::1]"), ("localhost", "localhost")],
)
def test_the_address_holds_the_port_and_the_token(host: str, name: str) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        assert address_of(listener, host, "t") == f"http://{name}:{listener.getsockname()[1]}/t/"


@pytest.mark.parametrize(("host", "lines"), [("127.0.0.1", 1), ("0.0.0.0", 2)])
def test_it_says_where_it_is_opens_the_browser_and_ends(
    host: str, lines: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this thread no signal is caught; a request that is answered stands for Ctrl-C."""
    said: list[str] = []
    opened: list[str] = []
    answers: list[int] = []
    monkeypatch.setattr(running.webbrowser, "open", opened.append)
    servers = []
    server_class = running.uvicorn.Server

    def watched(config):
        servers.append(server_class(config))
        return servers[-1]

    monkeypatch.setattr(running.uvicorn, "Server", watched)
    listener = listen(host, 0)

    def visit() -> None:
        with urllib.request.urlopen(f"{address_of(listener, host, 'token')}scene", timeout=20) as answer:
            answers.append(answer.status)
        servers[0].should_exit = True

    visitor = threading.Thread(target=visit)
    visitor.start()
    serve(Darkroom([folder / "a.png"], [Named("m", small_model())]), listener, host, say=said.append, token="token")
    visitor.join(20)
    assert answers == [200] and listener.fileno() == -1
    assert len(said) == lines and said[-1].splitlines()[0] == opened[0]
    assert said[-1].endswith("/token/\nCtrl-C ends it") and (
        lines == 1 or said[0].startswith("warning: 0.0.0.0 can be")
    )
    assert "implicitkit-view" not in [thread.name for thread in threading.enumerate()]
