"""The decoders of LIIF's family in other repositories: LIIF, LTE, LTE+, MetaSR, and LMF's LM-LIIF and LM-LTE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from implicitkit.errors import WeightsError
from implicitkit.weights.layouts.base import DecoderLayout, Rules, Tensors, as_linear, numbers


def _liif(tensors: Tensors, args: Mapping[str, Any], features: int) -> dict[str, Any]:
    later = numbers(tensors, r"rest\.(\d+)\.weight")
    widths = [tensors["first.weight"].shape[0], *(tensors[f"rest.{k}.weight"].shape[0] for k in later)]
    inputs = tensors["first.weight"].shape[1]
    unfold = inputs >= 9 * features
    geometry = inputs - features * (9 if unfold else 1)
    if geometry not in (2, 4):
        raise WeightsError(f"its first decoder layer takes {inputs} inputs, which no LIIF on {features} features does")
    return {
        "name": "liif",
        "hidden": widths[:-1],
        "out_channels": widths[-1],
        "local_ensemble": bool(args.get("local_ensemble", True)),
        "feat_unfold": unfold,
        "cell_decode": geometry == 4,
    }


def _liif_rules(tensors: Tensors) -> Rules:
    # our first layer is apart, and the numbers of the others count the activations
    layers = numbers(tensors, r"imnet\.layers\.(\d+)\.weight")
    return [(rf"imnet\.layers\.{k}\.", "first." if k == 0 else f"rest.{k - 1}.") for k in layers]


def _lte(tensors: Tensors, args: Mapping[str, Any], features: int) -> dict[str, Any]:
    widths = [tensors[f"mlp.{k}.weight"].shape[0] for k in numbers(tensors, r"mlp\.(\d+)\.weight")]
    return {
        "name": "lte",
        "hidden": widths[:-1],
        "out_channels": widths[-1],
        "basis": tensors["amplitude.weight"].shape[0],
    }


def _lte_rules(tensors: Tensors) -> Rules:
    return (
        (r"coef\.", "amplitude."),
        (r"freq\.", "frequency."),
        (r"phase\.", "phase."),
        (r"(?:imnet\.)?layers\.", "mlp."),
    )


def _is_lte(tensors: Tensors) -> bool:
    keys = {"coef.weight", "imnet.layers.0.weight"}
    return keys <= set(tensors) and "hypernet.layers.0.weight" not in tensors  # which is LM-LTE's


def _lte_plus(tensors: Tensors, args: Mapping[str, Any], features: int) -> dict[str, Any]:
    return {**_lte(tensors, args, features), "name": "lte_plus"}


def _metasr(tensors: Tensors, args: Mapping[str, Any], features: int) -> dict[str, Any]:
    hidden = [tensors[f"hidden.{k}.weight"].shape[0] for k in numbers(tensors, r"hidden\.(\d+)\.weight")]
    values = tensors["matrix.weight"].shape[0]
    if values % (9 * features):
        raise WeightsError(f"its last decoder layer makes {values} values, which no MetaSR on {features} features does")
    return {"name": "metasr", "hidden": hidden, "out_channels": values // (9 * features)}


def _metasr_rules(tensors: Tensors) -> Rules:
    last = numbers(tensors, r"imnet\.layers\.(\d+)\.weight")[-1]
    return ((rf"imnet\.layers\.{last}\.", "matrix."), (r"imnet\.layers\.", "hidden."))


def _lm_liif_rules(tensors: Tensors) -> Rules:
    last = numbers(tensors, r"imnet\.layers\.(\d+)\.weight")[-1]
    between = [(rf"imnet\.layers\.{k}\.", f"rest.{k // 2 - 1}.") for k in range(2, last, 2)]
    return (
        (r"imnet\.layers\.0\.", "first."),
        (rf"imnet\.layers\.{last}\.", "last."),
        *between,
        (r"hypernet\.layers\.", "latent."),
    )


def _code_first(tensors: dict[str, Tensor], features: int) -> dict[str, Tensor]:
    """Their latent MLP reads unfolded features and the cell, and gives scales, shifts and a code: ours a map, and the
    cell apart, and gives the code first.
    """
    first, hidden = tensors["latent.0.weight"], len(tensors["first.weight"])
    inputs = first.shape[1] - 2
    taps = 3 if inputs == 9 * features else 1
    last = max(numbers(tensors, r"latent\.(\d+)\.weight"))
    ours = {key: v[:, :, None, None] if key.startswith("latent.") and v.ndim == 2 else v for key, v in tensors.items()}
    ours["latent.0.weight"] = first[:, :inputs].unflatten(1, (-1, taps, taps)).contiguous()
    ours["latent_size.weight"] = first[:, inputs:].contiguous()
    for kind in ("weight", "bias"):
        ours[f"latent.{last}.{kind}"] = ours[f"latent.{last}.{kind}"].roll(hidden, 0)
    return ours


def _lm_liif(tensors: Tensors, args: Mapping[str, Any], features: int) -> dict[str, Any]:
    layers = numbers(tensors, r"latent\.(\d+)\.weight")
    return {
        "name": "lm_liif",
        "hidden": tensors["first.weight"].shape[0],
        "depth": 1 + len(numbers(tensors, r"rest\.(\d+)\.weight")),
        "latent_hidden": [tensors[f"latent.{k}.weight"].shape[0] for k in layers[:-1]],
        "out_channels": tensors["last.weight"].shape[0],
        "local_ensemble": bool(args.get("local_ensemble", True)),
        "feat_unfold": tensors["latent.0.weight"].shape[-1] == 3,
    }


def _lm_lte_rules(tensors: Tensors) -> Rules:
    last = numbers(tensors, r"imnet\.layers\.(\d+)\.weight")[-1]
    return (
        (r"coef\.", "amplitude."),
        (r"freq\.", "frequency."),
        (r"phase\.", "latent_phase."),
        (r"imphase\.", "phase."),
        (r"hypernet\.layers\.", "latent."),
        (rf"imnet\.layers\.{last}\.", "last."),
        *[(rf"imnet\.layers\.{k}\.", f"layers.{k // 2}.") for k in range(0, last, 2)],
    )


def _latent_as_map(tensors: dict[str, Tensor], features: int) -> dict[str, Tensor]:
    """Their latent MLP is of linear layers, ours of 1x1 convolutions."""
    of_cells = {key for key, value in tensors.items() if key.startswith("latent.") and value.ndim == 2}
    return {key: value[:, :, None, None] if key in of_cells else value for key, value in tensors.items()}


def _lm_lte(tensors: Tensors, args: Mapping[str, Any], features: int) -> dict[str, Any]:
    layers = numbers(tensors, r"latent\.(\d+)\.weight")
    return {
        "name": "lm_lte",
        "hidden": tensors["layers.0.weight"].shape[0],
        "depth": len(numbers(tensors, r"layers\.(\d+)\.weight")),
        "latent_hidden": [tensors[f"latent.{k}.weight"].shape[0] for k in layers[:-1]],
        "basis": tensors["amplitude.weight"].shape[0],
        "out_channels": tensors["last.weight"].shape[0],
    }


def _first_layer_takes(tensors: Tensors) -> int:
    first = tensors.get("imnet.layers.0.weight")
    return 0 if first is None else first.shape[1]


DECODERS = (
    DecoderLayout(
        "LM-LTE",
        ("lmlte",),
        lambda tensors: "hypernet.layers.0.weight" in tensors and "imphase.weight" in tensors,
        "{coef,freq,phase,imphase}.weight, hypernet.layers.N.weight, imnet.layers.N.weight",
        _lm_lte_rules,
        _lm_lte,
        authors="HeZongyao/LMF",
        after=_latent_as_map,
    ),
    DecoderLayout(
        "LM-LIIF",
        ("lmliif",),
        lambda tensors: "hypernet.layers.0.weight" in tensors and "coef.weight" not in tensors,
        "hypernet.layers.N.weight, imnet.layers.N.weight",
        _lm_liif_rules,
        _lm_liif,
        authors="HeZongyao/LMF",
        after=_code_first,
    ),
    DecoderLayout(
        "LTE",
        ("lte",),
        _is_lte,
        "{coef,freq,phase}.weight, imnet.layers.N.weight",
        _lte_rules,
        _lte,
        authors="jaewon-lee-b/lte",
    ),
    DecoderLayout(
        "LTE+",
        ("lte-fast",),
        lambda tensors: "coef.weight" in tensors and "layers.0.weight" in tensors,
        "{coef,freq,phase}.weight, layers.N.weight",
        _lte_rules,
        _lte_plus,
        authors="jaewon-lee-b/lte",
        after=as_linear,
    ),
    DecoderLayout(
        "MetaSR",
        ("metasr",),
        lambda tensors: _first_layer_takes(tensors) == 3,
        "imnet.layers.{0,2}.weight of 3 inputs",
        _metasr_rules,
        _metasr,
    ),
    DecoderLayout(
        "LIIF", ("liif",), lambda tensors: _first_layer_takes(tensors) > 3, "imnet.layers.N.weight", _liif_rules, _liif
    ),
)
