import pytest
import torch
from torch import nn

import implicitkit as ik
from implicitkit.decoders import LIIF
from oracles.models import small_model


def test_composed_by_name_by_spec_and_by_hand() -> None:
    by_name = ik.create_model("liif_edsr_baseline")
    by_spec = ik.create_model({"encoder": "EDSR-baseline", "decoder": {"name": "liif", "hidden": [256, 256, 256, 256]}})
    by_hand = ik.ImplicitModel(ik.create_encoder("edsr_baseline"), ik.create_decoder("liif"))
    shapes = [{k: tuple(v.shape) for k, v in m.state_dict().items()} for m in (by_name, by_spec, by_hand)]
    assert shapes[0] == shapes[1] == shapes[2]
    assert sum(p.numel() for p in by_name.decoder.parameters()) == 346_883  # the paper's decoder


def test_the_decoder_follows_the_encoders_width_unless_told() -> None:
    model = ik.create_model({"encoder": {"name": "edsr", "blocks": 1, "channels": 12}, "decoder": "liif"})
    assert model.decoder.in_channels == 12
    with pytest.raises(ValueError, match="in_channels=12"):
        ik.create_model(
            {"encoder": {"name": "edsr", "blocks": 1, "channels": 12}, "decoder": {"name": "liif", "in_channels": 64}}
        )


def test_a_spec_builds_the_same_model_again() -> None:
    model = small_model(skip="bilinear")
    again = ik.create_model(model.spec)
    assert again.spec == model.spec
    again.load_state_dict(model.state_dict())


def test_overrides_replace_entries_of_a_named_spec() -> None:
    model = ik.create_model("liif_edsr_baseline", encoder={"name": "edsr", "blocks": 1, "channels": 8})
    assert model.decoder.in_channels == 8


def test_a_mask_goes_to_encoders_that_take_one() -> None:
    spec = {
        "encoder": {"name": "edsr", "blocks": 1, "channels": 4},
        "decoder": {"name": "liif", "hidden": [8]},
        "inputs": ["image", "mask"],
    }
    model = ik.create_model(spec).eval()
    assert model.needs["mask"] and model.encoder.mask_channels == 1
    picture = torch.rand(3, 6, 7)
    mask = torch.zeros(1, 6, 7)
    assert torch.equal(model.encode(picture).render((6, 7)), model.encode(picture, mask=mask).render((6, 7)))
    mask[:, 2:4] = 1
    assert not torch.equal(model.encode(picture).render((6, 7)), model.encode(picture, mask=mask).render((6, 7)))
    batch = model(
        picture[None].expand(2, -1, -1, -1), torch.rand(2, 3, 2), torch.rand(2, 1, 2), mask[None].expand(2, -1, -1, -1)
    )
    assert batch.values.shape == (2, 3, 3)
    with pytest.raises(ValueError, match="sizes must agree"):
        model.encode(picture, mask=torch.zeros(1, 5, 7))
    with pytest.raises(ValueError, match="mask_channels=1"):
        ik.ImplicitModel(ik.create_encoder("edsr_baseline"), ik.create_decoder("liif"), inputs=("image", "mask"))


def test_forward_is_the_field_in_picture_range() -> None:
    model = small_model()
    pictures, points, cell = torch.rand(2, 3, 8, 9), torch.rand(2, 11, 2) * 2 - 1, torch.full((2, 1, 2), 0.2)
    prediction = model(pictures, points, cell)
    assert prediction.conditions == {}
    torch.testing.assert_close(prediction.values, model.encode(pictures)(points, cell))
    assert prediction.values.requires_grad


def test_frozen_parts_stay_frozen() -> None:
    model = ik.create_model(
        {
            "encoder": {"name": "edsr", "blocks": 1, "channels": 4, "trainable": False},
            "decoder": {"name": "liif", "hidden": [8]},
        }
    ).train()
    assert not model.encoder.training and model.decoder.training
    assert not any(p.requires_grad for p in model.encoder.parameters())
    model(torch.rand(1, 3, 5, 5), torch.rand(1, 4, 2), torch.rand(1, 1, 2)).values.sum().backward()
    assert all(p.grad is not None for p in model.decoder.parameters())
    assert ik.create_model(model.spec).spec["encoder"]["trainable"] is False


def test_models_state_what_they_need() -> None:
    assert ik.create_model("liif_edsr_baseline").needs == {
        "input_channels": 3,
        "mask": False,
        "stride": 1,
        "size_multiple": 1,
        "receptive_field": 69,
        "trained_scales": (1.0, 4.0),
    }


def test_a_model_sees_as_far_as_what_it_reads() -> None:
    class Reads(LIIF):
        conditions = ("other",)

    def model(blocks: int, other: ik.ImplicitModel) -> ik.ImplicitModel:
        encoder = ik.create_encoder("edsr", blocks=blocks, channels=8)
        return ik.ImplicitModel(encoder, Reads(8, hidden=[8]), {"other": other})

    parts = {"encoder": {"name": "edsr", "blocks": 3, "channels": 8}, "decoder": {"name": "liif", "hidden": [8]}}
    near, far = (
        ik.create_model(parts),
        ik.create_model(
            {**parts, "encoder": {"name": "rcan", "groups": 1, "blocks": 1, "channels": 8, "reduction": 4}}
        ),
    )
    assert near.needs["receptive_field"] == model(1, near).needs["receptive_field"] == 17
    assert model(9, near).needs["receptive_field"] == model(9, near).encoder.receptive_field == 41
    assert model(1, model(1, far)).needs["receptive_field"] == "global"


def test_missing_and_needless_conditions_are_named() -> None:
    with pytest.raises(ValueError, match=r"received \['semantic'\]"):
        ik.ImplicitModel(ik.create_encoder("edsr_baseline"), ik.create_decoder("liif"), {"semantic": small_model()})


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"encoder": "edsr_baseline"}, "decoder: required"),
        (
            {"encoder": "edsr_baseline", "decodr": "liif", "decoder": "liif"},
            "decodr: unknown key.*did you mean 'decoder'",
        ),
        ({"encoder": "edsr_baselin", "decoder": "liif"}, "did you mean 'edsr_baseline'"),
        ({"encoder": {"name": "edsr", "block": 3}, "decoder": "liif"}, "takes no 'block'; did you mean 'blocks'"),
        ({"encoder": "edsr_baseline", "decoder": "liif", "inputs": ["mask"]}, "inputs are 'image'"),
    ],
)
def test_mistakes_in_a_spec_are_named(spec: dict[str, object], message: str) -> None:
    with pytest.raises((ik.UserError, ValueError), match=message):
        ik.create_model(spec)


def test_pretrained_needs_weights() -> None:
    with pytest.raises(
        ik.WeightsError, match="comes without weights; load the authors' .pth .* weights: fast, fast_real, liif_small"
    ):
        ik.create_model("lte_rdn", pretrained=True)


def test_a_second_pass_sees_the_first_ones_output(photo: torch.Tensor) -> None:
    spec = {"encoder": {"name": "edsr", "blocks": 1, "channels": 8}, "decoder": {"name": "liif", "hidden": [8]}}
    once = ik.create_model(spec).eval()
    twice = ik.create_model({**spec, "passes": 2}).eval()
    twice.load_state_dict(once.state_dict())
    first = once.encode(photo).render(photo.shape[1:])
    assert torch.equal(twice.encode(photo).render((50, 40)), once.encode(first).render((50, 40)))
    assert torch.equal(twice.encode(photo, passes=1).render((50, 40)), once.encode(photo).render((50, 40)))
    assert twice.spec["passes"] == 2
    with pytest.raises(ValueError, match="passes is at least 1; received 0"):
        once.encode(photo, passes=0)


def test_given_conditions_must_be_the_models_own(photo: torch.Tensor) -> None:
    model = ik.create_model({"encoder": {"name": "edsr", "blocks": 1, "channels": 8}, "decoder": "nearest"})
    with pytest.raises(ValueError, match="reads the conditions none; received \\['semantic'\\]"):
        model.encode(photo, conditions={"semantic": model.encode(photo)})


def test_a_model_is_one_line_and_its_layers_stay_reachable() -> None:
    assert repr(ik.create_model("liif_edsr_baseline")) == (
        "ImplicitModel(edsr_baseline -> liif, 1.6 M parameters, trained ×1–×4)"
    )
    model = small_model()
    assert "\n" not in str(model) and "trained" not in str(model)
    assert "Conv2d(" in nn.Module.__repr__(model.encoder)


def test_a_model_of_parts_that_were_not_built_by_name() -> None:
    from implicitkit.decoders.liif import LIIF
    from implicitkit.encoders.edsr import EDSR

    encoder = EDSR(blocks=1, channels=8, mask_channels=1)
    model = ik.ImplicitModel(encoder, LIIF(8, hidden=(8,)), inputs=("image", "mask"))
    assert repr(model).startswith("ImplicitModel(EDSR -> LIIF, ") and repr(model).endswith(", takes a mask)")
    masked = model.encode(torch.rand(3, 8, 8), torch.zeros(1, 8, 8))
    assert repr(masked) == "Field((3, 8, 8), LIIF, float32, cpu, with a mask)"


def test_points_that_are_missing_are_named(photo: torch.Tensor) -> None:
    encoder, decoder = ik.create_encoder("edsr", blocks=1, channels=8), ik.create_decoder("liif", in_channels=8)
    with pytest.raises(ValueError, match=r"needs coords; model\.encode\(image\)\.render\(size\)"):
        ik.ImplicitModel(encoder, decoder)(photo[None])
