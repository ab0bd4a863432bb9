from pathlib import Path

import pytest
import torch

import implicitkit as ik
from implicitkit.evaluation import TestSet, bicubic, evaluate, make_pair, score
from implicitkit.images.resize import resize
from implicitkit.metrics import psnr, psnr_y, ssim
from oracles import PHOTOS


@pytest.fixture
def clean() -> torch.Tensor:
    return ik.read_image(PHOTOS / "chelsea.png")[:, :97, :101]


def write_set(folder: Path, clean: torch.Tensor, layout: str) -> None:
    low = resize(clean[:, :96, :100], (48, 50)).clamp(0, 1)
    hr, lr, name = {
        "edsr": (folder / "HR", folder / "LR_bicubic" / "X2", "catx2.png"),
        "paired": (folder / "X2" / "HR", folder / "X2" / "LR", "cat.png"),
        "div2k": (folder / "DIV2K_valid_HR", folder / "DIV2K_valid_LR_bicubic" / "X2", "catx2.png"),
    }[layout]
    hr.mkdir(parents=True)
    lr.mkdir(parents=True)
    ik.write_image(hr / "cat.png", clean)
    ik.write_image(lr / name, low)


def test_protocols_shave_as_published(clean: torch.Tensor) -> None:
    noisy = (clean + 0.3 * torch.rand_like(clean)).clamp(0, 1)
    assert score(noisy, clean, 3, "benchmark") == psnr_y(noisy, clean, shave=3)
    assert score(noisy, clean, 3, "div2k") == psnr(noisy, clean, shave=9)
    assert score(noisy, clean, 3, "plain") == psnr(noisy, clean)
    assert score(noisy, clean, 2.7, "benchmark") == psnr_y(noisy, clean, shave=3)
    assert score(noisy, clean, 3, "benchmark", ik.create_metric("ssim")) == ssim(noisy, clean, shave=3)
    assert score(clean + 9, torch.ones_like(clean), 2, "plain") == float("inf")  # clamped, so it is white exactly


@pytest.mark.parametrize("layout", ["edsr", "paired", "div2k"])
def test_known_layouts(tmp_path: Path, clean: torch.Tensor, layout: str) -> None:
    write_set(tmp_path, clean, layout)
    (pair,) = list(TestSet(tmp_path).pairs(2))
    assert pair.low.shape == (3, 48, 50) and pair.clean.shape == (3, 96, 100)
    large = next(
        TestSet(tmp_path).pairs(6)
    )  # no files of that scale are looked for: Pillow's bicubic from the clean picture
    assert large.low.shape == (3, 16, 16) and large.clean.shape == (3, 96, 96)
    assert TestSet(tmp_path).count(2) == 1


def test_a_plain_folder_is_degraded_by_the_protocol() -> None:
    pairs = list(TestSet(PHOTOS).pairs(2.5))
    assert [p.name for p in pairs] == ["chelsea", "coffee", "rocket"]
    clean = ik.read_image(PHOTOS / "chelsea.png")
    low = resize(clean[:, :300, :450], (120, 180)).clamp(0, 1)
    assert (pairs[0].low - low).abs().max() <= 0.5 / 255 + 1e-6  # 8-bit
    above = make_pair("x", clean, 8)
    assert (above.low - resize(clean[:, :296, :448], (37, 56), "pil")).abs().max() <= 0.5 / 255 + 1e-6


def test_each_protocol_has_its_usual_metric(clean: torch.Tensor, tmp_path: Path) -> None:
    ik.write_image(tmp_path / "a.png", clean)
    for protocol, metric in (("benchmark", "psnr_y"), ("div2k", "psnr"), ("plain", "psnr")):
        assert list(evaluate({"bicubic": bicubic}, TestSet(tmp_path), [2], protocol).units) == [metric]  # type: ignore[arg-type]


def test_what_does_not_fit_is_named(tmp_path: Path, clean: torch.Tensor) -> None:
    write_set(tmp_path, clean, "edsr")
    ik.write_image(tmp_path / "LR_bicubic" / "X2" / "catx2.png", clean[:, :30, :30])
    with pytest.raises(ik.DataError, match="30×30 at ×2 does not fit a clean one of 101×97"):
        list(TestSet(tmp_path).pairs(2))
    (tmp_path / "LR_bicubic" / "X2" / "catx2.png").unlink()
    with pytest.raises(ik.DataError, match=r"no low-resolution picture for cat\.png"):
        list(TestSet(tmp_path).pairs(2))
    with pytest.raises(ik.DataError, match="there is no folder"):
        TestSet(tmp_path / "none")
    with pytest.raises(ValueError, match="at least 1"):
        evaluate({}, TestSet(tmp_path), [0.5])
    with pytest.raises(ValueError, match="received 'inpainting'"):
        evaluate({}, TestSet(tmp_path), [2], "inpainting")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="different metrics, one at least; received psnr, psnr"):
        evaluate({}, TestSet(tmp_path), [2], metrics=["psnr", "psnr"])
    with pytest.raises(ik.UnknownNameError, match="did you mean 'ssim'"):
        evaluate({}, TestSet(tmp_path), [2], metrics=["sim"])


def test_pictures_of_one_name_do_not_vanish(tmp_path: Path, clean: torch.Tensor) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        ik.write_image(tmp_path / folder / "1.png", clean)
    with pytest.raises(ik.DataError, match="have one name"):
        list(TestSet(tmp_path).pairs(2))


def test_a_folder_of_all_versions_is_scored_by_its_clean_pictures(tmp_path: Path, clean: torch.Tensor) -> None:
    """As SelfExSR has them: three scales of a picture, its low resolution and other methods' results side by side."""
    for picture in (1, 2):
        for scale in (2, 4):
            for ending in ("HR", "LR", "bicubic"):
                ik.write_image(tmp_path / f"img_00{picture}_SRF_{scale}_{ending}.png", clean)
    for scale, found in ((2, "SRF_2"), (4, "SRF_4"), (3, "SRF_")):
        names = [pair.name for pair in TestSet(tmp_path).pairs(scale)]
        assert len(names) == 2 and all(found in name and name.endswith("_HR") for name in names)
