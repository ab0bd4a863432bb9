"""Parameters and multiplications counted by hand; what scores depend on; what is kept beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import implicitkit as ik
from implicitkit.comparison import scores as room
from implicitkit.comparison.scores import Scorer, Watch, digest, macs, parameters, read_pictures
from implicitkit.evaluation import Example
from implicitkit.images.io import to_pixels


def test_macs_of_liif_by_hand() -> None:
    """EDSR's convolutions at every pixel; LIIF's first layer once per pixel, the rest at four neighbours per query."""
    height, width, out = 12, 10, (30, 25)
    encoder = {"name": "edsr", "blocks": 2, "channels": 8, "res_scale": 1.0}
    model = ik.create_model({"encoder": encoder, "decoder": {"name": "liif", "hidden": [16, 5]}}).eval()
    image = torch.rand(3, height, width)
    head, blocks, tail = 9 * 3 * 8, 2 * 2 * 9 * 8 * 8, 9 * 8 * 8
    per_pixel = head + blocks + tail + 9 * 8 * 16  # the last: the first layer's share of the unfolded features
    geometry = 4 * 16  # offset and cell
    per_query = 4 * (geometry + 16 * 5 + 5 * 3)
    by_hand = height * width * per_pixel + out[0] * out[1] * per_query
    # what else is a matrix product (the cell's share, once per picture; blending) is less than a hundredth of it
    assert macs(lambda: model.encode(image).render(out)) == pytest.approx(by_hand, rel=0.01)


def test_macs_grow_with_the_pictures() -> None:
    model = ik.create_model(
        {"encoder": {"name": "edsr", "blocks": 1, "channels": 4}, "decoder": {"name": "liif", "hidden": [4]}}
    ).eval()
    counted = [macs(lambda: model.encode(torch.rand(3, n, n)).render((2 * n, 2 * n))) for n in (8, 16)]
    assert counted[1] == pytest.approx(4 * counted[0], rel=0.01)


def test_attention_is_counted() -> None:
    spec = {"name": "timm:vit_tiny_patch16_224", "out_channels": 8, "out_indices": [0], "options": {"depth": 1}}
    model = ik.create_model({"encoder": spec, "decoder": {"name": "nearest"}}).eval()
    image, size = torch.rand(3, 224, 224), (4, 4)
    tokens, width = 14 * 14 + 1, 192
    products = 2 * tokens * tokens * width  # queries by keys, and weights by values
    layers = tokens * (4 * width * width + 8 * width * width)
    embedded = 14 * 14 * 16 * 16 * 3 * width
    counted = macs(lambda: model.encode(image).render(size))
    assert counted == pytest.approx(products + layers + embedded, rel=0.05)
    assert counted > layers + embedded + 0.9 * products


def test_frozen_parameters_are_told_apart() -> None:
    decoder = {"name": "liif", "hidden": [4], "trainable": False}
    model = ik.create_model({"encoder": {"name": "edsr", "blocks": 1, "channels": 4}, "decoder": decoder})
    counted = parameters(model)
    encoder, rest = (sum(p.numel() for p in part.parameters()) for part in (model.encoder, model.decoder))
    assert counted == {"total": encoder + rest, "trainable": encoder}


def test_scores_depend_on_the_content_of_pictures_and_masks(tmp_path: Path) -> None:
    """Other pixels of the same name and size are another test set."""
    for folder in ("data", "masks"):
        (tmp_path / folder).mkdir()
        ik.write_image(tmp_path / folder / "a.png", torch.zeros(3, 16, 16))
    spec = {"name": "inpainting", "masks": str(tmp_path / "masks"), "size": 0}

    def key() -> dict[str, object]:
        return Scorer("x", spec, str(tmp_path / "data"), ["l1"], torch.device("cpu")).key

    before, sizes = key(), (tmp_path / "data" / "a.png").stat().st_size
    assert key() == before
    ik.write_image(tmp_path / "masks" / "a.png", torch.full((3, 16, 16), 1 / 255))
    masked = key()
    assert masked["folders"] != before["folders"] and masked["data"] == before["data"]
    content = bytearray((tmp_path / "data" / "a.png").read_bytes())
    content[-1] ^= 1
    (tmp_path / "data" / "a.png").write_bytes(content)
    assert (tmp_path / "data" / "a.png").stat().st_size == sizes and key()["data"] != masked["data"]
    with pytest.raises(ik.UserError, match="there is no folder"):
        digest(tmp_path / "none")


def test_pictures_are_kept_in_8_bits_as_long_as_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_PICTURE_BYTES", 1)
    watch, image, truth = Watch(), torch.rand(3, 5, 6), torch.rand(3, 10, 12)
    for name, seconds in (("a", 3.0), ("b", 1.0), ("c", 2.0)):
        watch("m", Example("2", name, image, None, truth), truth / 2, seconds)
    watch("words", Example("2", "a", image, None, truth), {"labels": truth}, 1.0)
    watch.write(tmp_path / "p.npz")
    kept = read_pictures(tmp_path / "p.npz", "2", "a")
    assert kept.keys() == {"input", "truth", "row m"} and np.array_equal(kept["input"], to_pixels(image))
    assert np.array_equal(kept["row m"], to_pixels(truth / 2)) and not read_pictures(tmp_path / "p.npz", "2", "b")
    assert watch.costs("m") == {"macs": None, "seconds": 2.0, "input": [5, 6], "output": [10, 12]}
    assert watch.costs("none")["seconds"] is None
