"""The server: its REST interface, what it refuses, and the page in a real browser."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("gradio")

import gradio_client
import httpx

import implicitkit as ik
from implicitkit.app.serving import listen, private_folder
from implicitkit.images.io import Picture, read_picture, write_picture
from oracles import ROOT
from oracles.browser import chromium, complaints, foreign_requests, press, served, wait_for


@pytest.fixture(scope="module")
def address() -> Any:
    with served("--max-upload", "0.5", "--max-pixels", "4") as address:
        yield address


@pytest.fixture(scope="module")
def client(address: str) -> Any:
    return gradio_client.Client(address, verbose=False, analytics_enabled=False)


def test_a_client_upscales_a_picture_of_16_bits(client: Any, tmp_path: Path) -> None:
    write_picture(tmp_path / "deep.png", Picture(np.full((12, 16, 1), 40000, np.uint16)))
    given = gradio_client.handle_file(tmp_path / "deep.png")
    slider, file, text = client.predict(given, "liif_small", "size", None, 33, None, "fit", api_name="/upscale")
    result = read_picture(file)
    assert result.size == (25, 33) and result.bits == 16 and result.is_grey and len(slider) == 2
    assert abs(int(result.pixels.mean()) - 40000) < 2000 and text.startswith("16×12 to 33×25, 16 bits")


def test_the_curl_lines_of_the_page_work(address: str, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "app.md").read_text(encoding="utf-8")
    script = page.split("```bash\n# upscale")[1].split("```")[0]
    ik.write_image(tmp_path / "photo.png", torch.rand(3, 10, 12))
    script = script.replace("http://127.0.0.1:7860/", address)
    done = subprocess.run(["bash", "-euc", script], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert read_picture(tmp_path / "large.png").size == (25, 30)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({2: "factor", 3: 60}, "megapixels; this page makes at most 4"),
        ({3: 65}, "the factor is a positive number up to 64; received 65"),
        ({3: -1}, "Value -1 is less than minimum value 0"),
        ({0: None}, "there is no picture yet"),
        ({1: "/etc/passwd"}, "/etc/passwd"),  # no choice of the list
    ],
)
def test_errors_are_one_line(client: Any, tmp_path: Path, changes: dict[int, Any], line: str) -> None:
    ik.write_image(tmp_path / "a.png", torch.rand(3, 60, 60))
    asked = [gradio_client.handle_file(tmp_path / "a.png"), "liif_small", "factor", 2, None, None, "fit"]
    for place, value in changes.items():
        asked[place] = value
    with pytest.raises(Exception, match=".*") as raised:
        client.predict(*asked, api_name="/upscale")
    assert line in str(raised.value) and "\n" not in str(raised.value).strip()


def test_a_file_that_is_too_large_is_refused_when_it_is_sent(address: str) -> None:
    answer = httpx.post(f"{address}gradio_api/upload", files={"files": ("big.png", b"x" * 600_000)}, timeout=60)
    assert answer.status_code == 413 and "exceed" in answer.text.lower()


def test_no_file_of_the_machine_can_be_had(address: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    ik.write_image(secret, torch.rand(3, 8, 8))
    for path in (secret, "/etc/passwd", ROOT / "README.md", "/proc/self/environ"):
        assert httpx.get(f"{address}gradio_api/file={path}", timeout=60).status_code in (403, 404)
    for path, line in ((secret, "not uploaded"), ("http://127.0.0.1:9/a.png", "not fetched from an address")):
        stolen = {"path": str(path), "orig_name": "a.png", "meta": {"_type": "gradio.FileData"}}
        body = {"data": [stolen, "liif_small", "factor", 2, None, None, "fit"]}
        event = httpx.post(f"{address}gradio_api/call/upscale", json=body, timeout=60).json()["event_id"]
        answer = httpx.get(f"{address}gradio_api/call/upscale/{event}", timeout=60).text
        assert "event: error" in answer and "complete" not in answer and line in answer


def test_a_name_that_points_here_is_refused(address: str) -> None:
    assert httpx.get(address, headers={"Host": "evil.example"}, timeout=60).status_code == 400
    assert json.loads(httpx.get(f"{address}config", timeout=60).text)["analytics_enabled"] is False


def test_a_port_in_use_is_one_line() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ik.UserError, match=rf"cannot listen at 127\.0\.0\.1:{port}: .*; choose another --port"):
            listen("127.0.0.1", port)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))


def test_uploads_go_into_a_folder_that_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setenv("GRADIO_TEMP_DIR", "before")
    with private_folder() as folder:
        assert os.environ["GRADIO_TEMP_DIR"] == str(folder) and os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
        (folder / "a").write_text("b")
    assert not folder.exists() and os.environ["GRADIO_TEMP_DIR"] == "before"


@pytest.mark.slow
def test_the_page_upscales_the_demo_picture_in_chromium(tmp_path: Path) -> None:
    with served() as address, chromium() as browser:
        browser.get(address)
        press(browser, "upscale-start")
        assert wait_for(browser, "document.body.innerText.includes('there is no picture yet')")
        badges = "[...document.querySelectorAll('span')].filter(s => s.innerText == 'Error' && s.checkVisibility())"
        covered = wait_for(browser, f"{badges}.map(s => s.closest('#upscale-text') !== null)")
        assert sorted(covered) == [False, True]  # the message's own title, and the line below the picture
        press(browser, "Use the demo picture")
        wait_for(browser, "document.querySelector('img[src*=astronaut]')")
        factor = wait_for(browser, "document.querySelector('input[type=number]')")
        factor.clear()
        factor.send_keys("1.2\t")
        press(browser, "upscale-start")
        text = wait_for(browser, "document.querySelector('#upscale-text textarea')?.value")
        assert text.startswith("512×512 to 614×614")
        pair = "[...document.querySelectorAll('.slider-wrap img, [data-testid=imageslider] img, img[src*=after]')]"
        assert wait_for(browser, f"{pair}.length && {pair}.every(i => i.naturalWidth == 614)")
        handle = wait_for(browser, "document.querySelector('.handle-wrap, .outer .inner, [role=slider]')")
        before = handle.location["x"]
        from selenium.webdriver import ActionChains

        ActionChains(browser).click_and_hold(handle).move_by_offset(-120, 0).release().perform()
        assert handle.location["x"] < before - 60
        browser.save_screenshot(str(tmp_path / "upscale.png"))
        press(browser, "Inpaint")
        assert wait_for(browser, "document.body.innerText.includes('pip install implicitkit-sair')")
        assert complaints(browser) == [] and foreign_requests(browser, address) == set()
