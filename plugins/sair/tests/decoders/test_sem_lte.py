"""LTE with semantics: literally LTE's equation, with one more input to its MLP."""

import math

import pytest
import torch
import torch.nn.functional as F
from literal import at_cells, bilinear, blend, similarities
from small_parts import EDSR, MODES, SEMANTIC

import implicitkit as ik
from implicitkit import testing
from implicitkit_sair.decoders.sem_lte import SemLTE


def built(mode: str, **options: object) -> ik.ImplicitModel:
    small = {"semantic_channels": 8, "projected": 4, "hidden": [12, 9], "basis": 6}
    decoder = {"name": "sem_lte", **small, **MODES[mode], **options}
    inputs = ["image", "mask"]
    spec = {"encoder": EDSR, "decoder": decoder, "conditions": {"semantic": SEMANTIC}, "inputs": inputs}
    model = ik.create_model(spec)
    if model.decoder.injection.semantics == "text":
        model.decoder.injection.name_classes(F.normalize(torch.randn(3, 8), dim=1))
    return model


def literal(model: ik.ImplicitModel, picture: torch.Tensor, mask: torch.Tensor, coords, cell) -> torch.Tensor:
    """Lee & Jin, eq. 5-8, one point, one neighbour and one wave at a time, and the MLP's second input; in float64."""
    picture = torch.where(mask > 0.5, 0.5, picture)  # what a hole holds is never seen
    semantic = model.conditions["semantic"].encode(picture, mask)
    embedding = semantic.predict(coords).values.double()
    decoder, map = model.decoder.double(), model.encoder(torch.cat([picture, mask], dim=1)).map.double()
    injection, size = decoder.injection, tuple(map.shape[2:])
    first, weight = decoder.mlp[0], decoder.mlp[0].weight
    if injection.appearance == "none":
        map = torch.zeros_like(map)
    if injection.prompts:
        beside = similarities(semantic, injection.classes, size, size) * (injection.semantics != "none")
        map = F.conv2d(torch.cat([map, beside], dim=1), injection.fuse.weight, injection.fuse.bias, padding=3)
    else:
        of_cells = at_cells(semantic, size, size)
        weight = torch.cat([weight, injection.inject.weight], dim=1)
    amplitude, frequency = decoder.amplitude(map), decoder.frequency(map)
    phases = decoder.phase(cell.double() * torch.tensor(size))

    def predict(b: int, i: int, index: tuple[int, ...], offset: torch.Tensor) -> torch.Tensor:
        waves = []
        for trigonometric in (math.cos, math.sin):
            for j in range(decoder.basis // 2):
                turns = sum(float(frequency[b, 2 * j + k, index[0], index[1]] * offset[k]) for k in (0, 1))
                waves.append(trigonometric(math.pi * (turns + float(phases[b, i, j]))))
        waves = amplitude[b, :, index[0], index[1]] * torch.tensor(waves).double()
        said = of_cells[b, :, index[0], index[1]] if injection.semantics == "embedding" else embedding[b, i]
        projected = said[:0] if injection.prompts else injection.project.weight @ said * (injection.semantics != "none")
        return decoder.rest(weight @ torch.cat([waves, projected]) + first.bias)

    values = blend(coords, size, predict)
    if decoder.skip == "bilinear":
        values = values + bilinear((picture - 0.5) / 0.5, coords)
    return values * 0.5 + 0.5


@pytest.mark.parametrize("skip", ["bilinear", "none"])
@pytest.mark.parametrize("mode", MODES)
def test_equals_the_literal_formula(mode: str, skip: str) -> None:
    model = built(mode, skip=skip)
    picture, mask = torch.rand(2, 3, 6, 7), (torch.rand(2, 1, 6, 7) < 0.3).float()
    coords, cell = torch.rand(2, 9, 2) * 2 - 1, torch.rand(2, 9, 2) * 0.3
    with torch.no_grad():
        ours = model(picture, coords, cell, mask).values
        theirs = literal(model, picture, mask, coords, cell)
    torch.testing.assert_close(ours.double(), theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("mode", ["embedding", "embedding_at_point", "text"])
def test_contract(mode: str) -> None:
    testing.check_model(built(mode))


@pytest.mark.parametrize("hidden", [16, []])
def test_contract_with_other_widths(hidden: int | list[int]) -> None:
    testing.check_model(built("embedding", hidden=hidden, basis=8, local_ensemble=False))


@pytest.mark.parametrize("mode", ["embedding", "text"])
def test_the_control_has_the_same_parameters_and_ignores_the_semantic_field(mode: str) -> None:
    model = built(mode)
    control = built("none" if mode == "embedding" else "none, as text").eval()
    shapes = [{name: p.shape for name, p in m.named_parameters()} for m in (model, control)]
    assert shapes[0] == shapes[1]
    picture = torch.rand(1, 3, 9, 8)
    before = control.encode(picture).render((12, 12))
    torch.nn.init.normal_(control.conditions["semantic"].decoder.expand.weight)
    assert torch.equal(before, control.encode(picture).render((12, 12)))
    testing.models.check_queries(control, picture.expand(2, -1, -1, -1), None, 1e-4)
    testing.models.check_round_trip(control, picture, None)


@pytest.mark.parametrize("mode", ["meaning alone", "meaning alone, as text"])
def test_meaning_alone_ignores_the_appearance_features(mode: str) -> None:
    model, picture = built(mode).eval(), torch.rand(1, 3, 9, 8)
    before = model.encode(picture).render((12, 12))
    torch.nn.init.normal_(model.encoder.head[0].weight)
    assert torch.equal(before, model.encode(picture).render((12, 12)))
    torch.nn.init.normal_(model.conditions["semantic"].decoder.expand.weight)
    assert not torch.allclose(before, model.encode(picture).render((12, 12)))
    testing.models.check_round_trip(model, picture, None)


@pytest.mark.parametrize("mode", MODES)
def test_a_cell_for_each_point(mode: str) -> None:
    model, picture, points = built(mode).eval(), torch.rand(2, 3, 9, 8), torch.rand(2, 6, 2)
    field, cells = model.encode(picture), torch.rand(2, 6, 2)
    alone = [[field(points[:, i : i + 1], cells[b, i])[b, 0] for i in range(6)] for b in range(2)]
    expected = torch.stack([torch.stack(row) for row in alone])
    torch.testing.assert_close(field(points, cells), expected, atol=1e-5, rtol=0)


def test_without_semantics_it_is_lte() -> None:
    """The control with LTE's weights is LTE: to the bit at points; on a grid, where LTE adds up otherwise, to rounding."""
    lte = ik.create_model({"encoder": EDSR, "decoder": {"name": "lte", "hidden": [12, 9], "basis": 6}})
    control = ik.create_model(
        {
            "encoder": EDSR,
            "decoder": {"name": "sem_lte", "semantics": "none", "semantic_channels": 8, "hidden": [12, 9], "basis": 6},
            "conditions": {"semantic": {**SEMANTIC, "inputs": ["image"]}},
        }
    )
    theirs = lte.decoder.state_dict()
    theirs = {k if k.startswith("mlp.0.") else k.replace("mlp.", "rest."): value for k, value in theirs.items()}
    missing, unexpected = control.decoder.load_state_dict(theirs, strict=False)
    assert not unexpected and all(name.startswith("injection") for name in missing)
    control.encoder.load_state_dict(lte.encoder.state_dict())
    picture = torch.rand(3, 9, 8)
    ours, theirs = control.encode(picture), lte.encode(picture)
    points = torch.rand(50, 2) * 2 - 1
    torch.testing.assert_close(ours(points, 0.1), theirs(points, 0.1), atol=2e-6, rtol=0)
    torch.testing.assert_close(ours.render((20, 20)), theirs.render((20, 20)), atol=2e-6, rtol=0)


def test_film_leaves_lte_as_it_is_at_first_and_then_modulates_it() -> None:
    model = built("embedding_at_point", manner="film")
    picture, points = torch.rand(3, 9, 8), torch.rand(50, 2) * 2 - 1
    with torch.no_grad():
        injection = model.decoder.injection
        at_first = model.encode(picture)(points, 0.1)
        injection.inject.weight.normal_()
        later = model.encode(picture)(points, 0.1)
        embedding = model.encode(picture).conditions["semantic"](points)
        scale, shift = injection.inject(injection.project(embedding)).chunk(2, dim=-1)
        sums = torch.randn_like(scale)
        torch.testing.assert_close(
            injection.enter(sums, injection.at_point({"semantic": embedding})), sums * (1 + scale) + shift
        )
    assert (later - at_first).abs().max() > 1e-2
    testing.check_model(model)
    testing.check_model(built("embedding", manner="film"))


def test_bad_arguments_are_named() -> None:
    for arguments, message in (
        ({"semantics": "text"}, "'text' needs prompts"),
        ({"appearance": "none", "semantics": "none"}, "leave the decoder nothing to read"),
        ({"basis": 7}, "even basis; received .*basis=7"),
        ({"semantic_channels": 0}, "received 0 and 64"),
    ):
        with pytest.raises(ValueError, match=message):
            SemLTE(**arguments)
    with pytest.raises(ValueError, match="has 8 values per point, this decoder takes 512; .* semantic_channels=8"):
        built("embedding", semantic_channels=512)
