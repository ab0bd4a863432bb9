"""Time every decoder in one run: nanoseconds of an output pixel, the encoder left out.

python -m benchmarks.decoders [--side 48] [--repeats 5] [-o benchmarks/decoders.json]

``docs/make_decoders.py`` puts what is in ``benchmarks/decoders.json`` beside what the decoders' arithmetic costs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import psutil
import torch

import implicitkit as ik
from benchmarks.rows import race
from implicitkit.devices import choose_device, describe_machine
from implicitkit.files import write_json
from implicitkit.model import ImplicitModel

SCALE = 4
ENCODERS = {"gb_lsr_patches": "gb_lsr_patches"}  # what other decoders than these read
USUAL_ENCODER = {"name": "edsr", "blocks": 1, "channels": 64}


def subject(decoder: str) -> ImplicitModel:
    """A decoder at its published size, on 64 features per cell, with random weights.

    >>> subject("thera").decoder.in_channels
    64
    """
    torch.manual_seed(0)
    return ik.create_model({"encoder": ENCODERS.get(decoder, USUAL_ENCODER), "decoder": decoder}).eval()


@torch.no_grad()
def nanoseconds(names: Sequence[str], side: int, repeats: int) -> dict[str, float]:
    """Time of an output pixel from ``side``² to four times that, float32, medians of runs that take turns; what is done
    once per picture is in it, the encoder is not.
    """
    picture = torch.rand(3, side, side, generator=torch.Generator().manual_seed(0))
    size = (side * SCALE, side * SCALE)
    models = {name: subject(name) for name in names}

    def whole(model: ImplicitModel) -> object:
        return model.encode(picture, precision="float32").render(size)

    calls = {name: partial(whole, model) for name, model in models.items()}
    calls |= {f"encoder of {name}": partial(model.encoder, picture[None]) for name, model in models.items()}
    seconds = race(calls, repeats)
    return {name: (seconds[name] - seconds[f"encoder of {name}"]) / (size[0] * size[1]) * 1e9 for name in names}


def main(arguments: Sequence[str]) -> int:
    """Measure, print, and write where asked to."""
    parser = argparse.ArgumentParser("python -m benchmarks.decoders", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--decoders", nargs="+", default=ik.list_decoders(), help="default: all that are registered")
    parser.add_argument("--side", type=int, default=48, help="pixels; the output has four times as many a side")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs of each; the median counts")
    parser.add_argument("-o", "--output", type=Path, help="write the times here as JSON")
    options = parser.parse_args(arguments)
    busy = psutil.cpu_percent(interval=1.0) / 100
    times = nanoseconds(options.decoders, options.side, options.repeats)
    machine = f"{describe_machine(choose_device('cpu'))}; other programs take {busy:.0%}"
    print(machine)
    for name, value in sorted(times.items(), key=lambda each: each[1]):
        print(f"{name:16}{value:10.0f} ns")
    if options.output is not None:
        rounded = {name: float(f"{value:.3g}") for name, value in times.items()}
        write_json(options.output, {"machine": machine, "side": options.side, "scale": SCALE, "nanoseconds": rounded})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
