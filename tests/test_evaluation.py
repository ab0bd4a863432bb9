from pathlib import Path

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio
from support import PHOTOS

import implicitkit as ik
from implicitkit.degradations.resize import resize
from implicitkit.evaluation import TestSet, bicubic, evaluate, make_pair, markdown_table, score
from implicitkit.metrics import psnr, psnr_y


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


def test_psnr_is_scikit_images(clean: torch.Tensor) -> None:
    noisy = (clean + 0.1 * torch.rand_like(clean)).clamp(0, 1)
    assert psnr(noisy, clean) == pytest.approx(
        peak_signal_noise_ratio(clean.double().numpy(), noisy.double().numpy(), data_range=1), abs=1e-6
    )
    assert psnr(clean, clean) == float("inf")


def test_luma_psnr_is_the_literal_formula(clean: torch.Tensor) -> None:
    noisy = (clean + 0.1 * torch.rand_like(clean)).clamp(0, 1)
    total, count = 0.0, 0
    d = (noisy.double() - clean.double()).tolist()
    for y in range(3, 94):
        for x in range(3, 98):
            total += ((65.738 * d[0][y][x] + 129.057 * d[1][y][x] + 25.064 * d[2][y][x]) / 256) ** 2
            count += 1
    import math

    assert psnr_y(noisy, clean, shave=3) == pytest.approx(-10 * math.log10(total / count), abs=1e-9)
    with pytest.raises(ValueError, match="nothing left"):
        psnr(noisy, clean, shave=60)
    with pytest.raises(ValueError, match="one shape"):
        psnr(noisy, clean[:, :-1])


def test_protocols_shave_as_published(clean: torch.Tensor) -> None:
    noisy = (clean + 0.3 * torch.rand_like(clean)).clamp(0, 1)
    assert score(noisy, clean, 3, "benchmark") == psnr_y(noisy, clean, shave=3)
    assert score(noisy, clean, 3, "div2k") == psnr(noisy, clean, shave=9)
    assert score(noisy, clean, 3, "plain") == psnr(noisy, clean)
    assert score(noisy, clean, 2.7, "benchmark") == psnr_y(noisy, clean, shave=3)
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


def test_results_keep_every_picture_and_average_them(clean: torch.Tensor, tmp_path: Path) -> None:
    for k in range(2):
        ik.write_image(tmp_path / f"{k}.png", clean.flip(k + 1) if k else clean)
    results = evaluate(
        {"bicubic": bicubic, "grey": lambda low, size: torch.full((3, *size), 0.5)}, TestSet(tmp_path), [2, 3.5]
    )
    assert results[0].psnr.keys() == {"2", "3.5"} and results[0].psnr["2"].keys() == {"0", "1"}
    assert results[0].mean(2) == pytest.approx(sum(results[0].psnr["2"].values()) / 2)
    assert results[0].mean(2) > results[0].mean(3.5) > results[1].mean(2)
    table = markdown_table(results, [2, 3.5]).splitlines()
    assert (
        table[0] == "| PSNR, dB | ×2 | ×3.5 |"
        and table[2] == f"| bicubic | {results[0].mean(2):.2f} | {results[0].mean(3.5):.2f} |"
    )


def test_what_does_not_fit_is_named(tmp_path: Path, clean: torch.Tensor) -> None:
    write_set(tmp_path, clean, "edsr")
    ik.write_image(tmp_path / "LR_bicubic" / "X2" / "catx2.png", clean[:, :30, :30])
    with pytest.raises(ik.DataError, match="30×30 at ×2 does not fit a clean one of 97×101"):
        list(TestSet(tmp_path).pairs(2))
    (tmp_path / "LR_bicubic" / "X2" / "catx2.png").unlink()
    with pytest.raises(ik.DataError, match=r"no low-resolution picture for cat\.png"):
        list(TestSet(tmp_path).pairs(2))
    with pytest.raises(ik.DataError, match="there is no folder"):
        TestSet(tmp_path / "none")
    with pytest.raises(ValueError, match="at least 1"):
        evaluate({}, TestSet(tmp_path), [0.5])


def test_pictures_of_one_name_do_not_vanish(tmp_path: Path, clean: torch.Tensor) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        ik.write_image(tmp_path / folder / "1.png", clean)
    with pytest.raises(ik.DataError, match="have one name"):
        list(TestSet(tmp_path).pairs(2))
