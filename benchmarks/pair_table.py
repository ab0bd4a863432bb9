"""Try every registered encoder with every registered decoder and neck, and write the table into the docs.

    python benchmarks/pair_table.py

Each is built by name at a reduced size and asked for: a forward pass at points, a backward pass that reaches every
parameter, a save/load round trip that renders the same bits, and a render at an odd size from an odd-sized picture.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

import implicitkit as ik
from implicitkit.testing.models import check_gradients, check_round_trip

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "pairs.md"
HEAD = """# Every encoder with every decoder, with and without a neck

Made by `python benchmarks/pair_table.py`, at the reduced sizes of [`tests/oracles/reduced.py`](../tests/oracles/reduced.py). A cell gives the model's number of parameters
at that size if it passed all four: a forward pass at points, a backward pass in which every parameter receives a gradient, a save/load round trip that
renders the same bits, and a render at an odd size of an odd-sized picture. `tests/testing/test_models.py` asserts the same on every run, of necks with one encoder or one decoder.
"""


def attempt(encoder: dict[str, object], decoder: dict[str, object], neck: dict[str, object] | None = None) -> str:
    """What the cell of these parts says."""
    torch.manual_seed(0)
    from oracles.reduced import WITHOUT_GRADIENT, odd_size  # type: ignore[import-not-found]

    spec = {"encoder": encoder, "decoder": decoder, **({} if neck is None else {"neck": neck})}
    try:
        model = ik.create_model(spec).eval()
        picture = torch.rand(2, 3, *odd_size(model))
        trainable = (encoder["name"], decoder["name"]) not in WITHOUT_GRADIENT
        if trainable:
            check_gradients(model, picture, None)
        check_round_trip(model, picture, None)
        rendered = model.encode(picture).render((33, 47))
        assert rendered.shape == (2, 3, 33, 47) and torch.isfinite(rendered).all(), "the render is not finite"
    except Exception as error:
        return f"**{type(error).__name__}: {error}**"
    return f"{sum(p.numel() for p in model.parameters()):,}" + ("" if trainable else " *")


def main() -> None:
    sys.path.insert(0, str(ROOT / "tests"))
    from oracles.reduced import DECODERS, ENCODERS, NECKS, WITHOUT_GRADIENT

    notes = [f"\\* `{a}` with `{b}` renders, and does not train: {why}." for (a, b), why in WITHOUT_GRADIENT.items()]
    lines = [HEAD]
    for title, neck in (("Without a neck", None), *((f"With the neck `{name}`", neck) for name, neck in NECKS.items())):
        rows = [["decoder", *(f"`{name}`" for name in ENCODERS)], ["---"] * (1 + len(ENCODERS))]
        for name, decoder in DECODERS.items():
            rows.append([f"`{name}`", *(attempt(encoder, decoder, neck) for encoder in ENCODERS.values())])
            print(title, *rows[-1], flush=True)
        lines += [f"## {title}\n", *("| " + " | ".join(row) + " |" for row in rows), ""]
    PAGE.write_text("\n".join([*lines, *notes, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
