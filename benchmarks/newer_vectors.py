"""The authors' checkpoints of the newer decoders, with outputs of their code: ``shared/parity2``, which is not kept here.

A file of a decoder that is added needs a line in :data:`FILES`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import implicitkit as ik
from implicitkit.create import build_checkpoint, load_encoder
from implicitkit.weights.authors import recognise
from implicitkit.weights.layouts.joint import CIAOSR_MEAN

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "parity2"
BAR = 1e-5


@dataclass(frozen=True)
class Vectors:
    """How a file's arrays are to be read."""

    layout: str
    """What the file is recognised as."""
    unit: bool = False
    """Pictures are in [0, 1], else in [-1, 1]."""
    last: bool = False
    """Grids have the channels last."""
    features: str = "features"
    arguments: dict[str, Any] | None = None
    """What the file does not say."""
    fixed_cell: bool = True
    """The cell is that of the output's pixels, whatever the magnification."""
    mean: tuple[float, float, float] | None = None
    """Pictures are in [0, 1] less this, and so are the answers."""

    def picture(self, theirs: Tensor) -> Tensor:
        """``(B, 3, H, W)`` in [0, 1] of a picture in the authors' range."""
        if self.mean is not None:
            return theirs + torch.tensor(self.mean)[:, None, None]
        return theirs if self.unit else theirs * 0.5 + 0.5

    def answer(self, ours: Tensor) -> Tensor:
        """Values ``(..., 3)`` in the authors' range."""
        if self.mean is not None:
            return ours - torch.tensor(self.mean)
        return ours if self.unit else ours * 2 - 1


FILES = {
    "srno-edsr": Vectors("SRNO with EDSR (2y7c3/Super-Resolution-Neural-Operator)"),
    "hiif-edsr": Vectors("HIIF with EDSR (YuxuanJJ/HIIF)"),
    "ope-edsr": Vectors("OPE-SR with EDSR (gaochao-s/ope-sr)"),
    "ope-adapt-edsr": Vectors("OPE-SR with EDSR (gaochao-s/ope-sr)"),
    "gblsr-rdn": Vectors("GB-LSR with RDN (KempnerInstitute/gblsr)", unit=True),
    "gblsr-rdn-nole": Vectors(
        "GB-LSR with RDN (KempnerInstitute/gblsr)", unit=True, arguments={"local_ensemble": False}
    ),
    "linf-edsr": Vectors("LINF with EDSR (JNNNNYao/LINF)"),
    "linf-patch-edsr": Vectors("LINF of patches with EDSR (JNNNNYao/LINF)"),
    "lmlte-edsr": Vectors("LM-LTE with EDSR (HeZongyao/LMF)", last=True),
    "liwt-edsr": Vectors("LIWT with EDSR (dmhdmhdmh/LIWT)", last=True),
    "ciaosr-edsr": Vectors("CiaoSR with EDSR (caojiezhang/CiaoSR)", last=True, mean=CIAOSR_MEAN),
    "clit1-edsr": Vectors("CLIT with EDSR (jaroslaw1007/CLIT)", last=True),
    "clit2-edsr": Vectors("CLIT with EDSR (jaroslaw1007/CLIT)", last=True),
    "lmliif-edsr": Vectors("LM-LIIF with EDSR (HeZongyao/LMF)", last=True),
    "thera-air": Vectors(
        "Thera with EDSR (prs-eth/thera)", unit=True, last=True, features="backbone", fixed_cell=False
    ),
    "thera-plus": Vectors(
        "Thera with EDSR (prs-eth/thera)", unit=True, last=True, features="backbone", fixed_cell=False
    ),
    "thera-pro": Vectors(
        "Thera with EDSR (prs-eth/thera)", unit=True, last=True, features="backbone", fixed_cell=False
    ),
    "gsasr-edsr": Vectors("GSASR with EDSR (ChrisDud0257/GSASR)", unit=True),
}
NATIVE, SPAN = "gblsr-native", "span"  # an autoencoder, whose pictures are padded outside of it, and an encoder alone


def load(name: str) -> ik.ImplicitModel:
    """The model of a file."""
    how = FILES[name]
    if how.arguments is None:
        model = ik.load_model(SHARED / f"{name}.pth")
    else:
        state = torch.load(SHARED / f"{name}.pth", weights_only=True)
        model = build_checkpoint(recognise({"model": {"args": how.arguments, "sd": state}}, name), name)
    assert model.training_summary["converted_from"] == how.layout
    return model


def difference(ours: Tensor, theirs: np.ndarray) -> float:
    """The largest difference, relative to the largest value if that is above 1."""
    return float(np.abs(ours.detach().numpy() - theirs).max() / max(1.0, float(np.abs(theirs).max())))


@torch.no_grad()
def errors(name: str, tile: int | None = None, block: int | None = None) -> dict[str, float]:
    """The differences from the authors' arrays, by name: features, grids and points, from the picture on."""
    if name in (NATIVE, SPAN):
        return _patches() if name == NATIVE else _encoder()
    how, model, arrays = FILES[name], load(name), _arrays(name)
    picture = torch.from_numpy(arrays["input"])
    if picture.shape[-1] == 3 and picture.shape[1] != 3:
        picture = picture.permute(0, 3, 1, 2)
    picture = how.picture(picture)
    features = model.encoder(picture).map
    theirs = arrays[how.features]
    found = {how.features: difference(features.permute(0, 2, 3, 1) if how.features == "backbone" else features, theirs)}
    field = model.encode(picture, tile=tile)
    if "scales" in arrays:
        return found | _canvases(field, arrays)
    for key in sorted(key for key in arrays if key.endswith(("_output", "_sizes")) and _is_grid(key, arrays)):
        name, _, rest = key.rpartition("_")
        sizes = arrays[key].tolist() if rest == "sizes" else [arrays[f"{name}_size"].tolist()]
        output = f"{name}_stage{len(sizes)}_output" if rest == "sizes" else key
        options = {"between": sizes[:-1]} if len(sizes) > 1 else {}
        asked = model.encode(how.picture(torch.from_numpy(arrays["exact_input"]))) if name == "exact" else field
        cell = [2 / n for n in sizes[-1]] if how.fixed_cell and model.uses_cell else None
        grid = asked.render(sizes[-1], cell=cell, clamp=False, block=block, options=options)
        grid = how.answer(grid.permute(0, 2, 3, 1))
        found[output] = difference(grid if how.last else grid.permute(0, 3, 1, 2), arrays[output])
    if "points_output" in arrays:
        found["points_output"] = _points(model, field, arrays, how)
    return found | _particular(model, field, arrays, how, whole=tile is None)


def _particular(
    model: ik.ImplicitModel, field: ik.Field, arrays: dict[str, np.ndarray], how: Vectors, whole: bool
) -> dict[str, float]:
    """What one method's file alone has: SRNO in bands of 13 rows, a question each, Thera at points, a sample of LINF."""
    found = {}
    if (theirs := arrays.get("grid1_rows13_output")) is not None:
        h, w = theirs.shape[2:]
        tops, cell = range(0, h, 13), (2 / h, 2 / w)
        ends = [(top, min(top + 13, h)) for top in tops]
        boxes = [(2 * top / h - 1, -1, 2 * end / h - 1, 1) for top, end in ends]
        bands = [
            field.render((end - top, w), box=box, cell=cell, clamp=False)
            for (top, end), box in zip(ends, boxes, strict=True)
        ]
        picture = how.answer(torch.cat(bands, dim=2).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        found["grid1_rows13_output"] = difference(picture, theirs)
    if "points_raw" in arrays:
        cells = torch.tensor(arrays["backbone"].shape[1:3])
        points = (2 * torch.from_numpy(arrays["points_coord"]).float()).reshape(1, -1, 2)
        points = points.expand(len(arrays["input"]), -1, -1)
        width = 2 * torch.from_numpy(arrays["points_t"]).float().sqrt()[:, None, None] / cells
        theirs = 0.5 * arrays["points_raw"] + np.array(CIAOSR_MEAN, dtype=np.float32) + arrays["points_nearest"]
        found["points"] = difference(field(points, width.expand_as(points)), theirs.reshape(*points.shape[:2], 3))
    if "points_sample_z" in arrays and whole:
        drawn = torch.from_numpy(arrays["points_sample_z"])
        model.decoder.noise = lambda latent, coords: drawn  # of all points: not in tiles
        sample = {**arrays, "points_output": arrays["points_sample_output"]}
        found["points_sample_output"] = _points(model, field, sample, how)
    return found


def _arrays(name: str) -> dict[str, np.ndarray]:
    with np.load(SHARED / f"{name}.npz") as file:
        return {key: file[key] for key in file}


def _canvases(field: ik.Field, arrays: dict[str, np.ndarray]) -> dict[str, float]:
    """GSASR's pictures: a canvas of the padded picture, its size rounded down, is drawn and cut."""
    shown, padded, found = arrays["input"].shape[2:], arrays["padded"].shape[2:], {}
    box = [-1, -1, *(2 * whole / part - 1 for whole, part in zip(padded, shown, strict=True))]
    for k, scale in enumerate(arrays["scales"].tolist(), start=1):
        canvas = [int(scale * n) for n in padded]
        for key, dmax in ((f"scale{k}_output", 0.0), (f"scale{k}_dmax_output", 0.1)):
            h, w = arrays[key].shape[2:]
            drawn = field.render(canvas, box=box, clamp=False, options={"scale": scale, "dmax": dmax})
            found[key] = difference(drawn[..., :h, :w], arrays[key])
    return found


def _patches() -> dict[str, float]:
    """GB-LSR's autoencoder of patches: they pad evenly on all sides, by reflection, and crop."""
    args, arrays = json.loads((SHARED / f"{NATIVE}.json").read_text()), _arrays(NATIVE)
    state, pad = torch.load(SHARED / f"{NATIVE}.pth", weights_only=True), args["pad"]
    model = build_checkpoint(recognise({"model": {"args": args, "sd": state}}, NATIVE), NATIVE)
    sides = [pad[f"pad_{side}"] for side in ("l", "r", "t", "b")]
    padded = F.pad(torch.from_numpy(arrays["input"]), sides, mode="reflect")
    whole, (h, w) = model.encode(padded).render(tuple(padded.shape[2:]), clamp=False), arrays["output"].shape[2:]
    cropped = whole[..., pad["pad_t"] : pad["pad_t"] + h, pad["pad_l"] : pad["pad_l"] + w]
    features = model.encoder(padded).map
    return {"features": difference(features, arrays["features"]), "output": difference(cropped, arrays["output"])}


def _encoder() -> dict[str, float]:
    """SPAN's features, in the form for training and folded."""
    encoder, arrays, found = load_encoder(SHARED / f"{SPAN}.pth"), _arrays(SPAN), {}
    for form, network in (("", encoder), ("folded ", encoder.fold())):
        for given, theirs in (("input", "features"), ("input2", "features2")):
            ours = network(torch.from_numpy(arrays[given])).map
            found[form + theirs] = difference(ours, arrays[theirs])
    return found


def _is_grid(key: str, arrays: dict[str, np.ndarray]) -> bool:
    """Whether an array is a grid's output with its size beside it, or the sizes of a cascade's grids."""
    return key.endswith("_sizes") or key[: -len("_output")] + "_size" in arrays


def _points(model: ik.ImplicitModel, field: ik.Field, arrays: dict[str, np.ndarray], how: Vectors) -> float:
    points, theirs = torch.from_numpy(arrays["points_coord"]), arrays["points_output"]
    batch = len(arrays["input"])
    points = points.reshape(-1, points.shape[-2], 2).expand(batch, -1, -1)
    cell = None
    if model.uses_cell:
        cell = torch.from_numpy(arrays["points_cell"]).reshape(batch, -1, 2).expand_as(points)
    between = [size.tolist() for size in arrays["grid1_sizes"][:-1]] if "grid1_sizes" in arrays else []
    ours = field(points, cell, options={"between": between} if between else {})
    theirs = theirs[..., 0].transpose(0, 2, 1) if theirs.ndim == 4 else theirs
    return difference(how.answer(ours), theirs)
