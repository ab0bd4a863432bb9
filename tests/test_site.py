"""The site is built without a warning, its links lead somewhere, and its pages fit the screen of a real browser."""

from __future__ import annotations

import functools
import http.server
import os
import runpy
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oracles import ROOT

pytestmark = pytest.mark.slow
CHECK = runpy.run_path(str(ROOT / "docs" / "check_site.py"))
WIDTHS = (1280, 390)
VERSIONS = "versions.json"  # mike writes it where it deploys
OVERFLOW = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
FETCHED = "return performance.getEntriesByType('resource').map(e => e.name)"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("material", reason="the extra docs is not installed")
    folder = tmp_path_factory.mktemp("site") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"})
    assert built.returncode == 0, built.stderr[-3000:]
    return folder


def test_links_and_anchors_lead_somewhere_and_nothing_comes_from_elsewhere(site: Path) -> None:
    assert CHECK["problems"](site) == []


def test_every_page_is_in_the_navigation(site: Path) -> None:
    front = CHECK["parsed"](site / "index.html")
    listed = {(site / link).resolve() for link in front.links if ":" not in link and "#" not in link}
    pages = {page.parent.resolve() for page in site.rglob("index.html")}
    assert pages - listed - {site.resolve()} == set()


def test_what_is_wrong_is_found(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(
        '<link rel="stylesheet" href="https://fonts.example/a.css"><a href="gone/">x</a><a href="#gone">y</a><img src="no.png">'
    )
    assert [line.split(" ", 1)[1] for line in CHECK["problems"](tmp_path)] == [
        "fetches https://fonts.example/a.css from another host",
        "fetches no.png, which is not there",
        "links to gone/, which is not there",
        "links to #gone, where there is no such anchor",
    ]
    assert "no pages" in CHECK["problems"](tmp_path / "nothing")[0]


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    class Silent(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Silent, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver")
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("no chromium with chromedriver here")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "SEVERE"})
    running = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield running
    running.quit()


@pytest.mark.parametrize("width", WIDTHS)
def test_no_page_is_wider_than_the_screen(site: Path, address: str, browser: Any, width: int) -> None:
    browser.execute_cdp_cmd(  # a headless window cannot be as narrow as a phone
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    faults = []
    for page in sorted(site.rglob("index.html")):
        name = page.parent.relative_to(site).as_posix()
        browser.get(f"{address}/{name}/")
        if (excess := browser.execute_script(OVERFLOW)) > 0:
            faults.append(f"{name}: {excess} pixels too wide")
        messages = [entry["message"] for entry in browser.get_log("browser")]
        faults += [f"{name}: {message}" for message in messages if VERSIONS not in message]
        faults += [f"{name} fetches {one}" for one in browser.execute_script(FETCHED) if not one.startswith(address)]
    assert not faults
