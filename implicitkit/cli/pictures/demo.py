"""``implicitkit demo``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from implicitkit.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

    from implicitkit.model import ImplicitModel

MIN_SIDE = 32


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="The PNG to write.")] = Path("implicitkit_demo.png"),
    scale: Annotated[
        float, typer.Option(help="Factor to shrink the photo by, and enlarge it again; any number from 1.")
    ] = 3.7,
    model: Annotated[str, typer.Option(help="A pretrained model's name, or a weight file.")] = "fast",
    photo: Annotated[Path | None, typer.Option(help="A photo of your own instead of the bundled one.")] = None,
    force: Annotated[bool, typer.Option(help="Overwrite the output.")] = False,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in the system's viewer.")] = False,
) -> None:
    """Enlarge a shrunken photo; show bicubic, model and truth.

    The PSNR of both is printed.
    """
    from implicitkit.create import load_model
    from implicitkit.files import PHOTO
    from implicitkit.images.io import check_writable, read_image
    from implicitkit.images.sheets import save_figure

    if output.exists() and not force:
        raise UserError(f"{output} exists; pass --force to overwrite it")
    check_writable(output, (1, 1))
    clean = read_image(photo or PHOTO)
    shortest = min(clean.shape[1:])
    if shortest < MIN_SIDE:
        raise UserError(f"the photo must have at least {MIN_SIDE} pixels a side; {photo} has {shortest}")
    if not 1 <= scale <= shortest / 8:
        raise UserError(f"--scale lies between 1 and {shortest / 8:g} for this photo; received {scale:g}")
    figure, scores = compare_upscaling(load_model(model), clean, scale, name=Path(model).stem)
    save_figure(figure, output)
    for method, value in scores.items():
        typer.echo(f"{method:<12} {value:.2f} dB (PSNR-Y, ×{scale:g})")
    typer.echo(f"wrote {output}")
    if open_it:
        typer.launch(str(output))


def compare_upscaling(
    model: ImplicitModel, clean: Tensor, scale: float, *, name: str
) -> tuple[Figure, dict[str, float]]:
    """Shrink ``clean`` ``(3, H, W)`` by ``scale``, enlarge it again, and lay out bicubic, model and truth: the whole
    pictures above, an enlarged detail below. Also returns the PSNR-Y of each method, dB.
    """
    from implicitkit.evaluation import bicubic, make_pair
    from implicitkit.images.io import to_pixels
    from implicitkit.images.sheets import sheet
    from implicitkit.metrics import psnr_y

    pair = make_pair("photo", clean, scale)
    height, width = pair.clean.shape[1:]
    pictures = {
        "bicubic": bicubic(pair.low, (height, width)).clamp(0, 1),
        name: model.encode(pair.low).render((height, width)).cpu(),
    }
    scores = {method: psnr_y(picture, pair.clean, shave=math.ceil(scale)) for method, picture in pictures.items()}
    whole = [(f"{method}  {scores[method]:.2f} dB", to_pixels(picture)) for method, picture in pictures.items()]
    whole.append(("truth", to_pixels(pair.clean)))
    window = busiest(pair.clean, side=max(8, min(height, width) // 4))
    details = [("detail", pixels[window]) for _, pixels in whole]
    title = f"{pair.low.shape[2]} x {pair.low.shape[1]} to {width} x {height} pixels, factor {scale:g}"
    return sheet([whole, details], [title], largest=width), scores


def busiest(picture: Tensor, side: int) -> tuple[slice, slice]:
    """The square of ``side`` pixels with the most detail, where methods differ most."""
    import torch.nn.functional as F

    grey, step = picture.mean(0), max(1, side // 4)
    energy = F.pad(grey.diff(dim=0)[:, 1:].abs() + grey.diff(dim=1)[1:].abs(), (1, 0, 1, 0))
    pooled = F.avg_pool2d(energy[None], side, stride=step)[0]
    top, left = (k * step for k in divmod(int(pooled.argmax()), pooled.shape[1]))
    return slice(top, top + side), slice(left, left + side)
