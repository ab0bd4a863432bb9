"""Write docs/swaps.md: what can be made by name alone, and every swap of SAIR's parts by bare names.

python docs/make_swaps.py          # implicitkit-sair installed; a test of the plugin compares
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

import implicitkit as ik
from implicitkit.registry import kinds

PAGE = Path(__file__).parent / "swaps.md"
KINDS: dict[str, tuple[str, Callable[..., Any]]] = {
    "encoder": ("encoders", ik.create_encoder),
    "decoder": ("decoders", ik.create_decoder),
    "degradation": ("degradations", ik.create_degradation),
    "loss": ("losses", ik.create_loss),
    "metric": ("metrics", ik.create_metric),
    "protocol": ("protocols", ik.create_protocol),
    "model": ("models", ik.create_model),
}
APPEARANCE = ("edsr", "unet", "sair_appearance")
DECODERS = ("air", "sem_lte")
SEMANTIC = ("clip", "mae_small", "dense", "timm:vit_tiny_patch16_224", "timm:resnet18")
HEAD = """# What swaps by name

Made by `python docs/make_swaps.py` from the registries; a test of the plugin compares. All is built on torch's meta
device: shapes, no weights, no network.
"""


def bare(kind: str, owners: tuple[str, ...] = ("implicitkit", "implicitkit-sair")) -> Iterator[tuple[str, str]]:
    """Each registered name of a kind, and ``yes`` or what it wants to be told besides."""
    attribute, create = KINDS[kind]
    registry = getattr(kinds, attribute)
    for name in registry.names():
        if name.endswith(":"):  # what follows the colon is not ours to list
            continue
        entry, first = registry.find(name)
        if entry.owner.distribution.replace("_", "-") not in owners:
            continue
        parameters = list(inspect.signature(registry.resolve(entry)).parameters.values())[len(first) :]
        plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        wanted = [p.name for p in parameters if p.default is p.empty and p.kind in plain]
        if name.startswith("lpips"):  # known by name: fetched the first time, which this page does not do
            yield name, "yes"
            continue
        try:
            create(name)
            yield name, "yes"
        except (ik.UserError, ValueError, TypeError) as error:
            reason = str(error).split(";")[0].split("(")[0].strip()
            yield name, f"with `{', '.join(wanted)}`" if wanted else f"no: {reason}"


def swap(appearance: str, decoder: str, semantic: str) -> str:
    """``yes``, or why a SAIR of these bare names cannot be built."""
    inputs = ["image", "mask"]
    meaning = {"encoder": semantic, "decoder": "sir", "inputs": inputs}
    try:
        ik.create_model(
            {"encoder": appearance, "decoder": decoder, "conditions": {"semantic": meaning}, "inputs": inputs}
        )
    except (ik.UserError, ValueError) as error:
        return str(error)
    return "yes"


def page() -> str:
    """The whole of docs/swaps.md."""
    kinds.plugins.load()  # a list may be asked for before anything else has loaded them
    lines = [
        HEAD,
        "## By name alone\n",
        "`ik.create_KIND(NAME)`, nothing else said; `lpips` fetches its network ([weights.md](weights.md)).\n",
    ]
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        lines += ["| kind | made by name | wants more |", "|---|---|---|"]
        for kind in KINDS:
            found = dict(bare(kind))
            made = [f"`{name}`" for name, told in found.items() if told == "yes"]
            rest = [f"`{name}` {told}" for name, told in found.items() if told != "yes"]
            lines.append(f"| {kind}, {len(made)} of {len(found)} | {', '.join(made)} | {'; '.join(rest)} |")
        lines += [
            "\n## SAIR's parts\n",
            "Appearance encoder, decoder and semantic encoder by bare names, SIR between.\n",
        ]
        lines += [f"| semantic encoder | {' | '.join(f'`{a}` + `{d}`' for a in APPEARANCE for d in DECODERS)} |"]
        lines += ["|---|" + "---|" * len(APPEARANCE) * len(DECODERS)]
        for semantic in SEMANTIC:
            cells = [swap(appearance, decoder, semantic) for appearance in APPEARANCE for decoder in DECODERS]
            lines.append(f"| `{semantic}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
