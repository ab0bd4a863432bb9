"""The tab that enlarges a picture, with what ``implicitkit upscale`` calls."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import gradio as gr

from implicitkit.app.previews import before_and_after
from implicitkit.app.session import Session
from implicitkit.app.widgets import answering, picture_file, reporting
from implicitkit.create.fitness import Request, judge, pretrained
from implicitkit.create.notes import summarise
from implicitkit.devices import explain_precision
from implicitkit.errors import UserError
from implicitkit.images.upscale import Enlargement, upscale_picture
from implicitkit.model import ImplicitModel

MAX_SCALE = 64.0
ASPECTS = ["fit", "crop", "stretch"]


class Enlarged(NamedTuple):
    """What :func:`upscale` returns."""

    file: Path
    """The result, a PNG with the picture's bits, alpha and profile."""
    slider: tuple[Path, Path]
    """Before, bicubically, and after, as they are shown."""
    text: str
    """What was done, and what is to be said of it."""


def upscale(
    session: Session,
    path: str | Path | None,
    model: str,
    how: Enlargement,
    report: Callable[[float], None] | None = None,
) -> Enlarged:
    """Enlarge one picture.

    Args:
        session: models, limits and the folder of the result.
        path: the picture.
        model: a name or a weight file.
        how: the size of the result.
        report: called with the share that is done, 0 to 1.

    Raises:
        UserError: there is no picture, or the result would be too large.
        ImageError: the picture is too large, or none.
    """
    picture = session.read(path)
    source = Path(str(path))
    size = how.of(picture.size)
    session.limits.check_result(size)
    network = session.load(model)
    notes = judge(network, model, source.name, Request.of(source, picture, how.whole(picture.size)))
    number_format, _ = explain_precision("auto", session.device, bits=picture.bits)
    result = upscale_picture(
        network,
        picture,
        size,
        precision=number_format,
        progress=None if report is None else lambda done: report(done / (size[0] * size[1])),
        whole=how.whole(picture.size),
    )
    file = session.write(result, f"{source.stem}_{how.label}")
    before, after = (f"{w}×{h}" for h, w in (picture.size, size))
    lines = [f"{before} to {after}, {result.bits} bits, {model} ({session.device}, {number_format})", *summarise(notes)]
    return Enlarged(file, before_and_after(session, picture, result), "\n".join(lines))


def enlargement(by: str, factor: float | None, width: float | None, height: float | None, aspect: str) -> Enlargement:
    """The size that the controls say.

    Raises:
        UserError: a number is missing, or is none that makes sense.

    >>> enlargement("factor", 2.5, None, None, "fit").of((10, 20)), enlargement("size", 4, 30, None, "fit").of((10, 20))
    ((25, 50), (15, 30))
    """
    if by == "factor":
        if factor is None or not 0 < factor <= MAX_SCALE:
            raise UserError(f"the factor is a positive number up to {MAX_SCALE:g}; received {factor}")
        return Enlargement(scale=float(factor))
    sides = [None if not side else int(side) for side in (width, height)]
    if sides == [None, None] or any(side is not None and side < 1 for side in sides):
        raise UserError(f"the width and the height are positive numbers of pixels; received {width} and {height}")
    return Enlargement(width=sides[0], height=sides[1], aspect=aspect)


def enlarges(model: ImplicitModel) -> bool:
    """Whether ``model`` gives RGB for RGB and needs no mask."""
    return bool(model.encoder.in_channels == 3 and model.decoder.out_channels == 3 and not model.takes_mask)


def tab(session: Session) -> None:
    """Lay out the tab."""
    models = session.choices([name for name, _ in pretrained()], enlarges)
    with gr.Row():
        with gr.Column(scale=1, min_width=320):
            picture = picture_file(label="Picture", height=260)
            demo = gr.Button("Use the demo picture", size="sm")
            usual = models[0] if session.models or "fast" not in models else "fast"
            model = gr.Dropdown(models, value=usual, label="Model")
            by = gr.Radio(["factor", "size"], value="factor", label="Enlarge by")
            factor = gr.Number(4.0, label="Factor, any number", minimum=0)
            with gr.Row(visible=False) as box:
                width = gr.Number(label="Width", precision=0, info="pixels; empty: follows the height")
                height = gr.Number(label="Height", precision=0, info="pixels; empty: follows the width")
                aspect = gr.Radio(ASPECTS, value="fit", label="Of another aspect", info="when both are given")
            start = gr.Button("Upscale", variant="primary", elem_id="upscale-start")
        with gr.Column(scale=2, min_width=480):
            slider = gr.ImageSlider(label="Before (bicubic) and after", type="filepath", max_height=620)
            text = gr.Textbox(label="Done", interactive=False, elem_id="upscale-text")
            download = gr.DownloadButton("Download PNG", interactive=False, elem_id="upscale-download")

    @answering
    def enlarge(
        picture: str | None,
        model: str,
        by: str,
        factor: float | None,
        width: float | None,
        height: float | None,
        aspect: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio looks for it here
    ) -> tuple[tuple[str, str], str, str]:
        how = enlargement(by, factor, width, height, aspect)
        done = upscale(session, picture, model, how, reporting(progress, "upscaling"))
        return (str(done.slider[0]), str(done.slider[1])), str(done.file), done.text

    start.click(
        enlarge,
        [picture, model, by, factor, width, height, aspect],
        [slider, download, text],
        show_progress_on=text,  # an error covers that alone, not the picture before
        api_name="upscale",
    ).success(lambda: gr.update(interactive=True), None, download, api_visibility="private")
    by.change(
        lambda by: (gr.update(visible=by == "factor"), gr.update(visible=by == "size")),
        by,
        [factor, box],
        api_visibility="private",
    )
    demo.click(answering(lambda: str(session.demo())), None, picture, api_visibility="private")
