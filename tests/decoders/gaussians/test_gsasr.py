"""GSASR's network against the authors' Gaussians and pictures, and what it is asked."""

from functools import partial

import numpy as np
import pytest
import torch

import implicitkit as ik
from implicitkit import testing
from implicitkit.decoders.base import Question
from implicitkit.decoders.gaussians.gsasr import GSASR
from implicitkit.encoders.base import Features
from oracles import PARITY
from oracles.parts import BAR, difference, read, tensors
from oracles.reduced import DECODERS

REST = {key: value for key, value in DECODERS["gsasr"].items() if key != "name"}
THEIRS = {"sigma": (0, 2), "rho": (2, 3), "opacity": (3, 4), "colour": (4, 7)}


def model_of(**others: object) -> ik.ImplicitModel:
    torch.manual_seed(0)
    encoder = {"name": "edsr", "blocks": 1, "channels": 8}
    model = ik.create_model({"encoder": encoder, "decoder": {**DECODERS["gsasr"], **others}}).eval()
    with torch.no_grad():
        model.decoder.heads["sigma"][-1].bias += 1  # wide enough to be seen between their centres
    return model


@torch.no_grad()
@pytest.mark.parametrize("scale", [1, 2])
def test_equals_the_authors(scale: int) -> None:
    spec, arrays = read("gsasr")
    decoder = ik.create_decoder(spec).eval()
    decoder.load_state_dict(tensors(arrays))
    with np.load(PARITY / "gsasr-drawing.npz") as file:
        theirs = {key: torch.from_numpy(file[key]) for key in file}
    s, padded = float(theirs["scales"][scale - 1]), tuple(theirs["padded_size"].tolist())
    cells = decoder.prepare(Features(arrays["features"], padded), None, {})
    raw = decoder.raw(cells.map, torch.tensor([s]))
    for name, (first, last) in THEIRS.items():
        given = theirs[f"scale{scale}_gaussians"][..., first:last]
        assert difference(raw[name].flatten(1, 2), given) <= BAR, name
    canvas = tuple(int(s * n) for n in padded)
    lines = [(2 * torch.arange(n) + 1) / n - 1 for n in canvas]
    cell = torch.tensor([[[2 / n for n in canvas]]])
    for key, dmax in ((f"scale{scale}_output", 0.0), (f"scale{scale}_dmax_output", 0.1)):
        begun = decoder.begin(cells, Question(cell, axes=tuple(lines), options={"scale": s, "dmax": dmax}))
        h, w = theirs[key].shape[2:]
        drawn = (decoder.query_grid(begun, lines, cell, {}) + 1) / 2
        assert difference(drawn[..., :h, :w], theirs[key]) <= BAR, key


def test_contract() -> None:
    testing.check_decoder(DECODERS["gsasr"])


@torch.no_grad()
def test_the_scale_is_that_of_the_output_pixel_unless_it_is_said() -> None:
    field = model_of().encode(torch.rand(3, 8, 12))
    render = partial(field.render, clamp=False)
    plain, told = render((20, 30)), render((20, 30), options={"scale": 2.5})
    torch.testing.assert_close(plain, told, atol=1e-5, rtol=0)  # 20 is 2.5 times 8: nothing was rounded
    assert not torch.allclose(plain, render((20, 30), options={"scale": 2.0}), atol=1e-3)


@torch.no_grad()
def test_each_picture_of_a_batch_is_told_its_own_scale() -> None:
    model, pictures = model_of(), torch.rand(2, 3, 8, 8)
    points, cell = torch.rand(2, 5, 2) * 2 - 1, torch.tensor([[[0.1, 0.1]], [[0.05, 0.07]]])
    both = model.encode(pictures)(points, cell.expand(2, 5, 2))
    for k in range(2):
        alone = model.encode(pictures[k])(points[k], cell[k].expand(5, 2))
        torch.testing.assert_close(both[k], alone, atol=1e-5, rtol=0)


@torch.no_grad()
def test_features_that_fill_no_window_are_mirrored() -> None:
    """As the authors mirror pictures: then nothing is padded behind an encoder that did."""
    decoder = GSASR(8, **REST).eval()
    map = torch.rand(1, 8, 5, 7)
    begun = decoder.begin(
        decoder.prepare(Features(map, (5, 7)), None, {}),
        Question(torch.full((1, 1, 2), 0.1), options=decoder.check_options({})),
    )
    assert begun.drawn.centre.shape == (1, (4 * 8) * (4 * 8), 2)
    known = decoder.prepare(Features(torch.cat([map, map[..., 5:6]], dim=3)[..., :8], (5, 8)), None, {})
    assert torch.equal(decoder.prepare(Features(map, (5, 7)), None, {}).map, known.map)


def test_what_it_refuses() -> None:
    field = model_of().encode(torch.rand(3, 8, 8))
    for options, words in (
        ({"scale": 0}, "the option scale of gsasr is a magnification, or null; received 0"),
        ({"scale": True}, "received True"),
        ({"scale": "x2"}, "received 'x2'"),
        ({"dmax": -0.1}, "the option dmax of gsasr is at least 0; received -0.1"),
        ({"cut": 1}, "gsasr has no option 'cut'; it knows scale, dmax"),
    ):
        with pytest.raises(ValueError, match=words):
            field.render((9, 9), options=options)
    with pytest.raises(ValueError, match="GSASR sees the whole picture at once"):
        model_of().encode(torch.rand(3, 30, 30), tile=16)
    for wrong in ({"heads": 3}, {"window": 1}, {"among_layers": 0}):
        with pytest.raises(ValueError, match="gsasr takes positive widths"):
            GSASR(8, **{**REST, **wrong})


def test_it_is_built_without_memory() -> None:
    with torch.device("meta"):
        assert all(value.is_meta for value in ik.create_decoder("gsasr", in_channels=64).state_dict().values())
