"""A page of this package in a real browser: Debian's Chromium without a window, by selenium."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PATIENCE_S = 180.0


@contextmanager
def served(*arguments: str, **environment: str) -> Iterator[str]:
    """The address of ``implicitkit app`` in a process of its own, with these arguments."""
    command = [sys.executable, "-m", "implicitkit", "app", "--port", "0", "--device", "cpu", *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **environment}
    )
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("http"):
                break
        assert lines and lines[-1].startswith("http://127.0.0.1:"), lines
        yield lines[-1].split()[0]
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


@contextmanager
def chromium(size: tuple[int, int] = (1280, 1000), downloads: Path | None = None) -> Iterator[Any]:
    """A driver that saves into the folder ``downloads``; the test is skipped where there is no Chromium or no selenium."""
    names = ("chromium", "chromium-browser", "google-chrome")
    binary, driver = next(filter(None, map(shutil.which, names)), None), shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("no Chromium with its chromedriver on the PATH (Debian: apt-get install chromium chromium-driver)")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in ("headless=new", "no-sandbox", "disable-dev-shm-usage", f"window-size={size[0]},{size[1]}"):
        options.add_argument(f"--{flag}")
    if downloads is not None:
        options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield browser
    finally:
        browser.quit()


def wait_for(browser: Any, script: str, *arguments: Any) -> Any:
    """What a script returns once that is something."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if found := browser.execute_script(f"return {script}", *arguments):
            return found
        time.sleep(0.3)
    raise AssertionError(f"{script} stayed empty; the page: {browser.execute_script('return document.body.innerText')}")


def press(browser: Any, button: str) -> None:
    """Press the visible button of that id or that text."""
    found = wait_for(
        browser,
        "document.getElementById(arguments[0]) || [...document.querySelectorAll('button')]"
        ".find(b => b.innerText.trim() == arguments[0] && b.checkVisibility({visibilityProperty: true, opacityProperty: true})"
        " && !b.closest('[aria-hidden=true]'))",
        button,
    )
    browser.execute_script("arguments[0].click()", found)


def complaints(browser: Any) -> list[str]:
    """The errors of the browser's console so far."""
    return [e["message"] for e in browser.get_log("browser") if e["level"] == "SEVERE"]


def foreign_requests(browser: Any, address: str) -> set[str]:
    """What was asked of other machines so far."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    return {url for url in asked if not url.startswith((address, "data:", "blob:", "chrome"))}
