"""The page in a real browser: headless Chromium, driven by selenium."""

from __future__ import annotations

import base64
import io
import threading
import time
import urllib.parse
from collections.abc import Iterator
from typing import Any

import imagecodecs
import numpy as np
import pytest
import torch
import uvicorn
from PIL import Image

import implicitkit as ik
from implicitkit.images.io import Picture, read_picture, to_pixels, write_picture
from implicitkit.viewer.darkroom import Darkroom, Named
from implicitkit.viewer.question import Damage
from implicitkit.viewer.running import address_of, listen
from implicitkit.viewer.server import Server, application
from implicitkit.viewer.turns import Turns
from oracles import PHOTOS
from oracles.browser import chromium
from oracles.models import conditioned_model, small_model

pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install selenium")
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from oracles.viewer_page import Page

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    folder = tmp_path_factory.mktemp("pictures")
    photo = ik.read_image(PHOTOS / "chelsea.png")
    ik.write_image(folder / "cat.png", photo[:, 40:140, 80:230])
    ik.write_image(folder / "tall.png", photo[:, 20:140, 100:160])
    veil = np.clip(np.hypot(*np.mgrid[-50:50, -75:75]) * 8 - 200, 0, 255).astype(np.uint8)
    cat = to_pixels(photo[:, 40:140, 80:230])
    write_picture(folder / "veiled.png", Picture(cat, 255 - veil))
    primaries = (0.68, 0.32, 1, 0.265, 0.69, 1, 0.15, 0.06, 1)
    wide = imagecodecs.cms_profile("rgb", whitepoint=(0.3127, 0.329, 1), primaries=primaries, gamma=2.2)
    write_picture(folder / "wide.png", Picture(cat.astype(np.uint16) * 257, icc=bytes(wide)))
    torch.manual_seed(0)
    models = [Named("small", small_model(skip="bilinear")), Named("meaning", conditioned_model())]
    turns = Turns()
    files = [folder / f"{name}.png" for name in ("cat", "tall", "veiled", "wide")]
    made = Server(Darkroom(files, models), turns)
    listener = listen("127.0.0.1", 0)
    config = uvicorn.Config(application(made, "token", "127.0.0.1"), log_config=None, lifespan="off")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
    thread.start()
    yield made, address_of(listener, "127.0.0.1", "token")
    running.should_exit = True
    thread.join(20)
    turns.stop()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    downloads = tmp_path_factory.mktemp("downloads")
    with chromium((1100, 760), downloads) as driver:
        driver.downloads = downloads
        yield driver


@pytest.fixture
def page(browser: Any, server: tuple[Server, str]) -> Iterator[Page]:
    browser.get_log("browser")
    page = Page(browser, *server)
    yield page
    wrong = [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    assert not wrong


def middle(width: int) -> slice:
    """Columns away from the slider's line."""
    return slice(width // 2 + 2, None)


def test_it_loads_and_shows_the_field_itself_pixel_by_pixel(page: Page) -> None:
    assert page.js("return document.title") == "cat.png – implicitkit view"
    shown = page.canvas()
    ratio = float(page.js("return canvas.width / stage.clientWidth"))
    assert ratio == pytest.approx(float(page.js("return devicePixelRatio")), rel=0.01)
    half = shown.shape[1] // 2
    assert np.array_equal(shown[:, half + 2 :], page.expected("model-0")[:, half + 2 :])
    assert np.array_equal(shown[:, : half - 2], page.expected("model-1")[:, : half - 2])
    assert page.find("#left").text == "meaning" and page.find("#right").text == "small"


def test_the_wheel_zooms_64_times_around_the_pointer_and_keys_go_back(page: Page) -> None:
    start = page.zoom
    at = "const e = edges((v) => v); return (canvas.width / 2 + 60 - e.left) / (e.right - e.left)"
    pointed = float(page.js(at))
    while page.zoom < 64 * start:
        page.wheel(-300, 60, 40)
    page.settle()
    assert page.zoom >= 64 * start
    assert abs(float(page.js(at)) - pointed) < 1e-3  # the point under the pointer stays
    shown = page.canvas()
    assert np.array_equal(shown[:, middle(shown.shape[1])], page.expected("model-0")[:, middle(shown.shape[1])])
    assert f"{page.zoom:.0f}"[:2] in page.find("#zoom").text
    page.press("0")
    page.settle()
    assert page.zoom == pytest.approx(start)


def test_keys_move_and_zoom(page: Page) -> None:
    page.press("+", 4)
    page.settle()
    zoomed, x, y = page.zoom, *page.js("return [state.x, state.y]")
    assert zoomed == pytest.approx(page.js("return fitZoom()") * 1.25**4)
    page.press(Keys.ARROW_RIGHT)
    page.press(Keys.ARROW_DOWN)
    page.settle()
    right, down = page.js("return [state.x, state.y]")
    assert right > x and down > y
    page.press("-", 2)
    page.settle()
    assert page.zoom == pytest.approx(zoomed / 1.25**2)
    page.press("1")
    page.settle()
    assert page.zoom == pytest.approx(1)
    page.press("f")
    page.until(lambda: page.js("return document.fullscreenElement !== null"), "f does not fill the screen")
    page.press("f")
    page.until(lambda: page.js("return document.fullscreenElement === null"), "f does not go back")
    page.settle()


def test_dragging_moves_the_picture_with_the_hand(page: Page) -> None:
    page.js("setMode('one'); zoomBy(4)")
    page.settle()
    before = page.canvas()
    page.drag("#canvas", -80, -40)
    page.settle()
    ratio = round(float(page.js("return devicePixelRatio")))
    assert (
        np.abs(page.canvas()[: -40 * ratio, : -80 * ratio].astype(int) - before[40 * ratio :, 80 * ratio :]).max() <= 2
    )


def test_two_fingers_zoom(page: Page) -> None:
    page.js("setMode('one')")
    page.settle()
    start = page.zoom
    x, y = page.js("const r = stage.getBoundingClientRect(); return [r.left + r.width / 2, r.top + r.height / 2]")

    def touch(kind: str, spread: float | None) -> None:
        points = [] if spread is None else [{"x": x - spread, "y": y, "id": 0}, {"x": x + spread, "y": y, "id": 1}]
        page.browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", 40)
    for spread in range(50, 130, 10):
        touch("touchMove", spread)
    touch("touchEnd", None)
    page.settle()
    assert page.zoom == pytest.approx(3 * start, rel=0.1)
    assert page.js("return pointers.size") == 0


def test_the_slider_moves_by_hand_and_by_keys(page: Page) -> None:
    page.js("state.b = 'nearest'; changed()")
    page.settle()
    stage = float(page.js("return stage.clientWidth"))
    page.drag("#split span", -100, 0)
    page.settle()
    assert float(page.js("return state.split")) == pytest.approx(0.5 - 100 / stage, abs=0.01)
    page.press(Keys.ARROW_RIGHT)
    assert float(page.js("return state.split")) == pytest.approx(0.52 - 100 / stage, abs=0.01)
    shown, near, model = page.canvas(), page.expected("nearest"), page.expected("model-0")
    left = int(page.js("return Math.round(state.split * canvas.width) - Math.round(place(seen().box)[0])"))
    assert np.array_equal(shown[:, : left - 1], near[:, : left - 1])
    assert np.array_equal(shown[:, left + 1 :], model[:, left + 1 :])
    page.press("x")
    page.settle()
    assert page.find("#left").text == "small" and page.find("#right").text == "nearest"


def test_the_lens_shows_the_other_layer_where_the_pointer_is(page: Page) -> None:
    page.press("l")
    page.js("state.b = 'bicubic'; changed()")
    page.settle()
    ActionChains(page.browser).move_to_element_with_offset(page.find("#canvas"), 50, 20).perform()
    page.settle()
    x, y = page.js(
        "const r = canvas.width / stage.clientWidth, p = lensPlace(), s = place(seen().box); "
        "return [p.x * r - s[0], p.y * r - s[1]].map(Math.round)"
    )
    shown, other, model = page.canvas(), page.expected("bicubic"), page.expected("model-0")
    near = (slice(y - 30, y + 30), slice(x - 30, x + 30))
    assert np.array_equal(shown[near], other[near]) and not np.array_equal(model[near], other[near])
    assert np.array_equal(shown[:20, :20], model[:20, :20])
    assert "lens" in page.find("#left").text and page.find("#lens").is_displayed()


def test_degradations_switch_live_and_back(page: Page) -> None:
    page.js("setMode('one')")
    page.settle()
    clean = page.canvas()
    page.turn_on("noise", 30)
    noisy = page.canvas()
    assert np.array_equal(noisy, page.expected("model-0", Damage(noise=30)))
    page.turn_on("low", 2)
    page.turn_on("holes", 0.2)
    page.turn_on("blur", 1)
    damage = Damage(blur=1, low=2, noise=30, holes=0.2)
    assert np.array_equal(page.canvas(), page.expected("model-0", damage))
    page.turn_on("seed", 5)
    assert not np.array_equal(page.canvas(), page.expected("model-0", damage))
    assert "'ratio': 0.2" in page.find("#code").text or page.js("return $('code').textContent").count("ratio") == 1
    page.find("#clean").click()
    page.settle()
    assert np.array_equal(page.canvas(), clean)


def test_meaning_lies_over_the_picture(page: Page) -> None:
    page.js("state.a = 'model-1'; setMode('one')")
    page.settle()
    plain = page.canvas()
    page.turn_on("meaning", 100)
    meaning = page.canvas()
    coarse = page.expected("meaning-1")
    assert np.abs(meaning.astype(int) - coarse).mean() < 12 < np.abs(meaning.astype(int) - plain).mean()
    page.press("m")
    page.settle()
    assert np.array_equal(page.canvas(), plain)


def test_the_line_is_copied_and_the_picture_saved(page: Page) -> None:
    page.press("+", 3)
    page.settle()
    page.until(lambda: "field.render(" in page.js("return $('code').textContent"), "there is no Python line")
    page.find("#copy").click()
    page.until(lambda: page.js("return $('toast').textContent") == "Python line copied", "nothing was copied")
    width = page.find("#width")
    width.clear()
    width.send_keys("321")
    height = int(page.js("return $('height').value"))
    window = page.js("const s = seen(); return s.height / s.width")
    assert height == pytest.approx(321 * window, abs=1)
    page.find("#save").click()
    saved = page.browser.downloads / f"cat_small_321x{height}.png"
    page.until(saved.exists, "nothing was saved")
    assert ik.read_image(saved).shape == (3, height, 321)


def test_after_a_rush_of_moves_the_newest_view_is_what_is_seen(page: Page) -> None:
    page.js("setMode('one'); zoomBy(8)")
    page.settle()
    first = int(page.js("return turn"))
    for _ in range(5):
        page.js("for (let k = 0; k < 40; k++) panBy(k % 2 ? -9 : 4, 3)")
    page.settle()
    assert np.array_equal(page.canvas(), page.expected("model-0"))
    assert int(page.js("return turn")) - first < 200  # not one for each of 200 moves
    assert page.find("#message").is_displayed() is False


def test_other_pictures_and_a_damaged_one(page: Page, server: tuple[Server, str]) -> None:
    page.press("]")
    page.until(lambda: "tall" in page.js("return document.title"), "the next picture does not open")
    page.settle()
    assert page.js("return [state.picture.width, state.picture.height]") == [60, 120]
    shown = page.canvas()
    assert np.array_equal(shown[:, middle(shown.shape[1])], page.expected("model-0")[:, middle(shown.shape[1])])
    page.press("[")
    page.until(lambda: "cat" in page.js("return document.title"), "the first picture does not come again")
    page.settle()


def test_transparency_lies_over_a_checkerboard(page: Page) -> None:
    page.js("state.b = 'nearest'; open(2)")
    page.until(lambda: "veiled" in page.js("return document.title"), "the picture does not open")
    page.settle()
    assert page.find("#facts").text == "8 bits, transparency"
    x, y, side = page.js("return [...place(seen().box).slice(0, 2).map(Math.round), ground.side]")
    shown = page.canvas()
    rows, columns = (np.arange(n) + at for n, at in zip(shown.shape, (y, x), strict=False))
    light, dark = ([int(c[k : k + 2], 16) for k in (1, 3, 5)] for c in page.js("return CHECKS"))
    odd = (rows[:, None] // side + columns // side) % 2
    checks = np.where(odd[..., None] == 0, light, dark)
    for layer, part in (("model-0", middle(shown.shape[1])), ("nearest", slice(0, shown.shape[1] // 2 - 2))):
        expected = page.rendered(layer)
        alpha = expected[..., 3:] / 255
        assert alpha.min() == 0 and alpha.max() == 1
        over = expected[..., :3] * alpha + checks * (1 - alpha)
        assert np.abs(shown[:, part] - over[:, part]).max() <= 3, layer  # a canvas holds premultiplied bytes
    page.find("#width").clear()
    page.find("#width").send_keys("75")
    page.find("#save").click()
    page.until(lambda: list(page.browser.downloads.glob("veiled_small_75x*.png")), "nothing was saved")
    saved = read_picture(next(page.browser.downloads.glob("veiled_small_75x*.png")))
    assert saved.alpha is not None and saved.alpha.min() == 0 and saved.alpha.max() == 255


def test_colours_are_those_that_the_browser_itself_shows_of_the_file(page: Page) -> None:
    page.js("state.a = 'nearest'; setMode('one'); open(3)")
    page.until(lambda: "wide" in page.js("return document.title"), "the picture does not open")
    page.press("1")
    page.settle()
    shown = page.canvas()
    assert page.find("#facts").text.startswith("16 bits, ") and page.find("#facts").text.endswith(", shown as sRGB")
    assert shown.shape == (100, 150, 3)
    file = base64.b64encode(page.server.room.pictures[3].read_bytes()).decode()
    page.browser.get(f"data:text/html,<img src='data:image/png;base64,{urllib.parse.quote(file)}'>")
    data = page.browser.execute_async_script("""const done = arguments[0], image = document.images[0];
        image.decode().then(() => { const c = document.createElement("canvas"); c.width = 150; c.height = 100;
        c.getContext("2d").drawImage(image, 0, 0); done(c.toDataURL("image/png")); })""")
    own = np.asarray(Image.open(io.BytesIO(base64.b64decode(data.partition(",")[2]))).convert("RGB"))
    plain = ik.read_image(PHOTOS / "chelsea.png")[:, 40:140, 80:230]
    assert np.abs(own.astype(int) - to_pixels(plain)).max() > 10  # the profile matters
    assert np.abs(own.astype(int) - shown).max() <= 3


def test_a_damage_that_is_taken_back_at_once_leaves_no_backdrop(page: Page) -> None:
    page.settle()
    page.js("const was = state.damage; state.damage = {...was, noise: 30}; changed(); state.damage = was; changed();")
    loaded = "return performance.getEntriesByType('resource').some((e) => e.name.includes('-base') && e.name.includes('noise=30'))"
    page.until(lambda: page.js(loaded), "the other backdrop does not come")
    time.sleep(0.3)
    page.settle()  # the backdrop is the undamaged one


def test_the_list_of_keys_opens_and_the_panel_closes(page: Page) -> None:
    page.press("?")
    assert page.find("#keys").is_displayed()
    page.press(Keys.ESCAPE)
    before = page.js("return stage.clientWidth")
    page.press("p")
    page.until(lambda: page.js("return stage.clientWidth") > before, "the panel stays")
    page.settle()


def test_a_phone_has_the_picture_and_every_control(page: Page) -> None:
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        page.browser.refresh()
        page.settle()
        assert page.js("return [document.documentElement.scrollWidth, canvas.width]") == [390, 780]
        shown = page.canvas()
        assert np.array_equal(shown[:, middle(shown.shape[1])], page.expected("model-0")[:, middle(shown.shape[1])])
        page.find("#settings").click()
        page.settle()
        wide = "return [...document.querySelectorAll('button, select, input, dd, output')].filter((e) => e.offsetParent && e.getBoundingClientRect().right > 390).length"
        assert page.js(wide) == 0
        assert page.js("return stage.clientHeight") > 300
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
