"""What the site has beyond docs/*.md: pages made of README, CONTRIBUTING, CHANGELOG, notebooks and the public names.

MkDocs calls the functions below by their names (``hooks`` in mkdocs.yml). Links are written for the repository; one
that leads out of docs/ becomes the address of the file there, and one that leads nowhere is a warning, which --strict
makes an error.
"""

from __future__ import annotations

import base64
import json
import logging
import posixpath
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))  # site_reference.py, which MkDocs does not know

from site_reference import EXAMPLES, GROUPS, public_names  # noqa: E402

NOTEBOOKS = ROOT / "examples" / "notebooks"
BORROWED = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
LATER = {"view.md", "app.md", "weights.md"}  # may be in the nav before they are written
LINK = re.compile(r"(\]\()([^)\s#]*)((?:#[^)\s]*)?\))")
FENCE = re.compile(r"^(```.*?^```[ \t]*$)", flags=re.DOTALL | re.MULTILINE)
log = logging.getLogger("mkdocs.plugins.site_pages")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Link to the repository; leave out what is not written yet; list what is generated."""
    # a link in the footer: with repo_url, the theme's script asks GitHub for the number of stars
    config.extra["social"] = [{"icon": "fontawesome/brands/git-alt", "link": repository(), "name": "Repository"}]
    generated = {
        "gallery/": ["gallery/index.md", *(f"gallery/{file.stem}.md" for file in notebooks())],
        "reference/": ["api.md", *(f"reference/{slug(group)}.md" for group in GROUPS)],
    }
    config.nav = list(present(config.nav or [], generated))
    return config


def repository() -> str:
    """The repository's address, which stands in pyproject.toml alone."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return re.findall(r'^Repository = "(.*)"', text, re.MULTILINE)[0]


def present(nav: list[Any], generated: dict[str, list[str]]) -> Iterator[Any]:
    """The entries of ``nav`` that there are, those that end in ``/`` replaced by their pages."""
    for entry in nav:
        (title, target) = next(iter(entry.items())) if isinstance(entry, dict) else (None, entry)
        if isinstance(target, list):
            yield {title: list(present(target, generated))}
        elif target in generated:
            yield {title: generated[target]}
        elif target not in LATER or (ROOT / "docs" / target).is_file():
            yield entry


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for source, page in BORROWED.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        if source == "CHANGELOG.md":
            text += unreleased()
        files.append(File.generated(config, page, content=relocated(text)))
    for file in notebooks():
        for name, content in pages_of(file).items():
            files.append(File.generated(config, name, content=content))
    files.append(File.generated(config, "gallery/index.md", content=gallery()))
    for group, names in GROUPS.items():
        files.append(File.generated(config, f"reference/{slug(group)}.md", content=reference(group, names)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links out of docs/ into addresses in the repository; name the public names' places in api.md."""
    source = page.file.src_uri
    place = posixpath.dirname(f"docs/{source}")
    folder = "examples/notebooks" if source.startswith("gallery/") else place  # where the links were written
    address = f"{repository()}/blob/main/"

    def outside(match: re.Match[str]) -> str:
        opening, target, rest = match.groups()
        if not target or re.match(r"[a-z]+:", target):
            return match[0]
        here = posixpath.normpath(posixpath.join(place, target))
        if here.removeprefix("docs/") in files.src_uris:
            return f"{opening}{posixpath.relpath(here, place)}{rest}"
        path = posixpath.normpath(posixpath.join(folder, target))
        if path in BORROWED:
            path = f"docs/{BORROWED[path]}"
        elif path.startswith("examples/notebooks/") and path.endswith(".ipynb"):
            path = f"docs/gallery/{Path(path).stem}.md"
        if path.removeprefix("docs/") in files.src_uris:
            return f"{opening}{posixpath.relpath(path, place)}{rest}"
        if path.startswith("docs/") and path.removeprefix("docs/") in LATER:
            return f"{opening}{address}{path}{rest}"
        if not (ROOT / path).exists():
            log.warning(f"{source} links to {target}, which is not there")
        return f"{opening}{address}{path}{rest}"

    if source == "api.md":
        for name, group in public_names().items():
            anchor = slug(name) if name in EXAMPLES else full_name(name)
            where = f"reference/{slug(group)}.md#{anchor}"
            markdown = markdown.replace(f"| `{name}` |", f"| [`{name}`]({where}) |")
    parts = FENCE.split(markdown)
    return "".join(part if part.startswith("```") else LINK.sub(outside, part) for part in parts)


def relocated(text: str) -> str:
    """A page of the repository's root, as if it stood in docs/."""

    def moved(match: re.Match[str]) -> str:
        opening, target, rest = match.groups()
        if not target or re.match(r"[a-z]+:", target):
            return match[0]
        return f"{opening}{posixpath.relpath(target, 'docs')}{rest}"

    return "".join(part if part.startswith("```") else LINK.sub(moved, part) for part in FENCE.split(text))


def unreleased() -> str:
    """What changes/ holds, by kind: the changelog that is to come."""
    lines = ["\n## Not released yet\n"]
    for kind in ("added", "changed", "fixed", "removed"):
        files = sorted((ROOT / "changes").glob(f"*.{kind}.md"))
        if files:
            lines += [f"### {kind.capitalize()}\n", *(f"- {' '.join(f.read_text('utf-8').split())}" for f in files), ""]
    return "\n".join(lines)


def notebooks() -> list[Path]:
    """The notebooks, in the order of their numbers."""
    return sorted(NOTEBOOKS.glob("*.ipynb"))


def pages_of(file: Path) -> dict[str, str | bytes]:
    """A notebook as a page with its outputs, and the pictures of these."""
    notebook = json.loads(file.read_text(encoding="utf-8"))
    made: dict[str, str | bytes] = {}
    lines: list[str] = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            lines.append(source)
            continue
        lines.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {"text/plain": output.get("text", "")})
            kind = next((k for k in ("image/jpeg", "image/png", "text/markdown", "text/plain") if k in data), None)
            if kind is None:
                continue
            content = "".join(data[kind])
            if kind.startswith("image/"):
                name = f"gallery/{file.stem}-{len(made) + 1}.{kind.removeprefix('image/')}"
                made[name] = base64.b64decode(content)
                lines.append(f"![output]({posixpath.basename(name)})")
            elif kind == "text/markdown":
                lines.append(content)
            elif content.strip():
                lines.append('```{.text .output title="Output"}\n' + content.rstrip() + "\n```")
    address = f"{repository()}/blob/main/examples/notebooks/{file.name}"
    note = f"[This notebook]({address}) runs in CI; what it printed stands below each cell."
    title, _, rest = "\n\n".join(lines).partition("\n")
    made[f"gallery/{file.stem}.md"] = f"{title}\n\n*{note}*\n\n{rest}"
    return made


def gallery() -> str:
    """The list of notebooks, with the first sentence of each."""
    cards = []
    for file in notebooks():
        first = "".join(json.loads(file.read_text(encoding="utf-8"))["cells"][0]["source"])
        title, _, text = first.partition("\n")
        summary = text.strip().split("\n\n")[0].replace("\n", " ")
        pictures = {name: len(content) for name, content in pages_of(file).items() if not name.endswith(".md")}
        richest = posixpath.basename(max(pictures, key=pictures.__getitem__, default=""))
        picture = f"\n\n    [![{title[2:]}]({richest})]({file.stem}.md)" if richest else ""
        cards.append(f"-   **[{title[2:]}]({file.stem}.md)**\n\n    {summary}{picture}")
    head = "# Gallery\n\nNotebooks that run on two cores in half a minute each, with what they printed and drew.\n\n"
    return head + '<div class="gallery" markdown>\n\n' + "\n\n".join(cards) + "\n\n</div>\n"


def reference(group: str, names: list[str]) -> str:
    """A page of the reference: mkdocstrings reads signatures, docstrings and examples from the sources."""
    blocks = [f"# {group}\n"]
    for name in names:
        if name in EXAMPLES:  # no function and no class, so no docstring
            blocks.append(f"## `{name.split('.')[-1]}` {{ #{slug(name)} }}\n\n{EXAMPLES[name]}\n")
            continue
        blocks.append(f"::: {full_name(name)}\n")
    return "\n".join(blocks)


def full_name(name: str) -> str:
    """``ik.Field`` -> ``implicitkit.Field``."""
    return re.sub(r"^testing\.", "implicitkit.testing.", re.sub(r"^ik\.", "implicitkit.", name))


def slug(title: str) -> str:
    """A title as a file's name."""
    return re.sub(r"\W+|_+", "-", title.lower()).strip("-")
