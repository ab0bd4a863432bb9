"""``implicitkit evaluate``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from implicitkit.cli.inputs import check_target, parse_bins, parse_words
from implicitkit.cli.pictures.sharing import this_share
from implicitkit.cli.progress import bar
from implicitkit.errors import UserError

if TYPE_CHECKING:
    from implicitkit.evaluation.scores import Scores
    from implicitkit.metrics import Metric

LIST_OPTIONS = ("--scales", "--metrics", "--bins")  # take all the words behind them
PROTOCOL_OPTIONS = ("masks", "kind", "fill", "size", "seed", "truncate", "paste")  # also read as flags
SWITCHES = ("--truncate", "--paste")
TEXT_OPTIONS = ("--masks", "--kind", "--lpips-weights")  # never read as YAML


class Parser(TyperCommand):
    """Reads ``--scales 2 3 4``, and options of protocols as flags: ``--size 128`` is ``--set size=128``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Rewrite the words, then parse as usual."""
        return super().parse_args(ctx, list(rewrite(args)))


def rewrite(words: Sequence[str]) -> Iterator[str]:
    """Join lists, and turn flags of protocols into ``--set``.

    >>> list(rewrite(["--scales", "2", "3", "--size", "128", "--paste"]))
    ['--scales', '2 3', '--set', 'size=128', '--set', 'paste=true']
    """
    rest = list(words)
    while rest:
        name, equals, value = rest[0].partition("=")
        flag, key = rest.pop(0), name.removeprefix("--").replace("-", "_")
        if name in LIST_OPTIONS:
            values = [value] if equals else []
            while rest and not rest[0].startswith("-"):
                values.append(rest.pop(0))
            if name == "--bins" and values:
                yield from ("--set", f"bins={json.dumps(' '.join(values))}")
            elif name == "--bins":
                raise UserError(f"{name} needs a value")
            else:
                yield from (name, " ".join(values)) if values else (name,)
        elif flag in SWITCHES:
            yield from ("--set", f"{key}=true")
        elif name.startswith("--") and key in (*PROTOCOL_OPTIONS, "lpips_weights"):
            if not equals:
                if not rest:
                    raise UserError(f"{name} needs a value")
                value = rest.pop(0)
            yield from ("--set", f"{key}={json.dumps(value) if name in TEXT_OPTIONS else value}")
        else:
            yield flag


def evaluate(
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model", help="A pretrained model's name, or a weight file; repeatable, a row each [default: fast]."
        ),
    ] = None,
    data: Annotated[
        Path,
        typer.Option(help="A test set: pictures; for super-resolution also HR with LR_bicubic/X2, X2/HR with X2/LR."),
    ] = Path(),
    protocol: Annotated[str, typer.Option(help="Any of `implicitkit list protocols`.")] = "benchmark",
    scales: Annotated[
        str | None, typer.Option(metavar="N...", help="Magnifications, e.g. 2 3.5 8 [default: 2 3 4].")
    ] = None,
    metrics: Annotated[
        str | None, typer.Option(metavar="NAME...", help="Metrics, e.g. psnr_y ssim lpips [default: the protocol's].")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="An option of the protocol, as YAML; repeatable. Many take size and seed; inpainting also masks=DIR, "
            "bins='0-20 20-40 40-60' (hole ratios in percent), kind=strokes, fill=0.5, mean or noise, truncate=true "
            "(to 8 bits, instead of rounding) and paste=true (put known pixels back). lpips_weights=FILE is a "
            "torchvision checkpoint for lpips.",
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="An option of the models' decoders, e.g. temperature=0.8; repeatable."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write per-picture scores here as JSON.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="float32 (as papers do), bfloat16 or auto.")] = "float32",
    tile: Annotated[int | None, typer.Option(help="Encode in tiles of this many pixels.")] = None,
    force: Annotated[bool, typer.Option(help="Overwrite the JSON file.")] = False,
) -> None:
    """Score models on a test set; print a table.

    The protocol says what a score is; a method without training has a row too. `accelerate launch -m implicitkit
    evaluate …` shares the pictures between processes.
    """
    from implicitkit.create import create_protocol, load_model
    from implicitkit.decoders.options import parse_options
    from implicitkit.devices import choose_device, choose_precision, describe_machine
    from implicitkit.evaluation import markdown_table
    from implicitkit.evaluation.protocol import check_options
    from implicitkit.evaluation.row_names import row_names
    from implicitkit.files import write_json

    options = _options(settings or [], scales)
    lpips_weights = options.pop("lpips_weights", None)
    _check(protocol, options, data, output, force)
    decoder_options = parse_options(option or [])
    chosen = create_protocol(protocol, **options)
    share = this_share()
    if share.count > 1:
        chosen.team = share
    where = choose_device(share.device(device))
    number_format = choose_precision(precision, where)
    measures = _create_metrics(metrics, lpips_weights, str(where))
    sources = models or ["fast"]
    loaded = {row: load_model(source).to(where) for row, source in zip(row_names(sources), sources, strict=True)}
    for model, source in zip(loaded.values(), sources, strict=True):
        chosen.check(model, source)
    check_options(loaded, decoder_options)
    start = time.monotonic()
    with bar("evaluating", chosen.count(data)) if share.is_first else nullcontext(None) as progress:
        encode = {"tile": tile, "precision": number_format, "options": decoder_options}
        update = None if progress is None else progress.update
        scores = chosen.evaluate(loaded, data, metrics=measures, encode=encode, progress=update)
    if not share.is_first:
        return
    for title, columns in chosen.tables(scores).items():
        typer.echo((f"{title}:\n\n" if title else "") + markdown_table(scores, columns) + "\n")
    typer.echo(f"{data.resolve().name}, protocol {protocol}, {describe_machine(where)}, {number_format}")
    if output is not None:
        seconds = round(time.monotonic() - start, 1)
        machine = {
            "precision": number_format,
            **({"options": decoder_options} if decoder_options else {}),
            "machine": describe_machine(where),
        }
        rows = dict(zip(loaded, sources, strict=True))
        write_json(output, _report(scores, rows, data, protocol, {**chosen.settings(), **machine}, seconds))
    if scores.failed:
        for name, why in scores.failed.items():
            typer.echo(f"left out {name}: {why}", err=True)
        raise UserError(f"{len(scores.failed)} of the pictures failed; the scores are of the others")


def _options(settings: Sequence[str], scales: str | None) -> dict[str, Any]:
    """The protocol's options, of ``--set`` and of ``--scales``."""
    from implicitkit.config import apply_settings

    options = apply_settings({}, settings)
    if scales is not None:
        options.setdefault("scales", _parse_scales(scales))
    if isinstance(bins := options.get("bins"), str):
        options["bins"] = parse_bins(bins)
    return options


def _report(
    scores: Scores, sources: dict[str, str], data: Path, protocol: str, settings: dict[str, Any], seconds: float
) -> dict[str, Any]:
    """What ``--output`` holds."""
    from implicitkit.nested import finite
    from implicitkit.version import __version__

    return {
        **({"model": next(iter(sources.values()))} if len(sources) == 1 else {}),
        "models": sources,
        "data": data.resolve().name,
        "protocol": protocol,
        **settings,
        "implicitkit": __version__,
        "seconds": seconds,
        "units": scores.units,
        "mean": finite(scores.means()),  # the PSNR of equal pictures is infinite
        f"per_{scores.item}": finite(scores.values),
        **({"records": scores.records} if scores.records else {}),
        **({"failed": scores.failed} if scores.failed else {}),
    }


def _check(protocol: str, options: dict[str, Any], data: Path, output: Path | None, force: bool) -> None:
    """Raise for mistakes before a model is loaded."""
    from implicitkit.registry.kinds import protocols

    known = protocols.options(protocol)
    for key in (key for key in ("scales", "bins", *PROTOCOL_OPTIONS) if key in options):
        if known is not None and key not in known:
            raise UserError(f"--{key} has no meaning for --protocol {protocol}")
    if "masks" in options and "kind" in options:
        raise UserError(f"give --masks or --kind, not both; received {options['masks']} and {options['kind']!r}")
    if output is not None and not output.parent.is_dir():
        raise UserError(f"there is no folder {output.parent} to write {output.name} into")
    if output is not None:
        check_target(output, force)
    if data == Path():
        raise UserError("pass --data DIR, the folder of a test set")


def _parse_scales(text: str) -> list[float]:
    try:
        scales = [float(word) for word in parse_words(text)]
    except ValueError:
        raise UserError(f"--scales takes numbers such as '2 3 4'; received {text!r}") from None
    if not scales or any(not 1 <= scale <= 1000 for scale in scales):
        raise UserError(f"--scales are numbers from 1 to 1000; received {text!r}")
    return scales


def _create_metrics(text: str | None, lpips_weights: str | None, device: str) -> list[Metric] | None:
    """The metrics of ``--metrics``; None: the protocol's own."""
    from implicitkit.create import create_metric
    from implicitkit.registry.registry import fold

    if text is None:
        if lpips_weights is not None:
            raise UserError("--lpips-weights has no meaning without --metrics lpips")
        return None
    created = []
    for name in parse_words(text):
        heavy = fold(name) in ("lpips", "lpips_alex", "lpips_squeeze")
        created.append(create_metric(name, **({"device": device, "weights": lpips_weights} if heavy else {})))
    if not created:
        raise UserError(f"--metrics are names such as 'psnr_y ssim'; received {text!r}")
    return created
