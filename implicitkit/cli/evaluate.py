"""``implicitkit evaluate``."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from implicitkit.cli.inputs import BIN, parse_bins
from implicitkit.cli.progress import bar
from implicitkit.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from implicitkit.evaluation import Scores
    from implicitkit.metrics import Metric

    Answer = Callable[[Tensor, Sequence[int], Tensor | None], Tensor]

BINS = "0-20 20-40 40-60"  # percent, as SAIR and MISF report


@dataclass(frozen=True)
class Work:
    """What one evaluation is to do."""

    data: Path
    name: str
    answer: Answer
    """(picture, size wanted, mask or None) -> picture: the model."""
    metrics: list[Metric] | None


@dataclass(frozen=True)
class Result:
    """What it did."""

    scores: Scores
    settings: dict[str, Any]
    tables: dict[str, list[str]]
    """Title -> metrics."""


def evaluate(
    model: Annotated[str, typer.Option(help="A pretrained model's name, or a weight file.")] = "liif_small",
    data: Annotated[
        Path, typer.Option(help="A test set: HR with LR_bicubic/X2, X2/HR with X2/LR, or plain pictures.")
    ] = Path(),
    scales: Annotated[
        str | None,
        typer.Option(help="Magnifications, e.g. '2 3 4' or 2,3.5,8; further ones may follow [default: 2 3 4]."),
    ] = None,
    more: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MORE]...", help="Further scales, bins or metrics.", show_default=False),
    ] = None,
    protocol: Annotated[str, typer.Option(help="benchmark, div2k, plain or inpainting.")] = "benchmark",
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
        int | None, typer.Option(help="inpainting: side of the pictures, 0 to take them as they come [default: 256].")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="inpainting: seed of the masks [default: 0].")] = None,
    truncate: Annotated[bool, typer.Option("--truncate", help="inpainting: cut to 8 bits, not round.")] = False,
    paste: Annotated[bool, typer.Option("--paste", help="inpainting: put known pixels back first.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write per-picture scores here as JSON.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="float32 (as papers do), bfloat16 or auto.")] = "float32",
    tile: Annotated[int | None, typer.Option(help="Encode in tiles of so many pixels.")] = None,
    force: Annotated[bool, typer.Option(help="Overwrite the JSON file.")] = False,
) -> None:
    """Score a model on a test set beside a trivial method, by a published protocol; print a table."""
    from implicitkit.atomic import write_json
    from implicitkit.devices import choose_device, choose_precision, describe_machine
    from implicitkit.evaluation import PROTOCOLS, markdown_table
    from implicitkit.version import __version__
    from implicitkit.weights import load_model

    if protocol not in PROTOCOLS:
        raise UserError(f"unknown protocol {protocol!r}; it is one of {', '.join(PROTOCOLS)}")
    scales, bins, metrics = _share_out(more or [], scales, bins, metrics)
    holes = {"bins": bins, "masks": masks, "kind": kind, "fill": fill, "size": size, "seed": seed}
    holes |= {"truncate": truncate or None, "paste": paste or None}
    foreign = {"scales": scales} if protocol == "inpainting" else holes
    for flag in (flag for flag, value in foreign.items() if value is not None):
        raise UserError(f"--{flag} has no meaning for --protocol {protocol}")
    if output is not None and output.exists() and not force:
        raise UserError(f"{output} exists; pass --force to overwrite it")
    if output is not None and not output.parent.is_dir():
        raise UserError(f"there is no folder {output.parent} to write {output.name} into")
    if data == Path():
        raise UserError("pass --data DIR, the folder of a test set")
    magnifications, ratios = _parse_scales(scales), parse_bins(BINS if bins is None else bins)
    where = choose_device(device)
    number_format = choose_precision(precision, where)
    measures = _create_metrics(metrics, lpips_weights, str(where))
    loaded = load_model(model).to(where)
    if loaded.encoder.in_channels != 3 or loaded.decoder.out_channels != 3:
        raise UserError(f"{model} does not map RGB pictures to RGB pictures, so it cannot be scored")

    def answer(picture: Tensor, size: Sequence[int], mask: Tensor | None) -> Tensor:
        seen = mask if loaded.takes_mask else None
        return loaded.encode(picture, seen, tile=tile, precision=number_format).render(size)

    work = Work(data, Path(model).stem, answer, measures)
    start = time.monotonic()
    result = _inpainting(work, ratios, holes) if protocol == "inpainting" else _scaled(work, magnifications, protocol)
    for title, columns in result.tables.items():
        typer.echo((f"{title}:\n\n" if title else "") + markdown_table(result.scores, columns) + "\n")
    typer.echo(f"{data.resolve().name}, protocol {protocol}, {describe_machine(where)}, {number_format}")
    if output is not None:
        report = {
            "model": model,
            "data": data.resolve().name,
            "protocol": protocol,
            **result.settings,
            "precision": number_format,
            "machine": describe_machine(where),
            "implicitkit": __version__,
            "seconds": round(time.monotonic() - start, 1),
            "units": result.scores.units,
            "mean": _finite(result.scores.means()),
            "per_picture": _finite(result.scores.values),
        }
        records = {"records": result.scores.records} if result.scores.records else {}
        write_json(output, {**report, **records})


def _scaled(work: Work, scales: list[float], protocol: Any) -> Result:
    from implicitkit.evaluation import TestSet, bicubic, evaluate

    test_set = TestSet(work.data)
    methods = {"bicubic": bicubic, work.name: lambda low, size: work.answer(low, size, None)}
    with bar("evaluating", sum(test_set.count(s) for s in scales)) as progress:
        scores = evaluate(methods, test_set, scales, protocol, progress.update, work.metrics)
    return Result(scores, {"scales": scales}, {"": list(scores.units)})


def _inpainting(work: Work, bins: list[tuple[float, float]], given: dict[str, Any]) -> Result:
    from implicitkit.data import picture_files
    from implicitkit.evaluation import evaluate_inpainting, mean_fill
    from implicitkit.evaluation.inpainting import SIZE, USUAL

    if given["masks"] and given["kind"]:
        raise UserError(f"give --masks or --kind, not both; received {given['masks']} and {given['kind']!r}")
    holes: dict[str, Any] = {"name": "inpainting", "kind": given["kind"] or "strokes"}
    if given["masks"]:
        holes |= {"kind": "folder", "folder": str(given["masks"]), "augment": False}
    fill = given["fill"] or "0.5"
    holes["fill"] = float(fill) if _is_number(fill) else fill
    size = SIZE if given["size"] is None else given["size"]
    if size < 0:
        raise UserError(f"--size is a number of pixels, or 0 for pictures as they come; received {size}")
    how: dict[str, Any] = {"truncate": given["truncate"] is True, "paste": given["paste"] is True}
    how["seed"] = given["seed"] or 0
    methods = {"mean colour": mean_fill, work.name: lambda seen, mask: work.answer(seen, seen.shape[1:], mask)}
    with bar("evaluating", len(picture_files([work.data])) * len(bins)) as progress:
        scores = evaluate_inpainting(
            methods, work.data, bins, holes, work.metrics or USUAL, size=size or None, progress=progress.update, **how
        )
    hole = [metric for metric in scores.units if metric.endswith("_hole")]
    tables = {"whole picture": [metric for metric in scores.units if metric not in hole], "hole alone": hole}
    return Result(scores, {"size": size or None, "holes": holes, **how}, {k: v for k, v in tables.items() if v})


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


def _parse_scales(text: str | None) -> list[float]:
    text = "2 3 4" if text is None else text
    try:
        scales = [float(word) for word in _words(text)]
    except ValueError:
        raise UserError(f"--scales takes numbers such as '2 3 4'; received {text!r}") from None
    if not scales or any(not 1 <= scale <= 1000 for scale in scales):
        raise UserError(f"--scales are numbers from 1 to 1000; received {text!r}")
    return scales


def _create_metrics(text: str | None, lpips_weights: Path | None, device: str) -> list[Metric] | None:
    """The metrics that were asked for; None if the protocol's own are wanted."""
    from implicitkit.registries import create_metric
    from implicitkit.registry import fold

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
