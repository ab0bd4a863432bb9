"""``implicitkit app`` says in one line what it lacks."""

from __future__ import annotations

import socket
import sys

import pytest

from implicitkit.app import serving


def test_without_the_extra_it_says_what_to_install(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    done = run("app")
    assert done.code == 2 and done.errors == [
        "error: implicitkit app needs gradio, which is not installed: pip install 'implicitkit[app]'"
    ]


def test_a_port_in_use_is_one_line(run) -> None:
    pytest.importorskip("gradio")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run("app", "--port", taken.getsockname()[1])
    assert done.code == 2 and len(done.errors) == 1 and "choose another --port" in done.errors[0]


def test_what_was_asked_for_reaches_the_server(run, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gradio")
    calls = []
    monkeypatch.setattr(serving, "serve", lambda *given: (calls.append(given[:-1]), given[-1]("http://there/")))
    done = run(
        "app", "--model", "a.safetensors", "--device", "cpu", "--max-pixels", "2", "--host", "0.0.0.0", "--port", 0
    )
    assert done.code == 0, done.err
    ((models, device, limits, host, port),) = calls
    assert (models, str(device), limits.written, host, port) == (("a.safetensors",), "cpu", 2.0, "0.0.0.0", 0)
    assert "http://there/ (Ctrl-C ends it)" in done.out and "it has no password" in done.err
