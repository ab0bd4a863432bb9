"""The server's answers: views, files, words, bounds; and nothing else of the machine."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

import implicitkit as ik
from implicitkit.viewer.darkroom import Darkroom, Named
from implicitkit.viewer.question import Damage, Layer, Question
from implicitkit.viewer.server import Server, application, view_format
from implicitkit.viewer.turns import Turns
from oracles.models import conditioned_model, small_model

TOKEN = "the-token"


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    torch.manual_seed(0)
    turns = Turns()
    models = [Named("one", small_model(skip="bilinear")), Named("two", conditioned_model())]
    yield Server(Darkroom([folder / "a.png", folder / "b.png"], models), turns)
    turns.stop()


@pytest.fixture
def client(server: Server) -> TestClient:
    return TestClient(application(server, TOKEN, "127.0.0.1"), base_url=f"http://127.0.0.1/{TOKEN}/")


def test_the_page_and_its_two_files_are_served_and_need_nothing_from_elsewhere(client: TestClient) -> None:
    page, style, script = (client.get(name) for name in ("", "view.css", "view.js"))
    assert [a.headers["content-type"].partition(";")[0] for a in (page, style, script)] == [
        "text/html",
        "text/css",
        "text/javascript",
    ]
    for text in (page.text, style.text, script.text):
        assert "http://" not in text and "https://" not in text and "@import" not in text
    assert "<script>" not in page.text and " style=" not in page.text and "onclick" not in page.text
    assert 'href="view.css"' in page.text and 'src="view.js"' in page.text


def test_the_scene_names_pictures_without_their_folders(client: TestClient, folder: Path) -> None:
    answer = client.get("scene")
    scene = answer.json()
    assert scene["pictures"] == ["a.png", "b.png"] and str(folder) not in answer.text
    assert scene["models"] == [{"name": "one", "meaning": False}, {"name": "two", "meaning": True}]
    assert scene["damage"]["noise"] == {"low": 0, "high": 100, "step": 1, "default": 0.0}
    assert client.get("picture?picture=1").json() == {
        "name": "b.png",
        "height": 41,
        "width": 50,
        "alpha": False,
        "facts": "8 bits",
    }


def test_a_view_is_what_the_darkroom_renders(client: TestClient, server: Server) -> None:
    words = "picture=1&layer=model-0&box=-0.5,-0.5,0.5,0.25&width=30&height=20&noise=10&seed=4&client=c&turn=1"
    answer = client.get(f"view?{words}")
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/octet-stream"
    question = Question(1, Layer("model"), Damage(noise=10, seed=4), (-0.5, -0.5, 0.5, 0.25), (20, 30))
    assert answer.content == server.room.render(question).tobytes()


def test_over_a_network_views_are_png(server: Server) -> None:
    assert view_format("127.0.0.1") == "raw" and view_format("0.0.0.0") == "png"
    far = Server(server.room, server.turns, "png")
    client = TestClient(application(far, TOKEN, "127.0.0.1"), base_url=f"http://127.0.0.1/{TOKEN}/")
    answer = client.get("view?layer=bicubic&width=30&height=20")
    assert answer.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(answer.content)).size == (30, 20)


def test_a_view_that_has_moved_on_is_dropped_without_an_error(client: TestClient, server: Server) -> None:
    begun, go = threading.Event(), threading.Event()

    def hold(asker: object) -> None:
        begun.set()
        assert go.wait(20)

    server.turns.ask("another", None, hold)
    assert begun.wait(10)
    with ThreadPoolExecutor(2) as pool:
        old = pool.submit(client.get, "view?width=8&height=8&client=c&turn=1")
        while not server.turns._waiting:  # it has arrived
            threading.Event().wait(0.01)
        new = pool.submit(client.get, "view?width=8&height=8&client=c&turn=2")
        assert old.result(20).status_code == 204  # while the thread is still held
        go.set()
        assert new.result(20).status_code == 200
    late = client.get("view?width=8&height=8&client=c&turn=1")
    assert late.status_code == 204 and late.content == b"" and server.turns.dropped == 2


def test_a_file_is_a_png_of_any_size(client: TestClient, server: Server) -> None:
    answer = client.get("save?layer=model-1&box=0,0,1,1&width=123&height=45")
    assert answer.headers["content-type"] == "image/png"
    question = Question(0, Layer("model", 1), Damage(), (0, 0, 1, 1), (45, 123))
    pixels = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert np.array_equal(pixels, server.room.render(question)[..., :3])


def test_the_python_line_is_given_for_what_is_seen(client: TestClient, folder: Path) -> None:
    line = client.get("python?layer=model-0&box=0,0,1,1&width=12&height=9&noise=5").text
    assert repr(str(folder / "a.png")) in line and "render((9, 12), box=(0.0, 0.0, 1.0, 1.0))" in line
    assert "'sigma': 5.0" in line and "manual_seed(0)" in line


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("view?width=99999&height=1", "width is a number from 1 to 16384"),
        ("view?width=8000&height=8000", "at most 14.7 million pixels"),
        ("save?width=16384&height=16384", "at most 64.0 million pixels"),
        ("view?width=8&height=8&picture=2", "picture is a number from 0 to 1"),
        ("picture?picture=..%2F..%2Fetc%2Fpasswd", "picture is a number"),
        ("view?width=8&height=8&layer=meaning-0", "reads no semantic field"),
        ("view?width=8&height=8&turn=1e99", "turn is a number"),
        ("view?width=8&height=8&box=0,0,0,0", "y0 < y1"),
        (f"view?width=8&height=8&x={'y' * 3000}", "a request has at most 2000 characters"),
    ],
)
def test_what_asks_for_too_much_is_one_line(client: TestClient, path: str, message: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 400 and message in answer.text
    assert answer.text.count("\n") == 1 and len(answer.text) < 400


@pytest.mark.parametrize(
    "path",
    ["page/index.html", "server.py", "../server.py", "%2e%2e/server.py", "view.js/../server.py", "static/x", "a.png"],
)
def test_no_file_of_the_machine_has_an_address(client: TestClient, path: str) -> None:
    assert client.get(path).status_code in (403, 404)
    assert client.post("view?width=8&height=8").status_code == 405


def test_a_damaged_picture_and_a_failing_model_leave_the_server_alive(
    client: TestClient, folder: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "b.png").write_text("no picture")
    answer = client.get("picture?picture=1")
    assert answer.status_code == 400 and "b.png" in answer.text

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("layer\nbroken")

    monkeypatch.setattr(ik.ImplicitModel, "encode", fail)
    answer = client.get("view?width=8&height=8")
    assert answer.status_code == 500 and answer.text == "RuntimeError: layer\n"
    assert client.get("view?layer=nearest&width=8&height=8").status_code == 200
