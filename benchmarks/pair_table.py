"""Try every registered encoder with every registered decoder, and write the table into the docs.

    python benchmarks/pair_table.py

Each pair is built by name at a reduced size and asked for: a forward pass at points, a backward pass that reaches every
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
HEAD = """# Every encoder with every decoder

Made by `python benchmarks/pair_table.py`, at the reduced sizes of [`tests/oracles/reduced.py`](../tests/oracles/reduced.py). A cell gives the pair's number of parameters
at that size if it passed all four: a forward pass at points, a backward pass in which every parameter receives a gradient, a save/load round trip that
renders the same bits, and a render at an odd size. `tests/testing/test_models.py` asserts the same on every run.

"""


def attempt(encoder: dict[str, object], decoder: dict[str, object], neck: dict[str, object] | None = None) -> str:
    """What the pair's cell says."""
    torch.manual_seed(0)
    from oracles.reduced import odd_size  # type: ignore[import-not-found]

    spec = {"encoder": encoder, "decoder": decoder, **({} if neck is None else {"neck": neck})}
    try:
        model = ik.create_model(spec).eval()
        picture = torch.rand(2, 3, *odd_size(model))
        check_gradients(model, picture, None)
        check_round_trip(model, picture, None)
        rendered = model.encode(picture).render((33, 47))
        assert rendered.shape == (2, 3, 33, 47) and torch.isfinite(rendered).all(), "the render is not finite"
    except Exception as error:
        return f"**{type(error).__name__}: {error}**"
    return f"{sum(p.numel() for p in model.parameters()):,}"


def main() -> None:
    sys.path.insert(0, str(ROOT / "tests"))
    from oracles.reduced import DECODERS, ENCODERS  # type: ignore[import-not-found]

    rows = [["encoder", *(f"`{name}`" for name in DECODERS)]]
    rows += [[f"`{name}`", *(attempt(encoder, d) for d in DECODERS.values())] for name, encoder in ENCODERS.items()]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|---" * len(rows[0]) + "|")
    PAGE.write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
