"""Write docs/decoders.md: every decoder's size, cost and published quality.

python docs/make_decoders.py    # half a minute; counts, and puts the times of benchmarks/decoders.json beside
"""

from __future__ import annotations

import json
import os
from pathlib import Path

os.environ["IMPLICITKIT_KERNELS"] = "0"  # PyTorch's operators can be counted, the kernel's cannot

import torch

import implicitkit as ik
from benchmarks.decoders import subject
from implicitkit.evaluation.costs import count_macs, count_text
from implicitkit.kernels.table import WAYS
from implicitkit.registry.kinds import decoders

PAGE = Path(__file__).with_name("decoders.md")
TIMED = json.loads((PAGE.parents[1] / "benchmarks" / "decoders.json").read_text(encoding="utf-8"))
SIDE, SCALE = 24, 4
PUBLISHED = {  # PSNR, dB, DIV2K validation, EDSR-baseline, x2 / x3 / x4, as the papers of these methods print it
    "metasr": "34.64 / 30.93 / 28.92",
    "liif": "34.67 / 30.96 / 29.00",
    "lte": "34.72 / 31.02 / 29.04",
    "srno": "34.85 / 31.11 / 29.16",
    "thera": "34.75 / 31.09 / 29.10",
    "hiif": "34.90 / 31.26 / 29.28",
}
HEAD = f"""# Decoders: cost and quality

Made by `python docs/make_decoders.py`. Sizes are the published ones, on 64 features per cell. A *multiply-add* is one of a convolution or of a matrix product, as it is run on a CPU
without the kernel, from {SIDE}² to {SIDE * SCALE}² pixels, what is done once per picture included; the encoder is not. *Time* is that of an output pixel from {TIMED["side"]}² to {TIMED["side"] * TIMED["scale"]}² in float32, all decoders in one run
(`python -m benchmarks.decoders -o benchmarks/decoders.json`; {TIMED["machine"]}); a decoder with a *kernel* is rendered by it. *Reach* is how many cells away a decoder looks; one that looks everywhere cannot be tiled.
*Published* is PSNR in dB on DIV2K's validation pictures at ×2 / ×3 / ×4 with EDSR-baseline, as the papers report it (bicubic: 31.01 / 28.22 / 26.66; LTE's and HIIF's: as later papers do). It was not measured here; a dash means that we know of no such number.

| decoder | what it is | parameters | multiply-adds per pixel | time per pixel | reach | kernel | published, dB |
|---|---|---|---|---|---|---|---|
"""
TAIL = """
## What was measured here

The models in the box, by the benchmark protocol, luma PSNR in dB:

| model | decoder | Set5 ×2 | ×3 | ×4 | |
|---|---|---|---|---|---|
| `liif_edsr_baseline` | `liif` | 37.99 | 34.40 | 32.24 | the authors' weights: `implicitkit weights get liif_edsr_baseline` |
| `liif_small` | `liif` | 37.49 | 33.72 | 31.52 | [how it was trained](liif_small.md) |
| `fast` | `thera` | 37.60 | 34.07 | 31.76 | [the default](fast.md) |

No comparison of all decoders at one budget has been run: `implicitkit compare decoders` ([how](compare.md)) would, thirteen of them, three seeds each, on your copies of DIV2K and Set5. On faces with holes, LIIF, LTE and SAIR
stand [side by side](comparison.md). Outputs agree with those of the authors' code to 1e-5 where their code was at hand: [parity](parity.md).

## Which one to take

- **To begin with**: `liif` or `lte`. They have kernels for CPUs and GPUs, export to ONNX, and most is known of them.
- **For speed**: `thera` or `lmf`, a fiftieth of LIIF's multiplications and fewer; the encoder is then what costs.
- **For the last tenths of a decibel**: `srno` or `hiif`, which look at all points of a question at once: no tiles, and a single point cannot be asked.
- **For textures that repeat**: `lte`, whose waves follow them, or `sinc_lte`, which averages them over the output pixel.
- **As a baseline**: `nearest` and `bilinear`, plain read-outs of the features.
"""


def row(name: str) -> str:
    """A decoder's line of the table."""
    entry, _ = decoders.find(name)
    model = subject(name)
    picture = torch.rand(3, SIDE, SIDE)
    size = (SIDE * SCALE, SIDE * SCALE)

    def whole() -> None:
        model.encode(picture).render(size)

    with torch.no_grad():
        macs = count_macs(whole) - count_macs(lambda: model.encoder(picture[None]))
    parameters = sum(p.numel() for p in model.decoder.parameters())
    reach = "everywhere" if model.decoder.reach is None else str(model.decoder.reach)
    cells = [
        f"`{name}`",
        entry.summary,
        count_text(parameters),
        count_text(round(macs / (size[0] * size[1]))),
        f"{TIMED['nanoseconds'][name]:,.0f} ns" if name in TIMED["nanoseconds"] else "–",
        reach,
        "yes" if type(model.decoder) in WAYS else "",
        PUBLISHED.get(name, "–"),
    ]
    return "| " + " | ".join(cells) + " |\n"


if __name__ == "__main__":
    PAGE.write_text(HEAD + "".join(row(name) for name in ik.list_decoders()) + TAIL, encoding="utf-8")
