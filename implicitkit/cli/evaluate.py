"""``implicitkit evaluate``."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from implicitkit.cli.inputs import BIN, parse_bins
from implicitkit.cli.progress import bar
from implicitkit.errors import UserError

if TYPE_CHECKING:
    from implicitkit.metrics import Metric


def evaluate(
    model: Annotated[str, typer.Option(help="A pretrained model's name, or a weight file.")] = "liif_small",
    data: Annotated[
        Path,
        typer.Option(help="A test set: pictures; for super-resolution also HR with LR_bicubic/X2, X2/HR with X2/LR."),
    ] = Path(),
    scales: Annotated[
        str | None,
        typer.Option(help="Magnifications, e.g. '2 3 4' or 2,3.5,8; further ones may follow [default: 2 3 4]."),
    ] = None,
    more: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MORE]...", help="Further scales, bins or metrics.", show_default=False),
    ] = None,
    protocol: Annotated[str, typer.Option(help="Any of `implicitkit list protocols`.")] = "benchmark",
    metrics: Annotated[
        str | None, typer.Option(help="Metrics, e.g. 'psnr_y ssim lpips' [default: the protocol's].")
    ] = None,
    lpips_weights: Annotated[Path | None, typer.Option(help="A torchvision checkpoint, for lpips.")] = None,
    bins: Annotated[
        str | None, typer.Option(help="inpainting: hole ratios in percent [default: 0-20 20-40 40-60].")
    ] = None,
    masks: Annotated[Path | None, typer.Option(help="inpainting: a folder of masks, white where missing.")] = None,
    kind: Annotated[
        str | None, typer.Option(help="inpainting: what is drawn without --masks [default: strokes].")
    ] = None,
    fill: Annotated[
        str | None, typer.Option(help="inpainting: what the model sees in holes: a number, mean, noise [default: 0.5].")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(help="Side of the pictures, 0 to take them as they come [default: 256 of inpainting, else 0]."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of whatever is drawn at random [default: 0].")] = None,
    truncate: Annotated[bool, typer.Option("--truncate", help="inpainting: cut to 8 bits, not round.")] = False,
    paste: Annotated[bool, typer.Option("--paste", help="inpainting: put known pixels back first.")] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any option of the protocol, as YAML; repeatable."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write per-picture scores here as JSON.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="float32 (as papers do), bfloat16 or auto.")] = "float32",
    tile: Annotated[int | None, typer.Option(help="Encode in tiles of so many pixels.")] = None,
    force: Annotated[bool, typer.Option(help="Overwrite the JSON file.")] = False,
) -> None:
    """Score a model on a test set beside a trivial method, by a protocol that is found by name; print a table."""
    from implicitkit.config import apply_settings
    from implicitkit.create import create_protocol, load_model
    from implicitkit.devices import choose_device, choose_precision, describe_machine
    from implicitkit.evaluation import markdown_table
    from implicitkit.files import write_json
    from implicitkit.registry.kinds import protocols
    from implicitkit.version import __version__

    known = protocols.options(protocol)
    scales, bins, metrics = _share_out(more or [], scales, bins, metrics)
    flags = {"scales": scales, "bins": bins, "masks": masks, "kind": kind, "fill": fill, "size": size, "seed": seed}
    flags |= {"truncate": truncate or None, "paste": paste or None}
    given = {flag: value for flag, value in flags.items() if value is not None}
    for flag in given:
        if known is not None and flag not in known:
            raise UserError(f"--{flag} has no meaning for --protocol {protocol}")
    if output is not None and output.exists() and not force:
        raise UserError(f"{output} exists; pass --force to overwrite it")
    if output is not None and not output.parent.is_dir():
        raise UserError(f"there is no folder {output.parent} to write {output.name} into")
    if data == Path():
        raise UserError("pass --data DIR, the folder of a test set")
    chosen = create_protocol(protocol, **apply_settings(_as_options(given), settings or []))
    where = choose_device(device)
    number_format = choose_precision(precision, where)
    measures = _create_metrics(metrics, lpips_weights, str(where))
    name = Path(model).stem
    models = {name: load_model(model).to(where)}
    chosen.check(models[name], model)
    start = time.monotonic()
    with bar("evaluating", chosen.count(data)) as progress:
        encode = {"tile": tile, "precision": number_format}
        scores = chosen.evaluate(models, data, metrics=measures, encode=encode, progress=progress.update)
    for title, columns in chosen.tables(scores).items():
        typer.echo((f"{title}:\n\n" if title else "") + markdown_table(scores, columns) + "\n")
    typer.echo(f"{data.resolve().name}, protocol {protocol}, {describe_machine(where)}, {number_format}")
    if output is not None:
        report = {
            "model": model,
            "data": data.resolve().name,
            "protocol": protocol,
            **chosen.settings(),
            "precision": number_format,
            "machine": describe_machine(where),
            "implicitkit": __version__,
            "seconds": round(time.monotonic() - start, 1),
            "units": scores.units,
            "mean": _finite(scores.means()),
            f"per_{scores.item}": _finite(scores.values),
        }
        records = {"records": scores.records} if scores.records else {}
        write_json(output, {**report, **records})


def _as_options(flags: Mapping[str, Any]) -> dict[str, Any]:
    """What was typed behind the flags, as a protocol's options."""
    if "masks" in flags and "kind" in flags:
        raise UserError(f"give --masks or --kind, not both; received {flags['masks']} and {flags['kind']!r}")
    read: dict[str, Callable[[Any], Any]] = {
        "scales": _parse_scales,
        "bins": parse_bins,
        "masks": str,
        "fill": _parse_fill,
    }
    return {flag: read[flag](value) if flag in read else value for flag, value in flags.items()}


def _share_out(
    words: Sequence[str], scales: str | None, bins: str | None, metrics: str | None
) -> tuple[str | None, str | None, str | None]:
    """The words behind the options, each put where it belongs: ``--scales 2 3 4``, ``--metrics psnr_y ssim``."""
    for word in words:
        if _is_number(word):
            scales = word if scales is None else f"{scales} {word}"
        elif BIN.fullmatch(word):
            bins = word if bins is None else f"{bins} {word}"
        elif metrics is not None:
            metrics = f"{metrics} {word}"
        else:
            raise UserError(
                f"expected further scales (3.5), bins (20-40) or, behind --metrics, names; received {word!r}"
            )
    return scales, bins, metrics


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()


def _parse_fill(text: str) -> float | str:
    return float(text) if _is_number(text) else text


def _parse_scales(text: str) -> list[float]:
    try:
        scales = [float(word) for word in _words(text)]
    except ValueError:
        raise UserError(f"--scales takes numbers such as '2 3 4'; received {text!r}") from None
    if not scales or any(not 1 <= scale <= 1000 for scale in scales):
        raise UserError(f"--scales are numbers from 1 to 1000; received {text!r}")
    return scales


def _create_metrics(text: str | None, lpips_weights: Path | None, device: str) -> list[Metric] | None:
    """The metrics that were asked for; None if the protocol's own are wanted."""
    from implicitkit.create import create_metric
    from implicitkit.registry.registry import fold

    if text is None:
        if lpips_weights is not None:
            raise UserError("--lpips-weights has no meaning without --metrics lpips")
        return None
    created = []
    for name in _words(text):
        heavy = fold(name) in ("lpips", "lpips_alex", "lpips_squeeze")
        given = {"device": device, "weights": str(lpips_weights) if lpips_weights else None} if heavy else {}
        created.append(create_metric(name, **given))
    if not created:
        raise UserError(f"--metrics are names such as 'psnr_y ssim'; received {text!r}")
    return created


def _finite(value: Any) -> Any:
    """JSON has no infinity: the PSNR of equal pictures becomes null."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
