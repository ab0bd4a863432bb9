"""Check the built site: every internal link and anchor leads somewhere, and no page fetches anything from another host.

mkdocs build --strict && python docs/check_site.py build/site
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src"}
RELATIONS = {"stylesheet", "icon", "preload", "preconnect", "dns-prefetch", "modulepreload"}


class PageParser(HTMLParser):
    """A page's anchors, links and what the browser fetches by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what the element refers to."""
        values = {key: value or "" for key, value in attrs}
        self.anchors |= {values[key] for key in ("id", "name") if values.get(key)}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag in FETCHED and values.get(FETCHED[tag]):
            self.fetched.append(values[FETCHED[tag]])
        if tag == "link" and RELATIONS & set(values.get("rel", "").split()):
            self.fetched.append(values.get("href", ""))


def problems(site: Path) -> list[str]:
    """What is wrong with the pages under ``site``, a line each."""
    pages = {file.resolve(): parsed(file) for file in sorted(site.rglob("*.html"))}
    found = [] if pages else [f"{site}: no pages; build the site first"]
    for file, page in pages.items():
        where = file.relative_to(site.resolve())
        for address in page.fetched:
            if urlsplit(address).netloc:
                found.append(f"{where} fetches {address} from another host")
            elif not address.startswith("data:") and target_of(site, file, address) is None:
                found.append(f"{where} fetches {address}, which is not there")
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = target_of(site, file, link)
            if target is None:
                found.append(f"{where} links to {link}, which is not there")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                found.append(f"{where} links to {link}, where there is no such anchor")
    return found


def parsed(file: Path) -> PageParser:
    """A page that has been read."""
    parser = PageParser()
    parser.feed(file.read_text(encoding="utf-8"))
    return parser


def target_of(site: Path, file: Path, address: str) -> Path | None:
    """The file that an address on the page ``file`` names, if it is there."""
    path = unquote(urlsplit(address).path)
    if path.startswith("/"):  # only 404.html, which is shown at any depth
        target = site / path.lstrip("/") if file.name == "404.html" else None
        if target is not None and not target.exists():
            target = site / "/".join(path.strip("/").split("/")[1:])  # below the name of the project
    else:
        target = file.parent / path if path else file
    if target is not None and target.is_dir():
        target /= "index.html"
    return target.resolve() if target is not None and target.is_file() else None


if __name__ == "__main__":
    lines = problems(Path(sys.argv[1] if len(sys.argv) > 1 else "build/site"))
    sys.stderr.write("".join(f"{line}\n" for line in lines))
    sys.exit(1 if lines else 0)
