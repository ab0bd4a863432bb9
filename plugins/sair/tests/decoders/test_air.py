"""AIR against a literal version of its equation; where meaning enters, and where it must not."""

import copy
import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from literal import at_cells, bilinear, blend, into_extent, similarities, unfold
from safetensors.torch import save_file
from small_parts import EDSR, MODES, SEMANTIC, Patches

import implicitkit as ik
from implicitkit import testing
from implicitkit.kernels import cpu
from implicitkit.weights import Checkpoint, read_metadata, read_spec
from implicitkit.weights.native import write_native
from implicitkit_sair.decoders.air import AIR
from implicitkit_sair.decoders.sir import SIR


def spec(mode: str, **options: object) -> dict:
    decoder = {"name": "air", "semantic_channels": 8, "projected": 4, "hidden": [12, 9], **MODES[mode], **options}
    inputs = ["image", "mask"]
    return {"encoder": EDSR, "decoder": decoder, "conditions": {"semantic": SEMANTIC}, "inputs": inputs}


def built(mode: str, **options: object) -> ik.ImplicitModel:
    model = ik.create_model(spec(mode, **options))
    if model.decoder.injection.semantics == "text":
        model.decoder.injection.name_classes(F.normalize(torch.randn(3, 8), dim=1))
    return model


def literal(model: ik.ImplicitModel, picture: torch.Tensor, mask: torch.Tensor, coords: torch.Tensor) -> torch.Tensor:
    """f([3x3 of z, offset, projected embedding of cell or point]), one point and one neighbour at a time."""
    picture = torch.where(mask > 0.5, 0.5, picture)  # what a hole holds is never seen
    semantic = model.conditions["semantic"].encode(picture, mask)
    embedding = semantic.predict(coords).values.double()
    features = model.encoder(torch.cat([picture, mask], dim=1))
    decoder, map = model.decoder.double(), features.map.double()
    injection, cells = decoder.injection, tuple(map.shape[2:])
    if injection.appearance == "none":
        map = torch.zeros_like(map)
    weight = decoder.first.weight
    if injection.prompts:
        beside = similarities(semantic, injection.classes, cells, features.extent)
        if injection.semantics == "none":
            beside = torch.zeros_like(beside)
        map = F.conv2d(torch.cat([map, beside], dim=1), injection.fuse.weight, injection.fuse.bias, padding=3)
    else:
        of_cells = at_cells(semantic, cells, features.extent)
        if injection.manner == "add":
            weight = torch.cat([weight, injection.inject.weight], dim=1)
    seen = unfold(map) if decoder.feat_unfold else map
    inside = into_extent(coords, tuple(picture.shape[2:]), model.encoder.size_multiple)

    def predict(b: int, i: int, index: tuple[int, ...], offset: torch.Tensor) -> torch.Tensor:
        said = of_cells[b, :, index[0], index[1]] if injection.semantics == "embedding" else embedding[b, i]
        projected = said[:0] if injection.prompts else injection.project.weight @ said * (injection.semantics != "none")
        if injection.manner == "film":
            scale, shift = (injection.inject.weight @ projected).chunk(2)
            of_cell = weight[:, : decoder.read] @ seen[b, :, index[0], index[1]] + decoder.first.bias
            return decoder.rest(of_cell * (1 + scale) + shift + weight[:, decoder.read :] @ offset)
        inputs = torch.cat([seen[b, :, index[0], index[1]], offset, projected])
        return decoder.rest(weight @ inputs + decoder.first.bias)

    values = blend(inside, cells, predict)
    if decoder.skip == "bilinear":
        values = values + bilinear((picture - 0.5) / 0.5, coords)
    return values * 0.5 + 0.5


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_equals_the_literal_formula(mode: str, padded: bool) -> None:
    """On an encoder of stride 1, and on one of stride 4 that pads 10x15 pixels to 12x16."""
    model = built(mode, skip="none" if padded else "bilinear", feat_unfold=not padded)
    if padded:
        semantic = ik.ImplicitModel(Patches(5), SIR(5, 8, reduced=5, hidden=[9]), inputs=("image", "mask"))
        decoder = AIR(6, 3, 8, projected=4, hidden=[12, 9], **MODES[mode])
        if decoder.injection.semantics == "text":
            decoder.injection.name_classes(F.normalize(torch.randn(3, 8), dim=1))
        model = ik.ImplicitModel(Patches(), decoder, {"semantic": semantic}, inputs=("image", "mask"))
    size = (10, 15) if padded else (6, 7)
    picture, mask = torch.rand(2, 3, *size), (torch.rand(2, 1, *size) < 0.3).float()
    coords = torch.rand(2, 9, 2) * 2 - 1
    with torch.no_grad():
        ours = model(picture, coords, mask=mask).values
        theirs = literal(model, picture, mask, coords)
    torch.testing.assert_close(ours.double(), theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("mode", ["embedding", "embedding_at_point", "text"])
def test_contract(mode: str) -> None:
    """Every promise of a model: gradients to all parameters of both fields, no seams, the same bits from a file."""
    testing.check_model(built(mode))


@pytest.mark.parametrize("mode", [mode for mode in MODES if not mode.startswith("embedding") and mode != "text"])
def test_contract_of_what_leaves_a_half_out(mode: str) -> None:
    model, picture, mask = built(mode).eval(), torch.rand(2, 3, 21, 18), (torch.rand(2, 1, 21, 18) < 0.3).float()
    testing.models.check_queries(model, picture, mask, 1e-4)
    testing.models.check_tiles(model, picture, mask, 16, 1e-4)
    testing.models.check_round_trip(model, picture, mask)


@pytest.mark.parametrize("mode", ["embedding", "text"])
def test_the_control_has_the_same_parameters_and_ignores_the_semantic_field(mode: str) -> None:
    model = built(mode)
    control = built("none" if mode == "embedding" else "none, as text")
    shapes = [{name: p.shape for name, p in m.named_parameters()} for m in (model, control)]
    assert shapes[0] == shapes[1]
    control.load_state_dict(model.state_dict())
    picture, coords = torch.rand(1, 3, 9, 8), torch.rand(1, 20, 2) * 2 - 1
    before = [m(picture, coords) for m in (model, control)]
    for m in (model, control):
        torch.nn.init.normal_(m.conditions["semantic"].decoder.expand.weight)
    after = [m(picture, coords) for m in (model, control)]
    assert not torch.allclose(before[1].conditions["semantic"], after[1].conditions["semantic"])
    assert torch.equal(before[1].values, after[1].values)
    assert not torch.allclose(before[0].values, after[0].values)
    after[1].values.sum().backward()
    semantic = [p for name, p in control.named_parameters() if name.startswith("conditions")]
    assert all(p.grad is None for p in semantic)


@pytest.mark.parametrize("mode", ["embedding", "text"])
def test_meaning_alone_has_the_same_parameters_and_ignores_the_appearance_features(mode: str) -> None:
    model = built(mode)
    alone = built("meaning alone" if mode == "embedding" else "meaning alone, as text")
    shapes = [{name: p.shape for name, p in m.named_parameters()} for m in (model, alone)]
    assert shapes[0] == shapes[1]
    alone.load_state_dict(model.state_dict())
    picture, coords = torch.rand(1, 3, 9, 8), torch.rand(1, 20, 2) * 2 - 1
    before = [m(picture, coords).values for m in (model, alone)]
    for m in (model, alone):
        torch.nn.init.normal_(m.encoder.head[0].weight)
    after = [m(picture, coords).values for m in (model, alone)]
    assert torch.equal(before[1], after[1]) and not torch.allclose(before[0], after[0])
    after[1].square().sum().backward()
    # zeros, and not none: processes that train together wait for the gradient of every parameter
    assert all(p.grad is not None and not p.grad.any() for p in alone.encoder.parameters())
    assert all(p.grad.any() for p in alone.conditions.parameters() if p.ndim > 1)
    other = torch.rand(1, 3, 9, 8)
    assert not torch.allclose(alone(other, coords).values, after[1])  # it does see the picture: through its meaning


@pytest.mark.parametrize("mode", ["embedding", "embedding_at_point"])
def test_film_scales_and_shifts_the_sums_of_each_cell(mode: str) -> None:
    model = built(mode, manner="film")
    told_nothing = ik.create_model(spec(mode, manner="film") | {"decoder": spec("none", manner="film")["decoder"]})
    told_nothing.load_state_dict(model.state_dict())
    picture, mask = torch.rand(2, 3, 10, 15), (torch.rand(2, 1, 10, 15) < 0.4).float()
    coords = torch.rand(2, 9, 2) * 2 - 1
    with torch.no_grad():
        at_first = model.encode(picture, mask)(coords)
        torch.testing.assert_close(at_first, told_nothing.encode(picture, mask)(coords))
        model.decoder.injection.inject.weight.normal_()
        ours = model.encode(picture, mask)(coords)
        theirs = literal(copy.deepcopy(model), picture, mask, coords)
    assert (ours - at_first).abs().max() > 1e-2
    torch.testing.assert_close(ours.double(), theirs, atol=1e-5, rtol=0)
    testing.check_model(built(mode, manner="film"))


def test_at_the_point_the_embedding_enters_there_alone() -> None:
    """A value follows from the embedding at its own point; what the semantic field says elsewhere changes nothing."""
    model = built("embedding_at_point")
    picture, points = torch.rand(1, 3, 9, 8), torch.rand(1, 20, 2) * 2 - 1
    together = model(picture, points).values
    alone = torch.cat([model(picture, points[:, i : i + 1]).values for i in range(20)], dim=1)
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)
    decoder = model.decoder
    latent = model.encode(picture)._latents.whole
    said = torch.randn(1, 20, 8)
    other = said.clone()
    other[:, 7] += 1
    values = [decoder.query(latent, points, None, {"semantic": s}) for s in (said, other)]
    changed = (values[0] != values[1]).any(-1)[0]
    assert changed.nonzero().flatten().tolist() == [7]


def test_at_the_point_the_embedding_is_projected_once() -> None:
    model, calls = built("embedding_at_point"), []
    model.decoder.injection.project.register_forward_hook(lambda module, x, y: calls.append(x[0].shape))
    model(torch.rand(2, 3, 9, 8), torch.rand(2, 20, 2))
    assert calls == [(40, 8)]  # not 160, for four neighbours each


def test_at_the_cell_the_embedding_is_projected_once_however_many_points_there_are() -> None:
    """Eq. 5: one evaluation of SIR per feature cell; at a magnification of 4 a sixteenth of those at the points."""
    model, calls = built("embedding").eval(), []
    model.decoder.injection.project.register_forward_hook(lambda module, x, y: calls.append(x[0][..., 0].numel()))
    field = model.encode(torch.rand(2, 3, 9, 8))
    assert sum(calls) == 2 * 9 * 8
    field.render((36, 32))
    assert sum(calls) == 2 * 9 * 8


@pytest.mark.parametrize("mode", ["embedding", "embedding_at_point"])
def test_a_file_says_where_the_embedding_is_read_and_an_older_one_means_the_point(mode: str, tmp_path: Path) -> None:
    model, picture = built(mode).eval(), torch.rand(1, 3, 9, 8)
    file = model.save(tmp_path / "new.safetensors")
    said = "embedding_at_cell" if mode == "embedding" else mode
    assert json.loads(read_metadata(file)["spec"])["decoder"]["semantics"] == said
    again = ik.load_model(file)
    assert again.decoder.injection.semantics == mode and again.spec == model.spec
    assert torch.equal(again.encode(picture).render((9, 8)), model.encode(picture).render((9, 8)))

    older = copy.deepcopy(model.spec)
    del older["decoder"]["semantics"]
    for words in ({}, {"semantics": "embedding"}):
        older["decoder"] |= words
        write_native(Checkpoint(older, model.state_dict()), tmp_path / "older.safetensors")
        loaded = ik.load_model(tmp_path / "older.safetensors")
        assert loaded.decoder.injection.semantics == "embedding_at_point"
        assert read_spec(tmp_path / "older.safetensors") == loaded.spec
    values = [m.encode(picture).render((18, 16)) for m in (loaded, model)]
    assert torch.equal(*values) == (mode == "embedding_at_point")  # between the cells, cell and point differ


@pytest.mark.parametrize("mode", MODES)
def test_the_semantic_field_is_asked_only_where_it_is_read(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the cells, or at the points, nowhere for a control; a loss can always have it."""
    monkeypatch.setattr(cpu, "kernel_for", lambda *_: None)  # a kernel calls neither query() nor query_grid()
    model, asked = built(mode).eval(), []
    semantic = model.conditions["semantic"].decoder
    for name, points in (("query", lambda given: given[1].shape[1]), ("query_grid", lambda given: len(given[1][0]))):
        method = getattr(semantic, name)
        monkeypatch.setattr(semantic, name, lambda *a, m=method, n=name, p=points: asked.append((n, p(a))) or m(*a))
    picture, points = torch.rand(1, 3, 9, 8), torch.rand(1, 20, 2)
    field, semantics = model.encode(picture), model.decoder.injection.semantics
    cells = semantics in ("embedding", "text")
    assert asked == ([("query_grid", 9)] if cells else [])  # the rows of the feature map
    asked.clear()
    values = field(points)
    field.render((5, 6))
    assert asked == ([("query", 20), ("query_grid", 5)] if semantics == "embedding_at_point" else [])
    asked.clear()
    prediction = model(picture, points)
    assert ("query", 20) in asked and prediction.conditions["semantic"].shape == (1, 20, 8)
    torch.testing.assert_close(prediction.values, values)


def test_a_saved_file_holds_the_classes(tmp_path) -> None:
    model = built("text")
    loaded = ik.load_model(model.save(tmp_path / "text.safetensors"))
    assert torch.equal(loaded.decoder.injection.classes, model.decoder.injection.classes)
    assert loaded.decoder.injection.prompts == ["sky", "tree", "water"]


def test_the_classes_are_named_by_the_text_tower_when_the_model_is_composed(monkeypatch: pytest.MonkeyPatch) -> None:
    text = pytest.importorskip("implicitkit_sair.semantic.clip.text")
    named, asked = F.normalize(torch.randn(3, 8), dim=1), []

    def encode_text(encoder: ik.Encoder, prompts: list[str]) -> torch.Tensor:
        asked.append((encoder, prompts))
        return named

    monkeypatch.setattr(text, "encode_text", encode_text)
    model, picture = ik.create_model(spec("text")), torch.rand(3, 9, 8)
    first, second = (model.encode(picture).render((5, 5)) for _ in range(2))
    assert torch.equal(first, second) and torch.equal(model.decoder.injection.classes, named)
    assert asked == [(model.conditions["semantic"].encoder, ["sky", "tree", "water"])]


def test_with_a_clip_the_words_are_its_own_and_stay_in_the_file(tmp_path) -> None:
    """A whole SAIR as its authors ran it, on a tiny CLIP: what was saved renders without the text tower's file."""
    open_clip = pytest.importorskip("open_clip")
    size = {
        "embed_dim": 8,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 12, "width": 16, "heads": 2, "layers": 1},
    }
    weights = tmp_path / "clip.safetensors"
    save_file(open_clip.CLIP(**copy.deepcopy(size)).state_dict(), weights)
    clip = {"name": "clip", "model": size, "pretrained": str(weights), "quick_gelu": False}
    semantic = {"encoder": clip, "decoder": SEMANTIC["decoder"], "inputs": ["image", "mask"]}
    model = ik.create_model({**spec("text"), "conditions": {"semantic": semantic}}).eval()
    at_once = model.save(tmp_path / "at_once.safetensors")  # before anything was encoded
    picture, mask = torch.rand(3, 21, 30), torch.zeros(1, 21, 30)
    mask[:, :8] = 1
    painted = model.encode(picture, mask).render((21, 30))
    classes = model.decoder.injection.classes
    torch.testing.assert_close(classes.norm(dim=1), torch.ones(3), atol=1e-5, rtol=0)
    file = model.save(tmp_path / "sair.safetensors")
    weights.unlink()
    loaded = ik.load_model(file)
    assert torch.equal(loaded.decoder.injection.classes, classes)
    assert torch.equal(loaded.encode(picture, mask).render((21, 30)), painted)
    assert torch.equal(ik.load_model(at_once).encode(picture, mask).render((21, 30)), painted)


def test_words_need_a_text_tower_or_embeddings() -> None:
    with pytest.raises(ValueError, match="the 3 prompts have no embeddings, .* no text tower; .*name_classes"):
        ik.create_model(spec("text")).encode(torch.rand(3, 6, 6))
    assert built("text").encode(torch.rand(3, 6, 6)).render((4, 4)).shape == (3, 4, 4)


def test_a_field_that_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match="has 8 values per point, this decoder takes 512; .* semantic_channels=8"):
        ik.create_model(spec("embedding", semantic_channels=512))
    with pytest.raises(ValueError, match=r"AIR reads the conditions \['semantic'\]; received none"):
        ik.create_model({"encoder": EDSR, "decoder": {"name": "air"}})


def test_bad_arguments_are_named() -> None:
    for arguments, message in (
        ({"semantics": "words"}, "received 'words'"),
        ({"semantics": "text"}, "'text' needs prompts, or classes, .* prompts=\\[\\]"),
        ({"appearance": "grey"}, "'features' or 'none'; received 'grey'"),
        ({"appearance": "none", "semantics": "none"}, "leave the decoder nothing to read; keep one of the two"),
        ({"prompts": ["sky"]}, "'embedding' takes none; received .* prompts=\\['sky'\\]"),
        ({"projected": 0}, "received 512 and 0"),
        ({"manner": "gate"}, "'add' or, of embeddings, 'film'; received 'gate'"),
        ({"manner": "film", "semantics": "text", "prompts": ["sky"]}, "received 'film' with 'text'"),
        ({"skip": "cubic"}, "'cubic'"),
    ):
        with pytest.raises(ValueError, match=message):
            AIR(**arguments)
    with pytest.raises(ValueError, match=r"3 prompts have embeddings \(3, 8\); received \(3, 7\)"):
        built("text").decoder.injection.name_classes(torch.zeros(3, 7))
