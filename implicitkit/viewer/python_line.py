"""The line of Python that makes the same picture as the page shows."""

from __future__ import annotations

from collections.abc import Sequence

from implicitkit.viewer.question import Question


def python_line(
    question: Question,
    path: str,
    model: str,
    *,
    size: tuple[int, int],
    plain: bool = True,
    takes_mask: bool = False,
    tile: int | None = None,
    device: str = "cpu",
    output: str = "view.png",
) -> str:
    """One line that renders ``question`` and writes it to ``output``.

    Args:
        question: the window.
        path: the picture's file.
        model: what :func:`implicitkit.load_model` takes.
        size: of the picture, ``(H, W)``.
        plain: whether the picture is 8 bits of RGB without transparency and profile.
        takes_mask: whether the model takes a mask.
        tile: in which the picture is encoded.
        device: where the model computes.
        output: the file to write.

    >>> from implicitkit.viewer.question import WHOLE_BOX, Damage, Layer
    >>> question = Question(0, Layer("model"), Damage(), WHOLE_BOX, (20, 30))
    >>> print(python_line(question, "a.png", "fast", size=(10, 15)))
    import implicitkit as ik; image = ik.read_image('a.png'); \
field = ik.load_model('fast').encode(image); \
ik.write_image('view.png', field.render((20, 30), box=(-1.0, -1.0, 1.0, 1.0)))
    """
    steps, kind = ["import implicitkit as ik"], question.layer.kind
    spec = question.damage.spec(size) if kind != "original" else []
    keep = not plain and kind != "meaning"
    if plain:
        steps.append(f"image = ik.read_image({path!r})")
    else:
        steps.append("from implicitkit.images.io import read_picture, write_picture")
        steps.append("from implicitkit.viewer.original import as_picture, visible")
        steps.append(f"picture = read_picture({path!r}); image = visible(picture)")
    arguments = ["image"]
    if spec:
        generator = ""
        if question.damage.is_random:
            steps.insert(0, "import torch")
            generator = f", torch.Generator().manual_seed({question.damage.seed})"
        if keep:
            steps.append(f"spec = {spec!r}")
        steps.append(f"seen = ik.create_degradation({'spec' if keep else repr(spec)})(image{generator})")
        arguments = ["seen.image", "seen.mask"] if takes_mask else ["seen.image"]
    *steps_of_values, values = _values(question, arguments, model, tile, device)
    written = f"ik.write_image({output!r}, {values})"
    if keep:
        more = (", spec" if spec else "") + (", nearest=True" if kind == "nearest" else "")
        written = f"write_picture({output!r}, as_picture(picture, {values}, {question.box}{more}))"
    return "; ".join([*steps, *steps_of_values, written])


def _values(question: Question, arguments: Sequence[str], model: str, tile: int | None, device: str) -> list[str]:
    """Steps, and at last the expression of the window's values."""
    kind, size, box = question.layer.kind, question.size, question.box
    if kind in ("nearest", "bicubic", "original"):
        name = "nearest_window" if kind == "nearest" else "bicubic_window"
        return [f"from implicitkit.viewer.windows import {name}", f"{name}({arguments[0]}, {size}, {box})"]
    loaded = f"ik.load_model({model!r}{'' if device == 'cpu' else f', device={device!r}'})"
    tiles = "" if tile is None else f", tile={tile}"
    steps = [f"field = {loaded}.encode({', '.join(arguments)}{tiles})"]
    if kind == "model":
        return [*steps, f"field.render({size}, box={box})"]
    steps = ["from implicitkit.viewer.meaning import Colours, semantic_field", *steps]
    whose = "meaning"
    if arguments[0] != "image":  # colours are fitted to the picture without damage
        steps.append(f"clean = {loaded}.encode(image{tiles})")
        whose = "semantic_field(clean)"
    drawn = f"Colours.fit({whose})(meaning.render({size}, box={box}))"
    return [*steps, "meaning = semantic_field(field)", drawn]
