"""Inputs, targets, sizes and bins of several commands."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile

import typer

from implicitkit.errors import UserError, one_line
from implicitkit.files import ADDRESS

BIN = re.compile(r"(\d+(?:\.\d*)?)-(\d+(?:\.\d*)?)")


def find_pictures(
    inputs: Sequence[Path],
    keep: Callable[[list[Path]], list[Path]] = lambda pictures: pictures,
    *,
    recursive: bool = False,
    output: Path | None = None,
    with_results: bool = False,
) -> list[Path]:
    """The picture files of ``inputs``, each once. What is left out of a folder is said in one line on stderr.

    Results of earlier runs are left out of a folder, see :func:`implicitkit.images.folders.results_among`.

    Args:
        inputs: files, which are taken whatever they are, and folders.
        keep: filters the pictures of a folder, such as masks that belong to others.
        recursive: look into folders of folders.
        output: where results go; what lies in there is no input, unless it is named.
        with_results: take results, too.

    Raises:
        UserError: an input is missing, or a folder holds no picture.
    """
    sources: list[Path] = []
    for given in inputs:
        if given.is_dir():
            sources += _pictures_of(given, keep, recursive=recursive, output=output, with_results=with_results)
        elif given.exists():
            sources.append(given)
        elif ADDRESS.match(str(given)):
            address = re.sub(r":/(?=[^/])", "://", str(given))  # a path has lost a slash
            raise UserError(f"{address} is an address, not a file; download the picture first")
        else:
            raise UserError(f"there is no file {given}")
    return list({source.resolve(): source for source in sources}.values())


def _pictures_of(
    folder: Path,
    keep: Callable[[list[Path]], list[Path]],
    *,
    recursive: bool,
    output: Path | None,
    with_results: bool,
) -> list[Path]:
    """The pictures of one folder that are inputs; says what is left out."""
    from implicitkit.images.folders import pictures_in, results_among
    from implicitkit.images.io import READABLE

    pictures = pictures_in(folder, recursive=recursive)
    results = set() if with_results else results_among(pictures, folder)
    candidates = [picture for picture in pictures if picture not in results]
    kept = keep(candidates)
    companions = set(candidates) - set(kept)
    if output is not None and output.resolve() != folder.resolve():
        kept = [picture for picture in kept if output.resolve() not in picture.resolve().parents]
    targets = set(candidates) - companions - set(kept)
    reasons = {"results of earlier runs": results, "made from others there": companions}
    if targets:
        reasons[f"in the output folder {output}"] = targets
    if line := left_out(folder, reasons, recursive=recursive, output=output):
        typer.echo(one_line(f"left out of {folder}: {line}"), err=True)
    if not kept:
        if results and not with_results:
            raise UserError(f"{folder} holds no pictures but results of earlier runs; name them, or their folder")
        raise UserError(f"{folder} holds no pictures ({', '.join(READABLE)})")
    return kept


def left_out(
    folder: Path, reasons: Mapping[str, Iterable[Path]], *, recursive: bool, output: Path | None = None
) -> str:
    """What a run on a folder does not take: pictures, by the reason why, files of other kinds, folders in it."""
    from implicitkit.images.io import READABLE

    parts = []
    for reason, pictures in reasons.items():
        if names := sorted(picture.relative_to(folder).as_posix() for picture in pictures):
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            parts.append(f"{', '.join(names[:3])}{more}, {reason}")
    paths = [path for path in folder.iterdir() if not path.name.startswith(".")]
    kinds = Counter(
        p.suffix.lower() or "no suffix" for p in paths if p.is_file() and p.suffix.lower() not in (*READABLE, ".json")
    )
    if kinds:
        most = sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0]))[:4]
        counts = ", ".join(f"{suffix} {count}" for suffix, count in most)
        parts.append(f"{kinds.total()} file{'s' * (kinds.total() > 1)} of other kinds ({counts})")
    named = bool(parts)
    folders = 0 if recursive else sum(path.is_dir() and path != output for path in paths)
    if folders:
        parts.append(f"{folders} folder{'s' * (folders > 1)} (--recursive looks into them)")
    if named:
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
    try:
        with TemporaryFile(dir=folder):  # some places say that they can be written, and cannot: /proc
            pass
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}); choose another --output") from None


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
