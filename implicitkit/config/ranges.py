"""The range of every number in a configuration, so that none asks for more than a machine can serve.

Sections say what a number must be at least; this table says what it may be at most, and bounds the options of parts,
which have no section. A number that is not in the table is finite, and at most 2**32.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MAX_ENTRIES = 10_000  # of a list
STEPS = 1_000_000_000
RANGES: Mapping[str, tuple[float, float]] = {
    # training
    "steps": (1, STEPS),
    "batch": (1, 8192),
    "accumulate": (1, 8192),
    "ema": (0, 1),
    "seed": (0, 2**32 - 1),
    "seeds": (0, 2**32 - 1),
    "log_every": (1, STEPS),
    "checkpoint_every": (1, STEPS),
    "keep_checkpoints": (1, STEPS),
    "passes": (1, 16),
    "scales": (0, 1000),
    "fill": (0, 1),
    "weight": (-1e9, 1e9),
    "data.patch": (1, 4096),
    "points": (1, 2**20),
    "data.window": (1, 4096),
    "in_holes": (0, 1),
    "held_out": (0, 1_000_000),
    "workers": (0, 128),
    "weight_decay": (0, 1000),
    "parts": (0, 1_000_000),
    "lr": (0, 1000),
    "final_lr": (0, 1000),
    "betas": (0, 1),
    "warmup": (0, STEPS),
    "milestones": (0, 1),
    "gamma": (0, 100),
    "momentum": (0, 1),
    "power": (0, 100),
    "patience": (1, STEPS),
    "min_delta": (0, 1e9),
    "clip": (0, 1e9),
    "every": (1, STEPS),
    "max_size": (8, 16384),
    # comparisons
    "rows": (1, 100),
    "side": (8, 16384),
    "test_every": (2, 1_000_000),
    "jobs": (1, 256),
    "threads": (1, 1024),
    # options of encoders and decoders
    "blocks": (0, 512),
    "groups": (0, 128),
    "layers": (0, 128),
    **dict.fromkeys(("cross_blocks", "cross_layers", "among_blocks", "among_layers"), (1, 128)),
    "depth": (0, 256),
    "depths": (0, 256),
    "convs": (0, 256),
    "channels": (1, 4096),
    "growth": (1, 4096),
    "width": (1, 8192),
    "widths": (1, 8192),
    "heads": (1, 256),
    "count": (1, 256),
    "stages": (1, 16),
    "waves": (1, 8192),
    "reduction": (1, 4096),
    "attention": (0, 64),
    "patch": (1, 1024),
    "window": (1, 1024),
    "size_multiple": (1, 1024),
    "mlp_ratio": (0, 64),
    "in_channels": (1, 16384),
    "out_channels": (1, 16384),
    "mask_channels": (0, 64),
    "hidden": (0, 16384),
    "latent_hidden": (0, 16384),
    "basis": (1, 16384),
    "components": (1, 16384),
    "ndim": (1, 3),
    "order": (0, 64),
    "flow_layers": (0, 128),
    "max_frequency": (0, 1_000_000),
    # options of degradations, losses and protocols
    "scale": (0, 1000),
    "size": (1, 65536),
    "sigma": (0, 10_000),
    "length": (0, 1000),
    "radius": (0, 500),
    "quality": (0, 100),
    "ratio": (0, 1),
    "amount": (0, 1),
    "start": (0, STEPS),
    "tile": (1, 65536),
}
USUAL_RANGE = (-(2.0**32), 2.0**32)


def range_of(path: Sequence[str]) -> tuple[float, float]:
    """The range of the number at a path; the longest entry of the table that the path ends with counts.

    >>> range_of(["data", "workers"]), range_of(["model", "encoder", "widths", "0"])
    ((0, 128), (1, 8192))
    """
    keys = [part for part in path if not part.isdecimal()]
    if "parts" in keys:  # optimiser.parts holds the names of parts
        return RANGES["parts"]
    for k in range(len(keys)):
        if (known := RANGES.get(".".join(keys[k:]))) is not None:
            return known
    return USUAL_RANGE


def out_of_range(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the path of each number out of its range, and what it should be.

    >>> list(out_of_range({"data": {"workers": 100000, "patch": 48}}))
    [(('data', 'workers'), 'a number from 0 to 128')]
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from out_of_range(inner, (*path, str(key)))
    elif isinstance(value, (list, tuple)):
        if len(value) > MAX_ENTRIES:
            yield path, f"a list of at most {MAX_ENTRIES:,} entries"
            return
        for k, inner in enumerate(value):
            yield from out_of_range(inner, (*path, str(k)))
    else:
        low, high = range_of(path)
        number = _number(value, text=(low, high) != USUAL_RANGE)
        if number is not None and not low <= number <= high:  # nan is in no range
            yield path, f"a number from {_shown(low)} to {_shown(high)}"


def _number(value: Any, text: bool) -> float | None:
    """``value`` if it is a number; with ``text``, also what a part would read as one (``"1e3"``)."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)) or (isinstance(value, str) and not text):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except ValueError:
        return None


def _shown(bound: float) -> str:
    return f"{int(bound):,}" if bound == int(bound) and abs(bound) < 1e12 else f"{bound:g}"
