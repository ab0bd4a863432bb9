"""GSASR's files, of which the encoder is read."""

import numpy as np
import pytest
import torch

import implicitkit as ik
from benchmarks.newer_vectors import BAR, SHARED, difference
from implicitkit.create import create_encoder, load_encoder
from implicitkit.weights.authors import recognise
from implicitkit.weights.native import fill
from oracles.states import random_state


def test_the_encoder_has_no_long_skip_and_its_pictures_are_not_normalised() -> None:
    pair = {"encoder": random_state("gsasr-edsr-encoder"), "decoder": random_state("gsasr-decoder")}
    checkpoint = recognise({part: {"params_ema": state} for part, state in pair.items()}, "x")
    assert checkpoint.layout == "EDSR of GSASR (ChrisDud0257/GSASR)" and "decoder" not in checkpoint.spec
    assert len(checkpoint.dropped) == len(pair["decoder"])
    encoder = create_encoder(checkpoint.spec["encoder"])
    fill(encoder, {key.removeprefix("encoder."): value for key, value in checkpoint.tensors.items()}, "x")
    assert (encoder.mean, encoder.std, encoder.long_skip) == (0.0, 1.0, False)
    assert torch.equal(encoder.body[16].bias, pair["encoder"]["conv_after_body.bias"])


def test_the_long_skip() -> None:
    encoder = ik.create_encoder("edsr", blocks=1, channels=4)
    bare = ik.create_encoder("edsr", blocks=1, channels=4, long_skip=False)
    bare.load_state_dict(encoder.state_dict())
    picture = torch.rand(1, 3, 5, 6)
    shallow = encoder.head(encoder.normalise(picture))
    torch.testing.assert_close(encoder(picture).map - bare(picture).map, shallow, atol=1e-6, rtol=0)


@pytest.mark.skipif(not SHARED.exists(), reason="the newer decoders' checkpoints (6 MB) are not kept here")
def test_the_encoders_features_are_the_authors() -> None:
    vectors = np.load(SHARED / "gsasr-edsr.npz")
    features = load_encoder(SHARED / "gsasr-edsr.pth")(torch.from_numpy(vectors["padded"])).map
    assert difference(features, vectors["features"]) <= BAR
    with pytest.raises(ik.WeightsError, match="holds EDSR of GSASR .* and no decoder; .*load_encoder reads it"):
        ik.load_model(SHARED / "gsasr-edsr.pth")
