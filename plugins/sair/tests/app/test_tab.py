"""The inpainting tab: its routes, and itself in a real browser."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from painters import disc, picture

pytest.importorskip("gradio")

import gradio_client

import implicitkit as ik
from implicitkit.images import Picture, read_picture, to_pixels, write_picture

sys.path.append(str(Path(__file__).parents[4] / "tests"))  # the browser is that of the core's tests
from oracles.browser import chromium, complaints, foreign_requests, press, served, wait_for

PLUGIN = {"IMPLICITKIT_PLUGINS": "none,implicitkit_sair"}


@pytest.fixture(scope="module")
def address() -> Any:
    with served(**PLUGIN) as address:
        yield address


@pytest.fixture(scope="module")
def client(address: str) -> Any:
    return gradio_client.Client(address, verbose=False, analytics_enabled=False)


def test_a_client_fills_a_picture_of_16_bits(client: Any, tmp_path: Path) -> None:
    write_picture(tmp_path / "deep.png", Picture(to_pixels(picture(30, 36), 16)))
    ik.write_image(tmp_path / "m.png", disc(30, 36))
    given = [gradio_client.handle_file(tmp_path / name) for name in ("deep.png", "m.png")]
    slider, files, text = client.predict(*given, "biharmonic", 0, 0, False, 0, 0, 0, 4, api_name="/inpaint")
    (file,) = files
    filled, before = read_picture(file), read_picture(tmp_path / "deep.png")
    known = disc(30, 36)[0].numpy() < 0.5
    assert filled.size == (34, 36) and filled.bits == 16 and len(slider) == 2 and "filled by biharmonic" in text
    assert np.array_equal(filled.pixels[:30][known], before.pixels[known])


def test_a_client_selects_by_a_point(client: Any, tmp_path: Path) -> None:
    ik.write_image(tmp_path / "a.png", picture(48, 64))
    given = gradio_client.handle_file(tmp_path / "a.png")
    mask = read_picture(client.predict(given, "sair_faces", "10,10", "", "", 0, api_name="/select"))
    assert mask.size == (48, 64) and 0 < (mask.pixels > 127).mean() < 1
    with pytest.raises(Exception, match="lies outside of the picture"):
        client.predict(given, "sair_faces", "100,10", "", "", 0, api_name="/select")


@pytest.mark.slow
def test_the_page_fills_what_was_painted_over_in_chromium(address: str, tmp_path: Path) -> None:
    from selenium.webdriver import ActionChains

    with chromium((1280, 1500)) as browser:
        browser.get(address)
        press(browser, "Inpaint")
        demos = (
            "[...document.querySelectorAll('button')].filter(b => b.innerText.includes('demo') && b.checkVisibility())"
        )
        browser.execute_script("arguments[0].click()", wait_for(browser, f"{demos}[0]"))
        canvas = wait_for(browser, "document.querySelector('#inpaint-canvas canvas')")
        wait_for(browser, "document.querySelector('img[src*=astronaut]')")
        time.sleep(3)  # the canvas shows nothing to ask for
        draw = ActionChains(browser, duration=50)
        draw.move_to_element(canvas).click_and_hold().move_by_offset(30, 10).move_by_offset(20, -20).release().perform()
        browser.save_screenshot(str(tmp_path / "painted.png"))
        press(browser, "inpaint-start")
        text = wait_for(browser, "document.querySelector('#inpaint-text textarea')?.value")
        assert text.startswith("512×512") and "filled by" in text and "0.0%" not in text, text
        browser.save_screenshot(str(tmp_path / "filled.png"))
        press(browser, "By meaning")
        shown = wait_for(browser, "document.querySelector('#inpaint-meaning img')")
        wait_for(browser, "arguments[0].naturalWidth", shown)
        ActionChains(browser).move_to_element(shown).click().perform()
        assert "," in wait_for(browser, "[...document.querySelectorAll('#inpaint-like textarea')][0]?.value")
        browser.save_screenshot(str(tmp_path / "meaning.png"))
        assert complaints(browser) == [] and foreign_requests(browser, address) == set()
