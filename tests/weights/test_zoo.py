"""The model in the box: what it promises, and that it is clearly better than bicubic."""

import json
import re

import pytest
import torch

import implicitkit as ik
from implicitkit.config import TrainConfig, load_yaml, validate
from implicitkit.degradations.base import seeded
from implicitkit.evaluation import bicubic, make_pair, score
from implicitkit.files import PHOTO
from implicitkit.registry.kinds import models, shipped_file
from implicitkit.weights.authors import recognise
from implicitkit.weights.native import fill
from oracles import PARITY, PHOTOS, ROOT

SHAPES = json.loads((PARITY / "official_state_dict_shapes.json").read_text())


@pytest.fixture(scope="module")
def model() -> ik.ImplicitModel:
    return ik.load_model("liif_small")


def test_size_terms_and_origin(model: ik.ImplicitModel) -> None:
    assert sum(p.numel() for p in model.parameters()) <= 600_000
    assert shipped_file(models.find("liif_small")[0]).stat().st_size <= 2_500_000
    assert model.license == "Apache-2.0"
    assert "BSD200" in model.training_summary["trained_on"]


def test_name_config_and_file_describe_one_model(model: ik.ImplicitModel) -> None:
    config = validate(TrainConfig, load_yaml(ROOT / "configs" / "liif_small.yaml"), "liif_small")
    assert ik.create_model("liif_small").spec == model.spec == ik.create_model(config.model).spec
    assert ik.create_model("liif_small", pretrained=True).spec == model.spec


@pytest.mark.parametrize(("scale", "gain"), [(2, 2.0), (3.3, 1.2), (4, 1.0)])
def test_clearly_better_than_bicubic(model: ik.ImplicitModel, scale: float, gain: float) -> None:
    """Mean PSNR-Y over four photographs it has never seen; the margins are half of what was measured."""
    differences = []
    for path in (PHOTO, PHOTOS / "chelsea.png", PHOTOS / "coffee.png", PHOTOS / "rocket.jpg"):
        clean = ik.read_image(path)
        pair = make_pair(path.stem, clean[:, :256, :256].contiguous(), scale)
        size = (pair.clean.shape[1], pair.clean.shape[2])
        ours, theirs = (
            score(p, pair.clean, scale, "benchmark")
            for p in (model.encode(pair.low).render(size), bicubic(pair.low, size))
        )
        differences.append(ours - theirs)
    assert sum(differences) / 4 > gain, differences


def test_flat_colour_stays_flat(model: ik.ImplicitModel) -> None:
    for value in (0.0, 0.25, 0.5, 1.0):
        out = model.encode(torch.full((3, 12, 12), value)).render((31, 43))
        assert (out - value).abs().max() < 0.03


def zoo_name(official: str) -> str:
    """The zoo's name of ``edsr-baseline-lte-fast``: ``lte_plus_edsr_baseline``."""
    encoder, decoder = re.fullmatch(r"(edsr-baseline|rdn|swinir)-(.*)", official).groups()
    return f"{decoder.replace('lte-fast', 'lte_plus')}_{encoder.replace('-', '_')}"


@pytest.mark.parametrize("official", SHAPES)
def test_the_official_shapes_load_strictly(official: str) -> None:
    shapes = SHAPES[official]
    state = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    registered = official.removeprefix("edsr-baseline-").removeprefix("rdn-").removeprefix("swinir-")
    for content in ({"model": {"name": registered, "args": {}, "sd": state}}, state):
        checkpoint = recognise(content, "official")
        with torch.device("meta"):
            model, named = ik.create_model(checkpoint.spec), ik.create_model(zoo_name(official))
        fill(model, checkpoint.tensors, "official")
        assert len(checkpoint.tensors) + len(checkpoint.dropped) == len(shapes)
        named_shapes = {key: value.shape for key, value in named.state_dict().items()}
        assert named_shapes == {key: value.shape for key, value in model.state_dict().items()}
    does_nothing = r"encoder\.(sub|add)_mean\.(weight|bias)|.*\.(attn_mask|relative_position_index)"
    assert set(checkpoint.dropped) == {key for key in shapes if re.fullmatch(does_nothing, key)}


@pytest.mark.parametrize("name", ["fast", "fast_real"])
def test_the_quick_models_are_what_their_configurations_say(name: str) -> None:
    quick, config = ik.load_model(name), validate(TrainConfig, load_yaml(ROOT / "configs" / f"{name}.yaml"), name)
    unfolded = ik.create_model(config.model).spec
    assert quick.spec == {**unfolded, "encoder": {**unfolded["encoder"], "folded": True}} == ik.create_model(name).spec
    assert shipped_file(models.find(name)[0]).stat().st_size <= 1_000_000
    assert quick.license == "Apache-2.0" and "photographs" in quick.training_summary["trained_on"]


def test_each_quick_model_is_better_at_its_own_pictures() -> None:
    """Clean pictures for one, JPEGs with noise for the other; each time clearly better than bicubic."""
    quick, real = ik.load_model("fast"), ik.load_model("fast_real")
    steps = [{"name": "super_resolution", "scale": 2, "kernel": "matlab"}]
    worn = [*steps, {"name": "noise", "sigma": 3}, {"name": "jpeg", "quality": 50}]
    psnr = ik.create_metric("psnr")
    for spec, best, gain in ((steps, quick, 1.0), (worn, real, 0.2)):
        gains = []
        for k, path in enumerate((PHOTO, PHOTOS / "chelsea.png", PHOTOS / "coffee.png")):
            clean = ik.read_image(path)[:, :256, :256].contiguous()
            low = ik.create_degradation(spec)(clean, seeded(k)).image
            answers = [m.encode(low).render((256, 256)) for m in (best, quick if best is real else real)]
            scores = [float(psnr(a, clean)) for a in (*answers, bicubic(low, (256, 256)))]
            gains.append([scores[0] - scores[1], scores[0] - scores[2]])
        other, plain = torch.tensor(gains).mean(0).tolist()
        assert other > 0.1 and plain > gain, (spec, gains)
