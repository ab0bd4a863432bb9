"""``implicitkit edit``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from implicitkit import UserError
from implicitkit.cli import check_target

FILLS = "patches"  # what is selected is wide, and there everything else paints a blur

if TYPE_CHECKING:
    from torch import Tensor

    from implicitkit import ImplicitModel
    from implicitkit_sair.segmentation.vocabulary import Vocabulary


def edit(
    image: Annotated[Path, typer.Argument(help="A picture.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The edited picture.")],
    like: Annotated[
        list[str] | None,
        typer.Option(metavar="X,Y", help="Select what means the same as this pixel, from the top left; repeatable."),
    ] = None,
    unlike: Annotated[
        list[str] | None, typer.Option(metavar="X,Y", help="But not what is nearer to this one; repeatable.")
    ] = None,
    example: Annotated[
        tuple[Path, Path] | None, typer.Option(help="Select what another picture's mask is white on: PICTURE MASK.")
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(help="Select these classes, 'sky, tree': words of --semantics, or rows of --set embeddings=FILE."),
    ] = None,
    against: Annotated[
        str, typer.Option(help="What else a pixel may be, for --classes: names, a .txt file or a data set.")
    ] = "ade20k",
    as_: Annotated[
        Path | None, typer.Option("--as", help="Fill with the meaning of this picture, laid over the other.")
    ] = None,
    to: Annotated[
        str | None, typer.Option(help="Fill with the meaning of this class: a word, or a row of embeddings.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="What fills, as of inpaint [default: patches; sair_faces with --as and --to]."),
    ] = None,
    semantics: Annotated[
        str | None,
        typer.Option(help="Whose meaning selects: a semantic model or a SAIR [default: DINOv2, see weights get]."),
    ] = None,
    force: Annotated[bool, typer.Option(help="Overwrite what is there.")] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Repeatable: threshold (select what scores higher), connected (true: only what hangs together with a "
            "--like), refine (false: borders as coarse as the features), grow (pixels, 8), feather (pixels, 2), mask "
            "(write what is filled to this file), keep_gps (true: where it was taken), embeddings, names, templates, "
            "text_weights (as of segment), precision and device.",
        ),
    ] = None,
) -> None:
    """Select what means the same, and fill it: with what is around, or with given meaning."""
    from implicitkit.config import apply_settings, validate
    from implicitkit_sair.cli.options import Edit

    rare = validate(Edit, apply_settings({}, settings or []), "--set")
    points = {"like": _points(like, "--like"), "unlike": _points(unlike, "--unlike")}
    _check(image, output, rare.mask, [*(example or ()), *([as_] if as_ else [])], force)
    if as_ is not None and to is not None:
        raise UserError("give one of --as and --to")
    if sum((bool(like), example is not None, classes is not None)) != 1:
        raise UserError("say what to select with one of --like X,Y, --example PICTURE MASK and --classes NAMES")

    from implicitkit import load_model, read_image
    from implicitkit.devices import choose_device, choose_precision
    from implicitkit.images import read_picture, write_picture
    from implicitkit_sair.cli.inpaint import loss
    from implicitkit_sair.editing.editing import hole_of
    from implicitkit_sair.editing.selection import default_semantics, select
    from implicitkit_sair.inpainting.painting import SOLVERS, inpaint_picture, read_mask
    from implicitkit_sair.models import default_models

    where = choose_device(rare.device)
    picture = read_picture(image)
    semantic_model = default_semantics() if semantics is None else load_model(semantics)
    vocabulary, chosen = _classes(semantic_model, classes, against, rare)
    shown = (read_image(example[0]), read_mask(example[1])) if example else None
    colours = picture.rgb()
    selection = select(
        semantic_model.to(where),
        colours,
        **points,
        example=shown,
        vocabulary=vocabulary,
        classes=chosen,
        threshold=rare.threshold,
        connected=rare.connected,
        refine=rare.refine,
    )
    hole = hole_of(selection, rare.grow)
    if bool((hole > 0.5).all()):
        raise UserError(
            f"all of {image} is selected, above {selection.threshold:.2f} and grown by {rare.grow} pixels, so nothing "
            "is left to fill it from; raise --set threshold, lower --set grow, or name more --unlike"
        )
    number_format = choose_precision(rare.precision, where, bits=picture.bits)
    how: dict[str, Any] = {"feather": rare.feather, "precision": number_format}
    meant = as_ is not None or to is not None
    name = model or (default_models()[0] if meant else FILLS)
    painter = _painter(name, meant, where)
    meaning = _meaning(painter, as_, to, rare) if meant else None
    if painter in SOLVERS:
        how = {"feather": rare.feather}
    result = inpaint_picture(painter, picture, hole, meaning=meaning, **how)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_picture(output, result, lossless=True, keep_gps=rare.keep_gps)
    if rare.mask is not None:
        from implicitkit import write_image

        rare.mask.parent.mkdir(parents=True, exist_ok=True)
        write_image(rare.mask, hole)
    share = float(hole.mean())
    note = loss(output, picture.bits, quality=False)
    typer.echo(
        f"{image} -> {output}: {share:.1%} filled by {name}, threshold {selection.threshold:.2f} ({where}{note})"
    )


def _points(texts: list[str] | None, flag: str) -> list[tuple[float, float]]:
    points = []
    for text in texts or []:
        try:
            x, y = (float(part) for part in text.split(","))
        except ValueError:
            raise UserError(f"{flag} takes X,Y in pixels, such as 120,80; received {text!r}") from None
        points.append((x, y))
    return points


def _check(image: Path, output: Path, mask: Path | None, others: list[Path], force: bool) -> None:
    """Raise :class:`UserError` if a file is missing, or a target is in the way or cannot be written."""
    from implicitkit.files import check_regular
    from implicitkit.images import check_writable

    for path in (image, *others):
        check_regular(path)
        if not path.is_file():
            raise UserError(
                f"{path} is a folder; edit takes one picture" if path.is_dir() else f"there is no file {path}"
            )
    targets = [output, *([mask] if mask else [])]
    for target in targets:
        check_writable(target, (1, 1))
        if target.resolve() in {path.resolve() for path in (image, *others)}:
            raise UserError(f"{target} is an input itself; choose another name")
        check_target(target, force)
    if mask is not None and mask.resolve() == output.resolve():
        raise UserError("--output and mask must be different files")


def _classes(
    semantics: ImplicitModel, classes: str | None, against: str, rare: Any
) -> tuple[Vocabulary | None, list[str]]:
    """The classes that are selected, among all that a pixel may be."""
    from implicitkit_sair.cli.meaning import make_vocabulary, parse_classes

    if classes is None:
        return None, []
    chosen = parse_classes(classes)
    if rare.embeddings is not None and against == "ade20k":
        return _of_file(rare.embeddings, rare.names), chosen
    folded = {name.casefold() for name in chosen}
    others = [name for name in parse_classes(against) if name.casefold() not in folded]
    named = (rare.embeddings, rare.names, rare.templates, rare.text_weights)
    return make_vocabulary(semantics, [*chosen, *others], *named), chosen


def _of_file(embeddings: Path, names: Path | None) -> Vocabulary:
    """All rows of a file, with its own names or those of ``names``."""
    from implicitkit_sair.segmentation.vocabulary import Vocabulary, read_names
    from implicitkit_sair.semantic.class_embeddings import read_classes

    own, rows = read_classes(embeddings)
    told = own if names is None else read_names(names)
    return Vocabulary(tuple(told or [f"class {k + 1}" for k in range(len(rows))]), rows)


def _painter(name: str, meant: bool, where: Any) -> ImplicitModel | str:
    """What fills: a solver's name or a model, which reads meaning if that is given."""
    from implicitkit import load_model
    from implicitkit_sair.inpainting.meaning import semantic_condition
    from implicitkit_sair.inpainting.painting import SOLVERS, check_painter

    if name in SOLVERS:
        if meant:
            raise UserError(f"{name} learnt nothing and reads no meaning; --as and --to take a --model that does")
        return name
    painter = load_model(name).to(where)
    check_painter(painter, name)
    if meant:
        semantic_condition(painter)
    return painter


def _meaning(painter: ImplicitModel | str, as_: Path | None, to: str | None, rare: Any) -> Tensor:
    """The picture of ``--as``, or the embedding of ``--to``."""
    from implicitkit import read_image
    from implicitkit_sair.cli.meaning import make_vocabulary

    if as_ is not None:
        return read_image(as_)
    assert to is not None and not isinstance(painter, str)
    if rare.embeddings is not None:
        return _of_file(rare.embeddings, rare.names).select([to]).embeddings[0]
    return make_vocabulary(painter, [to], None, None, rare.templates, rare.text_weights).embeddings[0]
