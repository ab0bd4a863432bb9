"""The contract of questions: options, what they share, how far a decoder sees, and how it exports."""

from __future__ import annotations

import torch
from torch import Tensor

from implicitkit.coordinates import grid
from implicitkit.decoders.base import Inputs, Question
from implicitkit.encoders.base import Features
from implicitkit.field.field import Field
from implicitkit.model import ImplicitModel
from implicitkit.testing.closeness import assert_close

NO_OPTION = "no_such_option"
CELLS = 6  # around a query, beyond the reach


def check_questions(model: ImplicitModel, field: Field, tolerance: float) -> None:
    """Options have defaults, an unknown one is refused in a line, and no question changes the next."""
    decoder = model.decoder
    try:
        decoder.check_options({NO_OPTION: 1})
    except ValueError as error:
        assert NO_OPTION in str(error) and "\n" not in str(error), "an unknown option is refused in one line, by name"
    else:
        raise AssertionError(f"{decoder.title} takes the option {NO_OPTION!r}, which it does not declare")
    defaults = decoder.check_options(None)
    assert set(defaults) == set(decoder.options), "check_options(None) gives the default of every declared option"
    first = field.render((9, 7), clamp=False)
    field.render((5, 11), clamp=False)
    field(torch.zeros(3, model.ndim), 0.2 if model.uses_cell else None)
    again = field.render((9, 7), clamp=False, options=defaults)
    assert_close(again, first, tolerance, "a question asked again, after others and with its defaults, differs")


def check_reach(model: ImplicitModel) -> None:
    """No feature farther than ``reach`` cells from a query changes its value; for decoders without conditions."""
    decoder = model.decoder
    if decoder.reach is None or decoder.conditions or decoder.ndim != 2:
        return
    n = 2 * (decoder.reach + CELLS) + 1
    generator = torch.Generator().manual_seed(0)
    map = torch.rand(1, decoder.in_channels, n, n, generator=generator, requires_grad=True)
    channels = model.encoder.in_channels
    inputs = Inputs(torch.zeros(1, channels, n, n), torch.zeros(1, 1, n, n) if model.takes_mask else None)
    point = torch.full((1, 1, 2), 0.2 / n)
    cell = torch.full((1, 1, 2), 1 / n) if decoder.uses_cell else None
    latent = decoder.prepare(Features(map, (n, n)), inputs, {})
    begun = decoder.begin(latent, Question(cell, points=point, options=decoder.check_options(None)))
    decoder.query(begun, point, cell, {}).float().sum().backward()
    decoder.zero_grad()
    read_cells = map.new_zeros(0, 2) if map.grad is None else map.grad.abs().sum((0, 1)).nonzero()
    far = int((read_cells - n // 2).abs().max()) if len(read_cells) else 0
    assert far <= decoder.reach, f"a query sees {far} cells away; reach says {decoder.reach}"


def check_graphs(model: ImplicitModel, picture: Tensor, tolerance: float) -> None:
    """What a decoder says of its export holds: a packed latent gives the same values, and so does a graph of a whole
    magnification, if it has one.
    """
    decoder, encoder = model.decoder, model.encoder
    if decoder.conditions or model.takes_mask or model.ndim != 2 or (encoder.stride, encoder.size_multiple) != (1, 1):
        return
    picture = picture[:1]
    inputs = Inputs((picture - model.mean) / model.std)
    with torch.no_grad():
        features = encoder(picture)
        map = model.refine(features.map)
        if decoder.exports:
            latent = decoder.prepare(Features(map, features.extent), inputs, {})
            packed = decoder.pack(latent)
            assert packed.shape[:3] == (1, *picture.shape[2:]), f"pack() gives (1, H, W, K), not {tuple(packed.shape)}"
            points = grid((4, 5))[None]
            cell = torch.full((1, 1, 2), 0.1) if decoder.uses_cell else None
            unpacked = decoder.unpack(packed, inputs if decoder.reads_picture else None)
            question = Question(cell, points=points, options=decoder.check_options(None))
            expected = decoder.query(decoder.begin(latent, question), points, cell, {}).float()
            try:
                values = decoder.query(unpacked, points, cell, {}).float()
            except Exception as error:
                raise AssertionError(
                    f"{decoder.title} says exports = True, but a latent that was packed and unpacked cannot be asked "
                    f"without begin(): {type(error).__name__}: {error}"
                ) from error
            assert_close(
                values,
                expected,
                tolerance,
                "a latent packed and unpacked, without begin(), gives other values",
            )
        enlarging = decoder.at_scale(2)
        if enlarging is not None:
            values = enlarging(map, inputs.picture) if decoder.reads_picture else enlarging(map)
            expected = model.encode(picture).render([2 * n for n in picture.shape[2:]], clamp=False)
            assert_close(values * model.std + model.mean, expected, tolerance, "at_scale(2) gives another picture")
