import pytest
import torch

import implicitkit as ik


def test_published_sizes() -> None:
    with torch.device("meta"):
        baseline, full = ik.create_encoder("edsr_baseline"), ik.create_encoder("edsr")
    count = lambda m: sum(p.numel() for p in m.parameters())  # noqa: E731
    assert count(baseline) == 1_220_416 - 0
    assert (baseline.out_channels, full.out_channels) == (64, 256)
    assert full.body[0].res_scale == 0.1
    assert count(full) == 256 * 27 + 256 + 65 * (256 * 256 * 9 + 256)


@pytest.mark.parametrize(("channels", "masks"), [(1, 0), (3, 1), (5, 2)])
def test_any_input_channels_and_masks_are_not_normalised(channels: int, masks: int) -> None:
    encoder = ik.create_encoder("edsr", blocks=1, channels=4, in_channels=channels, mask_channels=masks)
    x = torch.rand(2, channels + masks, 6, 7)
    normalised = encoder.normalise(x)
    torch.testing.assert_close(normalised[:, :channels], x[:, :channels] * 2 - 1)
    torch.testing.assert_close(normalised[:, channels:], x[:, channels:])
    features = encoder(x)
    assert features.map.shape == (2, 4, 6, 7)
    assert features.extent == (6, 7)
    with pytest.raises(ValueError, match="received shape"):
        encoder(x[:, :1] if channels + masks > 1 else torch.rand(2, 2, 6, 7))


@pytest.mark.parametrize("blocks", [1, 3])
def test_the_declared_receptive_field_is_the_real_one(blocks: int) -> None:
    encoder = ik.create_encoder("edsr", blocks=blocks, channels=4, res_scale=1.0)
    x = torch.rand(1, 3, 41, 41, requires_grad=True)
    encoder(x).map[0, :, 20, 20].sum().backward()
    seen = x.grad.abs().sum((0, 1)).nonzero()
    assert encoder.receptive_field == 2 * encoder.radius + 1
    assert seen.min().item() == 20 - encoder.radius
    assert seen.max().item() == 20 + encoder.radius


def test_residuals_are_scaled() -> None:
    one = ik.create_encoder("edsr", blocks=2, channels=4, res_scale=1.0)
    none = ik.create_encoder("edsr", blocks=2, channels=4, res_scale=0.0)
    none.load_state_dict(one.state_dict())
    x = torch.rand(1, 3, 5, 5)
    shallow = none.head(none.normalise(x))
    torch.testing.assert_close(none(x).map, none.body[-1](shallow) + shallow)
    assert not torch.allclose(one(x).map, none(x).map)
