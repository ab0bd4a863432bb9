"""``implicitkit segment``."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from implicitkit import UserError
from implicitkit.cli import check_target, parse_size
from implicitkit_sair.cli.meaning import make_vocabulary, parse_classes

STAGES = ("completed", "raw", "both")


def segment(
    image: Annotated[Path, typer.Argument(help="A picture.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The overlay with its legend, a picture file.")],
    classes: Annotated[
        str, typer.Option(help="'sky, tree, person', a .txt file with one per line, ade20k or celebamask_hq.")
    ],
    model: Annotated[str, typer.Option(help="A semantic model or a SAIR: a file, a hub id or a name.")],
    mask: Annotated[
        Path | None, typer.Option(help="A mask of the picture's size: its white pixels are missing, see --hole.")
    ] = None,
    hole: Annotated[str, typer.Option(help="Which pixels of the mask are missing: white or black.")] = "white",
    stage: Annotated[
        str, typer.Option(help="completed, raw (the encoder's features as they are), or both side by side.")
    ] = "completed",
    labels: Annotated[
        Path | None, typer.Option(help="Write the label map here: k for the k-th class, a grey .png or .tif.")
    ] = None,
    scores: Annotated[Path | None, typer.Option(help="Write the scores (classes, H, W) here: an .npy file.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    fit: Annotated[bool, typer.Option("--fit", help="Where --size has another aspect: the largest within it.")] = False,
    stretch: Annotated[bool, typer.Option("--stretch", help="Where --size has another aspect: distort.")] = False,
    force: Annotated[bool, typer.Option(help="Overwrite what is there.")] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Repeatable. Where the words come from: embeddings (made elsewhere: .npy or .safetensors, a row for "
            "each class), names (what its rows are called, one per line; --classes chooses among them), templates "
            "(sentences with {} for a class's name, one per line, averaged; clip and maskclip are their authors'), "
            "text_weights (where the text tower is, if the model's file has none: a tag, hub id or file). Also size "
            "(WIDTHxHEIGHT of the result), opacity (of the colours), threshold (white is what is brighter, of 1) and "
            "precision (auto, float32 or bfloat16).",
        ),
    ] = None,
) -> None:
    """Say which of some classes every pixel belongs to; a hole's meaning is completed first."""
    if stage not in STAGES:
        raise UserError(f"--stage is one of {', '.join(STAGES)}; received {stage!r}")
    from implicitkit.config import apply_settings, validate
    from implicitkit_sair.cli.options import Segment

    rare = validate(Segment, apply_settings({}, settings or []), "--set")
    if fit and stretch:
        raise UserError("give one of --fit and --stretch")
    wanted, box = parse_classes(classes), None if rare.size is None else parse_size(rare.size)
    _check_targets(image, mask, output, labels, scores, force)

    import numpy as np

    from implicitkit import load_model, read_image
    from implicitkit.devices import choose_device, choose_precision
    from implicitkit.files import replacing
    from implicitkit.images import Enlargement, fill_holes, refuse_distortion, write_picture
    from implicitkit.images.resize import resize
    from implicitkit_sair.inpainting.painting import check_mask, read_mask
    from implicitkit_sair.segmentation.label_maps import write_label_map
    from implicitkit_sair.segmentation.labelling import Segmentation, segment, semantic_model
    from implicitkit_sair.segmentation.overlay import Panel, draw_overlay

    picture = read_image(image)
    missing = None if mask is None else read_mask(mask, hole, rare.threshold)
    shape = (picture.shape[1], picture.shape[2])
    if box is not None and not (fit or stretch):
        refuse_distortion(shape, box, "--fit (the largest size within it) or --stretch")
    result_size = None if box is None else Enlargement(1, *box, "fit" if fit else "stretch").of(shape)
    holes = None if missing is None else check_mask(picture, missing, f"the mask {mask}")
    where = choose_device(device)
    number_format = choose_precision(rare.precision, where)
    network = load_model(model).to(where)
    vocabulary = make_vocabulary(network, wanted, rare.embeddings, rare.names, rare.templates, rare.text_weights)
    if holes is not None:
        picture = fill_holes(picture[None], holes[None], network.hole_fill)[0]
    field = semantic_model(network).encode(picture, missing, precision=number_format, fill=network.hole_fill)
    segmentations: dict[str, Segmentation] = {}
    for kind in STAGES[:2] if stage == "both" else (stage,):
        segmentations[kind] = segment(
            field,
            vocabulary.names,
            result_size or field.size,
            embeddings=vocabulary.embeddings,
            completed=kind == "completed",
        )
    main = next(iter(segmentations.values()))  # the completed one, if it was asked for

    shown = tuple(main.labels.shape)
    under = picture if shown == tuple(picture.shape[1:]) else resize(picture, shown, "pil").clamp(0, 1)
    panels = [
        Panel(kind if len(segmentations) > 1 else "", result.labels) for kind, result in reversed(segmentations.items())
    ]
    with ExitStack() as all_or_none:
        for target in (output, labels, scores):
            if target is not None:
                target.parent.mkdir(parents=True, exist_ok=True)
        overlay = draw_overlay(under, panels, vocabulary.names, rare.opacity)
        write_picture(all_or_none.enter_context(replacing(output)), overlay)
        if labels is not None:
            write_label_map(all_or_none.enter_context(replacing(labels)), main.labels)
        if scores is not None:
            np.save(all_or_none.enter_context(replacing(scores)), main.scores.cpu().numpy())
    counts = main.labels.flatten().bincount(minlength=len(vocabulary)).tolist()
    shares = [f"{name} {count / main.labels.numel():.1%}" for name, count in zip(vocabulary.names, counts, strict=True)]
    typer.echo(f"{image} -> {output} {shown[1]}×{shown[0]}: {', '.join(shares)} ({where}, {number_format})")


def _check_targets(
    image: Path, mask: Path | None, output: Path, labels: Path | None, scores: Path | None, force: bool
) -> None:
    """Raise :class:`UserError` if a file is missing, or a target is in the way or cannot be written."""
    from implicitkit.files import check_regular
    from implicitkit.images import check_writable

    inputs = [path for path in (image, mask) if path is not None]
    targets = [path for path in (output, labels, scores) if path is not None]
    for path in inputs:
        check_regular(path)
        if not path.is_file():
            raise UserError(
                f"{path} is a folder; segment takes one picture" if path.is_dir() else f"there is no file {path}"
            )
    check_writable(output, (1, 1))
    if labels is not None and labels.suffix.lower() not in (".png", ".tif", ".tiff"):
        raise UserError(f"a label map is written as .png or .tif, which keep numbers as they are; received {labels}")
    if scores is not None and scores.suffix != ".npy":
        raise UserError(f"scores are written as .npy; received {scores}")
    for target in targets:
        if target.resolve() in {path.resolve() for path in inputs}:
            raise UserError(f"{target} is an input itself; choose another name")
        check_target(target, force)
    if len({target.resolve() for target in targets}) < len(targets):
        raise UserError("--output, --labels and --scores must be different files")
