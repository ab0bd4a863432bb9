"""Inputs, targets, sizes and bins of several commands."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import typer

from implicitkit.errors import UserError
from implicitkit.files import ADDRESS

RESULT = re.compile(r"_(x\d[\d.e+-]*|\d+x\d+|w\d+|h\d+|restored)$")  # what upscale and restore add to a name
COMPANION = re.compile(r"_(mask|reference)$")  # what degrade adds to a name
BIN = re.compile(r"(\d+(?:\.\d*)?)-(\d+(?:\.\d*)?)")


def find_pictures(
    inputs: Sequence[Path],
    keep: Callable[[list[Path]], list[Path]] = lambda pictures: pictures,
    *,
    recursive: bool = False,
    output: Path | None = None,
) -> list[Path]:
    """The picture files of ``inputs``, each once. What is left out of a folder is said in one line on stderr.

    Args:
        inputs: files and folders.
        keep: filters the pictures of a folder.
        recursive: look into folders of folders.
        output: where results go; what lies in there is no input, unless it is named.

    Raises:
        UserError: an input is missing, or a folder holds no picture.
    """
    from implicitkit.images.folders import pictures_in
    from implicitkit.images.io import READABLE

    sources: list[Path] = []
    for given in inputs:
        if given.is_dir():
            pictures = pictures_in(given, recursive=recursive)
            if output is not None and output.resolve() != given.resolve():
                pictures = [p for p in pictures if output.resolve() not in p.resolve().parents]
            kept = keep(pictures)
            if line := left_out(given, pictures, kept, recursive=recursive, output=output):
                typer.echo(f"left out of {given}: {line}", err=True)
            if not kept:
                raise UserError(f"{given} holds no pictures ({', '.join(READABLE)})")
            sources += kept
        elif given.exists():
            sources.append(given)
        elif ADDRESS.match(str(given)):
            address = re.sub(r":/(?=[^/])", "://", str(given))  # a path has lost a slash
            raise UserError(f"{address} is an address, not a file; download the picture first")
        else:
            raise UserError(f"there is no file {given}")
    return list({source.resolve(): source for source in sources}.values())


def left_out(
    folder: Path, pictures: Sequence[Path], kept: Sequence[Path], *, recursive: bool, output: Path | None = None
) -> str:
    """What a run on a folder does not take: pictures made from others in it, files of other kinds, folders in it."""
    from implicitkit.images.io import READABLE

    parts = []
    if made := sorted(set(pictures) - set(kept)):
        more = f" and {len(made) - 3} more" if len(made) > 3 else ""
        parts.append(f"{', '.join(picture.name for picture in made[:3])}{more}, made from others there")
    paths = [path for path in folder.iterdir() if not path.name.startswith(".")]
    kinds = Counter(
        p.suffix.lower() or "no suffix" for p in paths if p.is_file() and p.suffix.lower() not in (*READABLE, ".json")
    )
    if kinds:
        most = sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0]))[:4]
        counts = ", ".join(f"{suffix} {count}" for suffix, count in most)
        parts.append(f"{kinds.total()} file{'s' * (kinds.total() > 1)} of other kinds ({counts})")
    folders = 0 if recursive else sum(path.is_dir() and path != output for path in paths)
    if folders:
        parts.append(f"{folders} folder{'s' * (folders > 1)} (--recursive looks into them)")
    if made or kinds:
        parts[-1] += "; name a file to process it"
    return "; ".join(parts)


def place_in(output: Path, source: Path, inputs: Sequence[Path]) -> Path:
    """The folder for a picture's results: ``output``, and in it the folder in which the picture lies in an input.

    >>> place_in(Path("out"), Path("a/b/c.png"), [Path("a")]).as_posix()
    'out/b'
    """
    for given in inputs:
        if given in source.parents:
            return output / source.parent.relative_to(given)
    return output


def without_results(pictures: list[Path]) -> list[Path]:
    """The pictures of a folder that no command made of others in it: neither ``a_x2.png`` beside ``a.jpg`` or in
    a folder of results (``large/b/a_x2.png`` of ``b/a.jpg``), nor the mask and the reference that ``degrade`` writes.
    """
    beside = {(picture.parent, picture.stem) for picture in pictures}

    def is_result(picture: Path) -> bool:
        stem = picture.stem
        if RESULT.search(stem):
            return any((place, RESULT.sub("", stem)) in beside for place in _sources_of(picture.parent))
        base = COMPANION.sub("", stem)
        return base != stem and picture.with_name(f"{base}_record.json").exists()

    return [picture for picture in pictures if not is_result(picture)]


def _sources_of(folder: Path) -> Iterator[Path]:
    """The folders whose results may lie in ``folder``: a run on a tree writes the same tree into its output folder."""
    yield folder
    parts = folder.parts
    for end in range(len(parts), 0, -1):
        for start in range(end):
            yield Path(*parts[:start], *parts[end:])


def refuse_clashes(targets: Mapping[Path, Iterable[Path]]) -> None:
    """Raise :class:`UserError` if two inputs have one output, or an output is an input.

    Args:
        targets: input -> its output files.
    """
    taken: dict[Path, Path] = {}
    for source, files in targets.items():
        for file in files:
            first = taken.setdefault(file, source)
            if first != source:
                raise UserError(f"{first} and {source} would both become {file}; do them separately")
    originals = {source.resolve() for source in targets}
    for file, source in taken.items():
        if file.resolve() in originals:
            which = "the input itself" if file.resolve() == source.resolve() else "an input itself"
            raise UserError(f"{file} is {which}; choose another --output")


def check_target(target: Path, force: bool) -> None:
    """Raise :class:`UserError` if ``target`` exists, or cannot be written."""
    if target.exists() and not force:
        raise UserError(f"{target} exists; pass --force to overwrite it")
    folder = next((p for p in target.parents if p.exists()), target.parent)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder")
    if not os.access(folder, os.W_OK):
        raise UserError(f"{folder} is read-only; choose another --output")


def parse_size(text: str) -> tuple[int, int]:
    """Parse ``WIDTHxHEIGHT``, as other tools write it, into ``(H, W)``, as Python has it.

    Raises:
        UserError: they are not two positive numbers.

    >>> parse_size("1920x1080")
    (1080, 1920)
    """
    match = re.fullmatch(r"(\d+)\s*[xX×,]\s*(\d+)", text.strip())
    if match is None or int(match[1]) < 1 or int(match[2]) < 1:
        raise UserError(f"--size is WIDTHxHEIGHT in pixels, such as 1920x1080; received {text!r}")
    return int(match[2]), int(match[1])


def parse_words(text: str) -> list[str]:
    """Split at spaces and commas."""
    return text.replace(",", " ").split()


def parse_bins(text: str) -> list[tuple[float, float]]:
    """Parse bins of hole ratios in percent.

    Raises:
        UserError: they are not pairs of percentages, low and high.

    >>> parse_bins("0-20 20-40")
    [(0.0, 20.0), (20.0, 40.0)]
    """
    matches = [BIN.fullmatch(word) for word in parse_words(text)]
    bins = [(float(match[1]), float(match[2])) for match in matches if match]
    if not bins or len(bins) != len(matches) or any(not low <= high <= 100 for low, high in bins):
        raise UserError(f"--bins are hole ratios in percent such as '0-20 20-40'; received {text!r}")
    return bins
