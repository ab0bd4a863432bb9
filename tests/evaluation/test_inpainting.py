"""The inpainting protocol: what is masked, what is scored, and on which pixels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

import implicitkit as ik
from implicitkit.evaluation import evaluate_inpainting, markdown_table, mean_fill
from implicitkit.evaluation.inpainting import SOLVERS, navier_stokes, prepare
from implicitkit.images.resize import resize
from oracles import PHOTOS

SMALL = {"size": 32, "bins": [(0, 20), (40, 60)]}


def shifted(seen: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """A method that changes known pixels too: by 2.6 levels, which rounds to 3 and truncates to 2."""
    return mean_fill(seen, mask) + 2.6 / 255


def pixels(picture: torch.Tensor) -> np.ndarray:
    return (picture * 255).round().to(torch.uint8).numpy()


def test_mean_fill_is_the_mean_of_what_is_known() -> None:
    image, mask = torch.rand(3, 4, 5), torch.zeros(1, 4, 5)
    mask[0, 1:3, 2:] = 1
    filled = mean_fill(image, mask)
    for c in range(3):
        known = [float(image[c, y, x]) for y in range(4) for x in range(5) if mask[0, y, x] == 0]
        assert filled[c, 1, 2].item() == pytest.approx(sum(known) / len(known), abs=1e-6)
        assert torch.equal(filled[c][mask[0] == 0], image[c][mask[0] == 0])
    assert torch.equal(mean_fill(image, torch.ones(1, 4, 5)), torch.full((3, 4, 5), 0.5))


def test_solvers_leave_known_pixels_and_beat_the_mean_colour(squares: Path) -> None:
    scores = evaluate_inpainting(SOLVERS, squares, [(20, 40)], metrics=["psnr", "l1"], size=32)
    means = {name: scores.mean(name, "20-40", "psnr_hole") for name in SOLVERS}
    assert max(means, key=means.get) != "mean colour" and means["harmonic"] > means["mean colour"] + 1
    assert all(scores.mean(name, "20-40", "l1") < scores.mean(name, "20-40", "l1_hole") / 2 for name in SOLVERS)


def test_open_cv_inpaints_on_8_bits() -> None:
    pytest.importorskip("cv2")
    grey = torch.full((3, 9, 9), 100 / 255)
    mask = torch.zeros(1, 9, 9)
    mask[:, 3:6, 3:6] = 1
    assert torch.equal(navier_stokes(torch.where(mask > 0, 1.0, grey), mask), grey)


def test_solvers_can_be_left_out(squares: Path) -> None:
    protocol = ik.create_protocol("inpainting", size=32, bins=[[20, 40]], solvers=False)
    assert protocol.trivial_rows == ["mean colour"] == list(protocol.evaluate({}, squares, metrics=["l1"]).values)


@pytest.mark.parametrize("truncate", [False, True])
def test_scores_are_scikit_images_on_8_bits(squares: Path, truncate: bool) -> None:
    """PSNR and SSIM as a script with uint8 arrays has them, L1 on the values themselves; whole picture and hole."""
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def spy(image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        seen.append((shifted(image, mask), mask))
        return seen[-1][0]

    scores = evaluate_inpainting({"m": spy}, squares, truncate=truncate, **SMALL)
    order = [(name, setting) for name in "abc" for setting in ("0-20", "40-60")]
    assert len(seen) == len(order)
    for (name, setting), (prediction, mask) in zip(order, seen, strict=True):
        clean = ik.read_image(squares / f"{name}.png")
        levels = prediction.clamp(0, 1).double().numpy() * 255
        x, y = levels.astype(np.uint8) if truncate else np.round(levels).astype(np.uint8), pixels(clean)
        similarity, full = structural_similarity(x, y, channel_axis=0, full=True)
        inside = mask[0].numpy() > 0
        core = np.zeros_like(inside)
        core[3:-3, 3:-3] = inside[3:-3, 3:-3]
        difference = np.abs(prediction.clamp(0, 1).double().numpy() - clean.double().numpy())
        expected = {
            "psnr": peak_signal_noise_ratio(y, x),
            "ssim": similarity,
            "l1": difference.mean(),
            "psnr_hole": peak_signal_noise_ratio(y[:, inside], x[:, inside]),
            "ssim_hole": full[:, core].mean(),
            "l1_hole": difference[:, inside].mean(),
        }
        found = {metric: values[name] for metric, values in scores.values["m"][setting].items()}
        assert found == pytest.approx(expected, abs=1e-6)


def test_holes_lie_in_their_bin_and_are_recorded(squares: Path) -> None:
    scores = evaluate_inpainting({"mean": mean_fill, "shifted": shifted}, squares, **SMALL)
    assert scores.values.keys() == {"mean", "shifted"} and scores.values["mean"].keys() == {"0-20", "40-60"}
    for setting, low, high in (("0-20", 0.01, 0.2), ("40-60", 0.4, 0.6)):
        records = scores.records[setting]
        assert records.keys() == scores.values["mean"][setting]["psnr"].keys() == {"a", "b", "c"}
        assert all(low <= record["hole_ratio"] <= high for record in records.values())
        assert len({record["seed"] for record in records.values()}) == 3  # each picture has its own hole
    record = json.loads(json.dumps(scores.records["40-60"]["b"]))
    holes = ik.create_degradation({"name": "inpainting", "kind": "strokes", "ratio": [0.4, 0.6]})
    again = holes.apply(ik.read_image(squares / "b.png"), record)
    assert float(again.mask.mean()) == pytest.approx(record["hole_ratio"], abs=1e-6)
    assert scores.values == evaluate_inpainting({"mean": mean_fill, "shifted": shifted}, squares, **SMALL).values
    other = evaluate_inpainting({"mean": mean_fill}, squares, seed=1, **SMALL)
    assert other.values["mean"] != scores.values["mean"]
    one_bin = evaluate_inpainting({"mean": mean_fill}, squares, bins=[(40, 60)], size=32)
    assert one_bin.values["mean"]["40-60"] == scores.values["mean"]["40-60"]  # the other bins change nothing


def test_pasting_leaves_the_hole_alone(squares: Path) -> None:
    plain, pasted = (evaluate_inpainting({"m": shifted}, squares, paste=p, **SMALL) for p in (False, True))
    for metric in ("psnr_hole", "l1_hole"):
        assert plain.values["m"]["0-20"][metric] == pasted.values["m"]["0-20"][metric]
    for name in "abc":
        ratio = pasted.records["0-20"][name]["hole_ratio"]
        values = {metric: pictures[name] for metric, pictures in pasted.values["m"]["0-20"].items()}
        assert values["l1"] == pytest.approx(ratio * values["l1_hole"], rel=1e-6)
        assert values["psnr"] > plain.values["m"]["0-20"]["psnr"][name]


def test_masks_come_from_a_folder(squares: Path, tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    for k, rows in enumerate((1, 4, 20)):  # 2.5, 10 and 50 % of 40 rows
        mask = torch.zeros(1, 40, 40)
        mask[:, :rows] = 1
        ik.write_image(masks / f"{k}.png", mask)
    holes = {"name": "inpainting", "kind": "folder", "folder": str(masks), "augment": False}
    scores = evaluate_inpainting({"mean": mean_fill}, squares, holes=holes, metrics=["l1"], **SMALL)
    assert {record["file"] for record in scores.records["40-60"].values()} == {"2.png"}
    assert {record["file"] for record in scores.records["0-20"].values()} <= {"0.png", "1.png"}
    clean = ik.read_image(squares / "a.png")
    mask = torch.zeros(1, 32, 32)
    mask[:, :16] = 1
    known = clean[:, 16:].mean((1, 2), keepdim=True)
    expected = float((clean[:, :16] - known).abs().mean())
    assert scores.values["mean"]["40-60"]["l1_hole"]["a"] == pytest.approx(expected, abs=1e-6)
    with pytest.raises(ik.DataError, match="none of the 3 masks"):
        evaluate_inpainting({"mean": mean_fill}, squares, [(60, 90)], holes, size=32)


def test_pictures_are_squares_of_one_size() -> None:
    picture = ik.read_image(PHOTOS / "chelsea.png")  # 300 x 451
    assert torch.equal(prepare(picture, None), picture)
    assert torch.equal(prepare(picture, 300), picture[:, :, 75:375])
    small = prepare(picture, 100)
    exact = resize(picture[:, :, 75:375], (100, 100), "pil").clamp(0, 1)
    assert (small - exact).abs().max() <= 0.5 / 255 + 1e-6
    assert torch.equal((small * 255).round() / 255, small)
    assert torch.equal(prepare(picture[:, :64, :64], 64), picture[:, :64, :64])
    with pytest.raises(ik.DataError, match="cat has 451×300 pixels, the protocol 301×301"):
        prepare(picture, 301, "cat")


def test_only_some_metrics_have_a_hole(squares: Path, tmp_path: Path) -> None:
    from torchvision.models import squeezenet1_1

    file = tmp_path / "features.pth"
    state = squeezenet1_1(weights=None).state_dict()
    torch.save({key: value for key, value in state.items() if key.startswith("features.")}, file)
    measures = ["psnr", {"name": "lpips_squeeze", "weights": str(file)}]
    scores = evaluate_inpainting({"mean": mean_fill}, squares, [(20, 40)], metrics=measures, size=32)
    file.unlink()
    assert list(scores.units) == ["psnr", "lpips_squeeze", "psnr_hole"]
    assert scores.mean("mean", "20-40", "lpips_squeeze") > 0
    assert markdown_table(scores, ["psnr", "lpips_squeeze"]).splitlines()[0] == "| PSNR, dB / LPIPS-SQUEEZE | 20–40 % |"


def test_bins_are_percentages(squares: Path) -> None:
    for low, high in ((40, 20), (-1, 20), (20, 101), (0, 0)):
        with pytest.raises(ValueError, match=f"received {low}-{high}"):
            evaluate_inpainting({"mean": mean_fill}, squares, [(low, high)], size=32)
