"""The layout of the inpainting tab."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import torch
from torch import Tensor

from implicitkit.app import Session, answering, before_and_after, picture_file, preview, shown_size
from implicitkit.images import Picture, to_pixels
from implicitkit_sair.app.filling import BEST_MODEL, Answer, fill, has_words, mask_of, mean_same, painters, semantics

CANVAS = 900  # pixels of the longer side to paint on
RED = np.array([255, 59, 48])
NO_WORDS = (
    "None of these models reads words, so click in the picture. One that does, a SAIR with CLIP, is offered after "
    "`implicitkit app --model FILE`."
)


def tab(session: Session) -> None:
    """Lay out the tab."""
    whose = semantics(session)
    selected = gr.State(None)
    with gr.Row():
        with gr.Column(scale=1, min_width=420):
            picture = picture_file(label="Picture", height=220)
            demo = gr.Button("Use the demo picture", size="sm")
            with gr.Tab("Brush"):
                canvas = gr.ImageEditor(
                    label="Paint over what is to go",
                    sources=(),
                    transforms=(),
                    layers=False,
                    buttons=["fullscreen"],
                    brush=gr.Brush(default_size=24, colors=["#ff3b30"], color_mode="fixed"),
                    eraser=gr.Eraser(default_size=24),
                    elem_id="inpaint-canvas",
                )
            with gr.Tab("Mask file"):
                file = picture_file(label="White where pixels are missing", height=220)
            with gr.Tab("By meaning"):
                meaning = _meaning(session, whose, picture, selected)
            with gr.Row():
                dilate = gr.Slider(0, 64, 4, step=1, label="Grow the holes", info="pixels")
                feather = gr.Slider(0, 64, 2, step=1, label="Fade into the picture", info="pixels")
            with gr.Accordion("Paint beyond the picture", open=False), gr.Row():
                names = ("Left", "Top", "Right", "Bottom")
                margins = [gr.Number(0, label=name, precision=0, minimum=0, min_width=80) for name in names]
            model = gr.Dropdown([BEST_MODEL, *painters(session)], value=BEST_MODEL, label="Model")
            every = gr.Checkbox(label="Show every model's answer")
            start = gr.Button("Fill", variant="primary", elem_id="inpaint-start")
        with gr.Column(scale=2, min_width=480):
            slider = gr.ImageSlider(label="Before and after", type="filepath", max_height=620)
            gallery = gr.Gallery(label="Answers", columns=3, visible=False, buttons=["download", "fullscreen"])
            text = gr.Textbox(label="Done", interactive=False, elem_id="inpaint-text")
            files = gr.File(label="Download", interactive=False, file_count="multiple", height=130)

    @answering
    def paint(
        path: str | None,
        drawn: dict[str, Any] | None,
        file: str | None,
        selected: Tensor | None,
        model: str,
        dilate: float,
        feather: float,
        every: bool,
        *margins: float | None,
    ) -> tuple[Any, ...]:
        given = session.read(path)
        layers = [layer for layer in (drawn or {}).get("layers") or [] if layer is not None]
        mask = mask_of(given.size, drawn=layers, file=file, selected=selected)
        done = _answer(session, path, given, mask, model, dilate, feather, every, margins)
        return (done[0], gr.update(value=done[3], visible=every), done[2], done[1])

    @answering
    def answer(
        picture: str | None,
        mask: str | None,
        model: str,
        dilate: float,
        feather: float,
        every: bool,
        *margins: float | None,
    ) -> tuple[Any, ...]:
        given = session.read(picture)
        hole = mask_of(given.size, file=mask)
        return _answer(session, picture, given, hole, model, dilate, feather, every, margins)[:3]

    rest = [model, dilate, feather, every, *margins]
    start.click(
        paint,
        [picture, canvas, file, selected, *rest],
        [slider, gallery, text, files],
        show_progress_on=text,  # an error covers that alone, not the answer before
        api_visibility="private",
    )
    gr.Button(visible=False).click(answer, [picture, file, *rest], [slider, files, text], api_name="inpaint")
    picture.change(
        answering(lambda path: _canvas(session, path)),
        picture,
        [canvas, meaning, selected],
        api_visibility="private",
    )
    demo.click(answering(lambda: str(session.demo())), None, picture, api_visibility="private")


def _meaning(session: Session, whose: list[str], picture: gr.Image, selected: gr.State) -> gr.Image:
    """The controls that select by meaning; the picture to click on."""
    shown = gr.Image(
        label="Click what is to go", buttons=["fullscreen"], interactive=False, height=320, elem_id="inpaint-meaning"
    )
    with gr.Row():
        like = gr.Textbox(label="Like these pixels", placeholder="120,80 300,40", elem_id="inpaint-like")
        unlike = gr.Textbox(label="But not like these")
    means = gr.Radio(["like", "not like"], value="like", label="A click means")
    speaks = [name for name in whose if has_words(session, name)]
    words = gr.Textbox(label="Or in words", placeholder="sky, tree", visible=bool(speaks))
    if not speaks:
        gr.Markdown(NO_WORDS)
    with gr.Row():
        semantics = gr.Dropdown(whose, value=next(iter(speaks or whose), None), label="Whose meaning")
        grow = gr.Slider(0, 64, 8, step=1, label="Grow", info="pixels")
    find = gr.Button("Select", elem_id="inpaint-select")
    again = gr.Button("Forget the selection", size="sm")

    @answering
    def clicked(path: str | None, means: str, like: str, unlike: str, at: gr.SelectData) -> tuple[str, str]:
        size = session.read(path).size
        shown = shown_size(size, CANVAS)
        x, y = (min(n - 1, int((at.index[k] + 0.5) * n / shown[1 - k])) for k, n in enumerate(reversed(size)))
        point = f"{x},{y}"
        return (f"{like} {point}".strip(), unlike) if means == "like" else (like, f"{unlike} {point}".strip())

    @answering
    def choose(
        path: str | None, semantics: str, like: str, unlike: str, words: str, grow: float
    ) -> tuple[Tensor, Any, str]:
        given = session.read(path)
        mask = mean_same(session, given, semantics, like=like, unlike=unlike, words=words, grow=int(grow))
        file = session.write(Picture(to_pixels(mask)), f"{Path(str(path)).stem}_mask")
        return mask, _overlay(given, mask), str(file)

    @answering
    def select(picture: str | None, semantics: str, like: str, unlike: str, words: str, grow: float) -> str:
        return choose(picture, semantics, like, unlike, words, grow)[2]

    asked = [picture, semantics, like, unlike, words, grow]
    shown.select(clicked, [picture, means, like, unlike], [like, unlike], api_visibility="private")
    find.click(lambda *given: choose(*given)[:2], asked, [selected, shown], api_visibility="private")
    gr.Button(visible=False).click(select, asked, gr.File(visible=False), api_name="select")
    again.click(
        answering(lambda path: (None, "", "", _small(session.read(path)))),
        picture,
        [selected, like, unlike, shown],
        api_visibility="private",
    )
    return shown


def _answer(
    session: Session,
    path: str | None,
    given: Picture,
    mask: Tensor,
    model: str,
    dilate: float,
    feather: float,
    every: bool,
    margins: tuple[float | None, ...],
) -> tuple[tuple[str, str], list[str], str, list[tuple[str, str]]]:
    """The slider, the files, what was done, and the gallery."""
    sides = [int(n or 0) for n in margins]
    how: dict[str, Any] = {"dilate": int(dilate), "feather": int(feather), "margins": sides, "every": bool(every)}
    answers = fill(session, given, mask, model=model, **how)
    stem = Path(str(path)).stem
    files = [str(session.write(a.picture, f"{stem}_{a.name if every else 'inpainted'}")) for a in answers]
    first: Answer = answers[0]
    before = _before(given, first.picture, sides)
    pair = before_and_after(session, before, first.picture)
    size = "×".join(map(str, reversed(first.picture.size)))
    text = f"{size}, {float((mask > 0.5).float().mean()):.1%} of the picture marked; filled by "
    text += ", ".join(a.why or a.name for a in answers)
    gallery = [(file, a.name) for file, a in zip(files, answers, strict=True)] if every else []
    return (str(pair[0]), str(pair[1])), files, text, gallery


def _before(given: Picture, result: Picture, margins: list[int]) -> Picture:
    """``given`` on a grey ground of the result's size."""
    if given.size == result.size:
        return given
    ground = replace(result, pixels=np.full_like(result.pixels, np.iinfo(result.pixels.dtype).max // 2))
    window = (slice(margins[1], margins[1] + given.size[0]), slice(margins[0], margins[0] + given.size[1]))
    ground.pixels[window] = given.pixels
    return ground


def _small(picture: Picture) -> Any:
    """The picture's colours ``(h, w, 3)`` uint8, small enough to paint on."""
    pixels = preview(picture, shown_size(picture.size, CANVAS)).pixels
    return np.repeat(pixels, 3, axis=2) if picture.is_grey else pixels


def _overlay(picture: Picture, mask: Tensor) -> Any:
    """The picture with the mask in red."""
    small = _small(picture)
    cover = torch.nn.functional.interpolate(mask[None], small.shape[:2], mode="nearest")[0, 0].numpy()[..., None]
    return (small * (1 - 0.5 * cover) + RED * 0.5 * cover).astype(np.uint8)


def _canvas(session: Session, path: str | None) -> tuple[Any, Any, None]:
    """A fresh canvas, picture to click on, and selection."""
    if path is None:
        return None, None, None
    small = _small(session.read(path))
    return {"background": small, "layers": [], "composite": None}, small, None
