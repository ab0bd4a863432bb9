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
from oracles import PARITY, PHOTOS
from oracles.models import small_model

SMALL = {"size": 32, "bins": [(0, 20), (40, 60)]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    photo = ik.read_image(PHOTOS / "chelsea.png")
    (tmp_path / "pictures").mkdir()
    for k, name in enumerate(("a", "b", "c")):
        ik.write_image(tmp_path / "pictures" / f"{name}.png", photo[:, 40 * k : 40 * k + 32, 100:132])
    return tmp_path / "pictures"


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


def test_solvers_leave_known_pixels_and_beat_the_mean_colour(folder: Path) -> None:
    scores = evaluate_inpainting(SOLVERS, folder, [(20, 40)], metrics=["psnr", "l1"], size=32)
    means = {name: scores.mean(name, "20-40", "psnr_hole") for name in SOLVERS}
    assert max(means, key=means.get) != "mean colour" and means["harmonic"] > means["mean colour"] + 1
    assert all(scores.mean(name, "20-40", "l1") < scores.mean(name, "20-40", "l1_hole") / 2 for name in SOLVERS)


def test_open_cv_inpaints_on_8_bits() -> None:
    pytest.importorskip("cv2")
    grey = torch.full((3, 9, 9), 100 / 255)
    mask = torch.zeros(1, 9, 9)
    mask[:, 3:6, 3:6] = 1
    assert torch.equal(navier_stokes(torch.where(mask > 0, 1.0, grey), mask), grey)


def test_solvers_can_be_left_out(folder: Path) -> None:
    protocol = ik.create_protocol("inpainting", size=32, bins=[[20, 40]], solvers=False)
    assert protocol.trivial_rows == ["mean colour"] == list(protocol.evaluate({}, folder, metrics=["l1"]).values)


@pytest.mark.parametrize("truncate", [False, True])
def test_scores_are_scikit_images_on_8_bits(folder: Path, truncate: bool) -> None:
    """PSNR and SSIM as a script with uint8 arrays has them, L1 on the values themselves; whole picture and hole."""
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def spy(image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        seen.append((shifted(image, mask), mask))
        return seen[-1][0]

    scores = evaluate_inpainting({"m": spy}, folder, truncate=truncate, **SMALL)
    order = [(name, setting) for name in "abc" for setting in ("0-20", "40-60")]
    assert len(seen) == len(order)
    for (name, setting), (prediction, mask) in zip(order, seen, strict=True):
        clean = ik.read_image(folder / f"{name}.png")
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


def test_holes_lie_in_their_bin_and_are_recorded(folder: Path) -> None:
    scores = evaluate_inpainting({"mean": mean_fill, "shifted": shifted}, folder, **SMALL)
    assert scores.values.keys() == {"mean", "shifted"} and scores.values["mean"].keys() == {"0-20", "40-60"}
    for setting, low, high in (("0-20", 0.01, 0.2), ("40-60", 0.4, 0.6)):
        records = scores.records[setting]
        assert records.keys() == scores.values["mean"][setting]["psnr"].keys() == {"a", "b", "c"}
        assert all(low <= record["hole_ratio"] <= high for record in records.values())
        assert len({record["seed"] for record in records.values()}) == 3  # each picture has its own hole
    record = json.loads(json.dumps(scores.records["40-60"]["b"]))
    holes = ik.create_degradation({"name": "inpainting", "kind": "strokes", "ratio": [0.4, 0.6]})
    again = holes.apply(ik.read_image(folder / "b.png"), record)
    assert float(again.mask.mean()) == pytest.approx(record["hole_ratio"], abs=1e-6)
    assert scores.values == evaluate_inpainting({"mean": mean_fill, "shifted": shifted}, folder, **SMALL).values
    other = evaluate_inpainting({"mean": mean_fill}, folder, seed=1, **SMALL)
    assert other.values["mean"] != scores.values["mean"]
    one_bin = evaluate_inpainting({"mean": mean_fill}, folder, bins=[(40, 60)], size=32)
    assert one_bin.values["mean"]["40-60"] == scores.values["mean"]["40-60"]  # the other bins change nothing


def test_pasting_leaves_the_hole_alone(folder: Path) -> None:
    plain, pasted = (evaluate_inpainting({"m": shifted}, folder, paste=p, **SMALL) for p in (False, True))
    for metric in ("psnr_hole", "l1_hole"):
        assert plain.values["m"]["0-20"][metric] == pasted.values["m"]["0-20"][metric]
    for name in "abc":
        ratio = pasted.records["0-20"][name]["hole_ratio"]
        values = {metric: pictures[name] for metric, pictures in pasted.values["m"]["0-20"].items()}
        assert values["l1"] == pytest.approx(ratio * values["l1_hole"], rel=1e-6)
        assert values["psnr"] > plain.values["m"]["0-20"]["psnr"][name]


def test_masks_come_from_a_folder(folder: Path, tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    for k, rows in enumerate((1, 4, 20)):  # 2.5, 10 and 50 % of 40 rows
        mask = torch.zeros(1, 40, 40)
        mask[:, :rows] = 1
        ik.write_image(masks / f"{k}.png", mask)
    holes = {"name": "inpainting", "kind": "folder", "folder": str(masks), "augment": False}
    scores = evaluate_inpainting({"mean": mean_fill}, folder, holes=holes, metrics=["l1"], **SMALL)
    assert {record["file"] for record in scores.records["40-60"].values()} == {"2.png"}
    assert {record["file"] for record in scores.records["0-20"].values()} <= {"0.png", "1.png"}
    clean = ik.read_image(folder / "a.png")
    mask = torch.zeros(1, 32, 32)
    mask[:, :16] = 1
    known = clean[:, 16:].mean((1, 2), keepdim=True)
    expected = float((clean[:, :16] - known).abs().mean())
    assert scores.values["mean"]["40-60"]["l1_hole"]["a"] == pytest.approx(expected, abs=1e-6)
    with pytest.raises(ik.DataError, match="none of the 3 masks"):
        evaluate_inpainting({"mean": mean_fill}, folder, [(60, 90)], holes, size=32)


def test_pictures_are_squares_of_one_size() -> None:
    picture = ik.read_image(PHOTOS / "chelsea.png")  # 300 x 451
    assert torch.equal(prepare(picture, None), picture)
    assert torch.equal(prepare(picture, 300), picture[:, :, 75:375])
    small = prepare(picture, 100)
    exact = resize(picture[:, :, 75:375], (100, 100), "pil").clamp(0, 1)
    assert (small - exact).abs().max() <= 0.5 / 255 + 1e-6
    assert torch.equal((small * 255).round() / 255, small)
    assert torch.equal(prepare(picture[:, :64, :64], 64), picture[:, :64, :64])
    with pytest.raises(ik.DataError, match="cat has 300×451 pixels, the protocol 301×301"):
        prepare(picture, 301, "cat")


def test_only_some_metrics_have_a_hole(folder: Path, tmp_path: Path) -> None:
    from torchvision.models import squeezenet1_1

    file = tmp_path / "features.pth"
    state = squeezenet1_1(weights=None).state_dict()
    torch.save({key: value for key, value in state.items() if key.startswith("features.")}, file)
    measures = ["psnr", {"name": "lpips_squeeze", "weights": str(file)}]
    scores = evaluate_inpainting({"mean": mean_fill}, folder, [(20, 40)], metrics=measures, size=32)
    file.unlink()
    assert list(scores.units) == ["psnr", "lpips_squeeze", "psnr_hole"]
    assert scores.mean("mean", "20-40", "lpips_squeeze") > 0
    assert markdown_table(scores, ["psnr", "lpips_squeeze"]).splitlines()[0] == "| PSNR, dB / LPIPS-SQUEEZE | 20–40 % |"


def test_bins_are_percentages(folder: Path) -> None:
    for low, high in ((40, 20), (-1, 20), (20, 101), (0, 0)):
        with pytest.raises(ValueError, match=f"received {low}-{high}"):
            evaluate_inpainting({"mean": mean_fill}, folder, [(low, high)], size=32)


# ---------------------------------------------------------------------------- from the command line


def test_the_command_prints_both_tables_and_writes_json(run, folder: Path, tmp_path: Path) -> None:
    weights, report = small_model(skip="bilinear").save(tmp_path / "m.safetensors"), tmp_path / "r.json"
    given = ("evaluate", "--protocol", "inpainting", "--model", weights, "--data", folder, "--size", 32)
    done = run(*given, "--bins", "0-20", "40-60", "--truncate", "-o", report)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0] == "whole picture:" and lines[2] == "| PSNR, dB / SSIM / L1 | 0–20 % | 40–60 % |"
    rows = [line.split(" | ")[0].removeprefix("| ") for line in lines[4 : 5 + len(SOLVERS)]]
    assert rows == [*SOLVERS, "m"] and rows[:3] == ["mean colour", "harmonic", "biharmonic"]
    assert "| PSNR-HOLE, dB / SSIM-HOLE / L1-HOLE | 0–20 % | 40–60 % |" in lines
    written = json.loads(report.read_text())
    assert written["per_picture"]["m"]["40-60"]["psnr_hole"].keys() == {"a", "b", "c"}
    assert written["truncate"] is True and written["paste"] is False and written["size"] == 32
    assert written["holes"] == {"name": "inpainting", "kind": "strokes", "fill": 0.5}
    assert 0.4 <= written["records"]["40-60"]["a"]["hole_ratio"] <= 0.6
    expected = evaluate_inpainting({"mean": mean_fill}, folder, truncate=True, **SMALL)
    assert written["mean"]["mean colour"] == expected.means()["mean"]


def test_a_model_that_takes_a_mask_is_given_it(run, folder: Path, tmp_path: Path) -> None:
    spec = ik.load_model(PARITY / "liif-edsr.pth").spec
    masked = {**spec, "encoder": {**spec["encoder"], "mask_channels": 1}, "inputs": ["image", "mask"]}
    weights = ik.create_model(masked).save(tmp_path / "masked.safetensors")
    given = ("evaluate", "--protocol", "inpainting", "--model", weights, "--data", folder, "--size", 32)
    done = run(*given, "--bins", "20-40", "--metrics", "psnr", "l1")
    assert done.code == 0, done.err
    assert "| PSNR, dB / L1 | 20–40 % |" in done.out and "| masked | " in done.out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--scales", "2"], "--scales has no meaning for --protocol inpainting"),
        (["--bins", "20-10"], "--bins are hole ratios in percent such as '0-20 20-40'; received '20-10'"),
        (["--bins", "few"], "received 'few'"),
        (["--metrics", "sim"], "unknown metric 'sim'; did you mean 'ssim'"),
        (["--metrics", ""], "--metrics are names"),
        (["extra"], "unexpected extra argument"),
        (["--size", "-1"], "received -1"),
        (["--size", "64"], "a.png has 32×32 pixels, the protocol 64×64"),
        (["--fill", "purple", "--size", "32"], "received 'purple'"),
        (["--kind", "dots"], "'dots'"),
        (["--kind", "boxes", "--masks", "."], "give --masks or --kind, not both"),
        (["--masks", "nowhere"], "there is no folder nowhere"),
        (["--metrics", "lpips", "--lpips-weights", "nowhere.pth"], "there is no file nowhere.pth"),
        (["--lpips-weights", "nowhere.pth"], "no meaning without --metrics lpips"),
        (["--protocol", "plain", "--truncate"], "--truncate has no meaning for --protocol plain"),
        (["--protocol", "benchmark", "--seed", "0"], "--seed has no meaning for --protocol benchmark"),
    ],
)
def test_what_is_wrong_is_one_line(run, folder: Path, tmp_path: Path, flags: list[str], message: str) -> None:
    weights = small_model().save(tmp_path / "m.safetensors")
    done = run("evaluate", "--model", weights, "--data", folder, "--protocol", "inpainting", *flags)
    assert done.code == 2 and len(done.errors) == 1 and message in done.errors[0], done.err
