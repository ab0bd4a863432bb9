"""Measure rendering and training beside the authors' way; print a table with the goals.

python -m benchmarks [--long] [-o bench.json]
python -m benchmarks --model liif_small --sizes '64 256' --rows 'render rate'
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.report import GROUPS, LONG, measure
from benchmarks.rows import markdown
from benchmarks.speed import PUBLISHED, Settings
from implicitkit.cli.inputs import check_target
from implicitkit.cli.progress import bar
from implicitkit.devices import choose_device
from implicitkit.errors import UserError
from implicitkit.files import write_json

MAX_BUSY = 0.2  # of the processors, by other programs, before a warning


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options. Running rows that take long has to be asked for."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", action="append", help="a model's name, or a weight file; repeatable (default: LIIF and LTE)")
    add("--sizes", default="128", help="sides of the square input pictures, e.g. '64 128'")
    add("--scale", type=int, default=4, help="magnification, a whole number")
    add("--rows", help=f"groups of rows: {' '.join(GROUPS)} (default: all but {' '.join(LONG)})")
    add("--long", action="store_true", help="measure 4096²→16384² as well; it takes long")
    add("--repeats", type=int, default=5, help="timed runs of each side; the median counts")
    add("--threads", type=int, help="CPU threads (default: PyTorch's choice)")
    add("-o", "--output", type=Path, help="write the rows here as JSON")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    add("--force", action="store_true", help="overwrite the JSON file")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> None:
    """Measure, print and write.

    Raises:
        UserError: an option is out of range, a group or a model is unknown, or the output is in the way.
    """
    if options.output is not None:
        check_target(options.output, options.force)
    if not 1 <= options.scale <= 64:
        raise UserError(f"--scale is a whole number from 1 to 64; received {options.scale}")
    for name in ("repeats", "threads"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            raise UserError(f"--{name} is at least 1; received {getattr(options, name)}")
    groups = parse_groups(options.rows, options.long)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    models = tuple(options.model or PUBLISHED)
    settings = Settings(
        models, parse_sides(options.sizes), options.scale, options.repeats, choose_device(options.device)
    )
    for name in models:  # a missing model is reported now, not after an hour
        model = settings.load(name)
        if model.ndim != 2 or model.encoder.in_channels != 3 or model.takes_mask:
            raise UserError(f"{name} does not map RGB pictures, so it cannot be measured on one")
    with bar("rows", len(groups)) as progress:
        rows, report = measure(settings, groups, progress.update)
    print(f"{report['machine']}; median of {options.repeats}\n")
    print(markdown(rows))
    if report["busy"] > MAX_BUSY:
        print(f"warning: other programs kept the machine {report['busy']:.0%} busy before", file=sys.stderr)
    if options.output is not None:
        write_json(options.output, report)


def parse_groups(text: str | None, long: bool) -> list[str]:
    """``"render,rate step"`` as names of groups; by default all but the long ones."""
    if text is None:
        return [group for group in GROUPS if long or group not in LONG]
    groups = text.replace(",", " ").split()
    for group in groups:
        if group not in GROUPS:
            raise UserError(f"unknown rows {group!r}; there are {', '.join(GROUPS)}")
    return groups


def parse_sides(text: str) -> tuple[int, ...]:
    """``"64 128"`` as ``(64, 128)``."""
    sides = text.replace(",", " ").split()
    if not sides or not all(side.isdecimal() and 8 <= int(side) <= 4096 for side in sides):
        raise UserError(f"--sizes are sides in pixels, from 8 to 4096, e.g. '64 128'; received {text!r}")
    return tuple(int(side) for side in sides)


def main(arguments: Sequence[str] | None = None) -> None:
    """Whatever the user can put right is one line on stderr and exit code 2."""
    try:
        run(parse(sys.argv[1:] if arguments is None else arguments))
    except (UserError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
