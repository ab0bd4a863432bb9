"""The viewer's page in a browser, and what a test asks of it."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

from implicitkit.viewer.question import Damage, Layer, Question, parse_box
from implicitkit.viewer.server import Server

WAIT_S = 60


class Page:
    """The page, and what a test asks of it."""

    def __init__(self, browser: Any, server: Server, address: str) -> None:
        self.browser, self.server = browser, server
        browser.get(address)
        self.settle()

    def js(self, code: str, *arguments: object) -> Any:
        return self.browser.execute_script(code, *arguments)

    def until(self, holds: Callable[[], object], what: str) -> None:
        end = time.monotonic() + WAIT_S
        while not holds():
            assert time.monotonic() < end, f"{what}; {self.js('return document.body.innerText')[:500]}"
            time.sleep(0.03)

    def settle(self) -> None:
        """Wait until all is sharp, and drawn."""
        settled = (
            "return document.body.dataset.state === 'sharp' && !dirty && !painting && base.key === keyOf('bicubic')"
        )
        self.until(lambda: self.js(settled), "the view does not become sharp")
        self.browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")

    @property
    def zoom(self) -> float:
        return float(self.js("return state.zoom"))

    def find(self, selector: str) -> Any:
        return self.browser.find_element("css selector", selector)

    def press(self, key: str, times: int = 1) -> None:
        ActionChains(self.browser).send_keys(key * times).perform()

    def wheel(self, delta: int, x: int = 0, y: int = 0) -> None:
        origin = ScrollOrigin.from_element(self.find("#canvas"), x, y)
        ActionChains(self.browser).scroll_from_origin(origin, 0, delta).perform()

    def drag(self, selector: str, dx: int, dy: int) -> None:
        actions = ActionChains(self.browser, duration=50).move_to_element(self.find(selector)).click_and_hold()
        actions.move_by_offset(dx // 2, dy // 2).move_by_offset(dx - dx // 2, dy - dy // 2).release().perform()

    def turn_on(self, name: str, value: float) -> None:
        """Set a slider as a hand does."""
        code = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input', {bubbles: true}))"
        before = self.js("return turn")
        self.js(code, self.find(f"[name={name}], #{name}"), value)
        self.until(lambda: self.js("return turn") > before, "the slider asks for nothing")
        self.settle()

    def canvas(self) -> np.ndarray:
        """What is seen of the picture, ``(H, W, 3)``."""
        code = """const s = seen(), [x, y] = place(s.box).map(Math.round), part = document.createElement("canvas");
            part.width = s.width; part.height = s.height;
            part.getContext("2d").drawImage(canvas, -x, -y);
            return part.toDataURL("image/png")"""
        data = base64.b64decode(self.js(code).partition(",")[2])
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

    def expected(self, word: str, damage: Damage | None = None) -> np.ndarray:
        """What the server renders of it, ``(H, W, 3)``."""
        return self.rendered(word, damage)[..., :3]

    def rendered(self, word: str, damage: Damage | None = None) -> np.ndarray:
        """The same with alpha, ``(H, W, 4)``."""
        box, width, height = self.js("const s = seen(); return [s.box.join(','), s.width, s.height]")
        size = (int(height), int(width))
        index = int(self.js("return state.picture.index"))
        question = Question(index, Layer.parse(word, 2), damage or Damage(), parse_box(box, size), size)
        return self.server.room.render(question)
