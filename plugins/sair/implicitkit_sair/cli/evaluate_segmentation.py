"""``implicitkit evaluate-segmentation``."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Annotated

import typer

from implicitkit.cli.inputs import check_target, parse_bins
from implicitkit.cli.progress import bar
from implicitkit.errors import UserError
from implicitkit_sair.cli.meaning import make_vocabulary, parse_classes


def evaluate_segmentation(
    model: Annotated[str, typer.Option(help="A semantic model or a SAIR: a file, a hub id or a name.")],
    data: Annotated[Path, typer.Option(help="ADE20K's layout: images/, annotations/ and objectInfo150.txt or .csv.")],
    bins: Annotated[
        str | None, typer.Option(help="Hole ratios in percent, e.g. '0-20 20-40' [default: pictures as they come].")
    ] = None,
    masks: Annotated[
        Path | None, typer.Option(help="A folder of masks, white where missing [default: strokes].")
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="What to call the classes, in the table's order: names, or a .txt file.")
    ] = None,
    embeddings: Annotated[
        Path | None, typer.Option(help="Embeddings made elsewhere: an .npy file, a row for each class.")
    ] = None,
    names: Annotated[
        Path | None, typer.Option(help="What its rows are called, one per line, if they are not in the table's order.")
    ] = None,
    templates: Annotated[
        Path | None, typer.Option(help="Sentences with {} for a class's name, one per line, averaged.")
    ] = None,
    text_weights: Annotated[
        str | None, typer.Option(help="Where the text tower is, if the model's file has none: a tag, hub id or file.")
    ] = None,
    side: Annotated[
        int | None, typer.Option(min=1, help="Shrink pictures to a shorter side of so many pixels.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the masks.")] = 0,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write every class's IoU here as JSON.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="float32, bfloat16 or auto.")] = "float32",
    force: Annotated[bool, typer.Option(help="Overwrite the JSON file.")] = False,
) -> None:
    """Score what a model says that pixels mean, before and after completion: mIoU against label maps."""
    ratios = [] if bins is None else parse_bins(bins)
    if masks is not None and not ratios:
        raise UserError("--masks has no meaning without --bins, the hole ratios that they are to have")
    if output is not None:
        check_target(output, force)

    from implicitkit.atomic import write_json
    from implicitkit.devices import choose_device, choose_precision, describe_machine
    from implicitkit.version import __version__
    from implicitkit.weights import load_model
    from implicitkit_sair.inpainting import trained_fill
    from implicitkit_sair.label_maps import LabelledFolder
    from implicitkit_sair.segmentation_scores import evaluate_segmentation as evaluate

    labelled = LabelledFolder.open(data, None if classes is None else parse_classes(classes))
    where = choose_device(device)
    number_format = choose_precision(precision, where)
    network = load_model(model).to(where)
    vocabulary = make_vocabulary(network, labelled.names, embeddings, names, templates, text_weights)
    holes = {"name": "inpainting", "fill": trained_fill(network), "kind": "strokes"}
    if masks is not None:
        holes |= {"kind": "folder", "folder": str(masks), "augment": False}
    start = time.monotonic()
    with bar("evaluating", len(labelled.pairs) * max(1, len(ratios))) as progress:
        scores = evaluate(
            network,
            labelled,
            vocabulary,
            ratios,
            holes,
            side=side,
            seed=seed,
            precision=number_format,
            progress=progress.update,
        )
    typer.echo(scores.markdown_table() + "\n")
    what = f"{data.resolve().name}, {len(labelled.pairs)} pictures, {len(labelled.names)} classes"
    typer.echo(f"{what}, {describe_machine(where)}, {number_format}")
    if output is not None:
        tables = {
            stage: {
                setting: {
                    region: {
                        "mean_iou": _finite(scores.mean_iou(stage, setting, region)),
                        "iou": {k: _finite(v) for k, v in scores.per_class(stage, setting, region).items()},
                    }
                    for region in regions
                }
                for setting, regions in settings.items()
            }
            for stage, settings in scores.tables.items()
        }
        report = {
            "model": model,
            "data": data.resolve().name,
            "pictures": len(labelled.pairs),
            "holes": holes if ratios else None,
            "side": side,
            "seed": seed,
            "precision": number_format,
            "machine": describe_machine(where),
            "implicitkit": __version__,
            "seconds": round(time.monotonic() - start, 1),
            "scores": tables,
        }
        output.parent.mkdir(parents=True, exist_ok=True)
        write_json(output, report)


def _finite(value: float) -> float | None:
    """JSON has no nan: the IoU of a class that is nowhere becomes null."""
    return value if math.isfinite(value) else None
