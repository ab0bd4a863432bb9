"""How the words of `implicitkit evaluate` are read, in every spelling that was ever documented."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import implicitkit as ik
from implicitkit import testing
from implicitkit.cli.models.evaluate import rewrite
from implicitkit.config import apply_settings
from implicitkit.errors import UserError
from implicitkit.evaluation import evaluate_inpainting, mean_fill
from implicitkit.evaluation.inpainting import SOLVERS
from oracles import PARITY, PHOTOS
from oracles.models import small_model
from oracles.protocols import Brightness


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--scales 2 3 4 6", ["--scales", "2 3 4 6"]),
        ("--scales 2,3.5 -o r.json", ["--scales", "2,3.5", "-o", "r.json"]),
        ("--scales=2 3 --force", ["--scales", "2 3", "--force"]),
        ("--bins 0-20 20-40 --metrics psnr ssim", ["--set", 'bins="0-20 20-40"', "--metrics", "psnr ssim"]),
        ("--data DIR --scales", ["--data", "DIR", "--scales"]),
        ("--size 128 --seed=3", ["--set", "size=128", "--set", "seed=3"]),
        ("--truncate --paste", ["--set", "truncate=true", "--set", "paste=true"]),
        ("--size -1", ["--set", "size=-1"]),
        ("--set size=3 --model m", ["--set", "size=3", "--model", "m"]),
    ],
)
def test_lists_are_joined_and_flags_become_settings(words: str, expected: list[str]) -> None:
    assert list(rewrite(words.split())) == expected


def test_paths_are_taken_as_they_are() -> None:
    for path in ("1e3", "a: b", "[x]", "masks #2", "true"):
        for flag, key in (("--masks", "masks"), ("--lpips-weights", "lpips_weights")):
            _, setting = rewrite([flag, path])
            assert apply_settings({}, [setting]) == {key: path}


def test_a_flag_without_its_value_is_said() -> None:
    with pytest.raises(UserError, match="--masks needs a value"):
        list(rewrite(["--masks"]))


def test_evaluate_prints_a_table_and_writes_json(run, tmp_path: Path) -> None:
    pictures = tmp_path / "set"
    pictures.mkdir()
    ik.write_image(pictures / "cat.png", ik.read_image(PHOTOS / "chelsea.png")[:, 60:120, 100:180])
    weights = small_model(skip="bilinear").save(tmp_path / "m.safetensors")
    done = run(
        "evaluate", "--model", weights, "--data", pictures, "--scales", "2", "3.5", "6", "-o", tmp_path / "r.json"
    )
    assert done.code == 0, done.err
    assert done.out.splitlines()[0] == "| PSNR-Y, dB | ×2 | ×3.5 | ×6 |"
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["mean"]["bicubic"].keys() == {"2", "3.5", "6"}
    assert report["per_picture"]["m"]["2"]["psnr_y"].keys() == {"cat"}
    assert report["machine"] and report["protocol"] == "benchmark"
    assert "unknown protocol 'x'" in run("evaluate", "--model", weights, "--data", pictures, "--protocol", "x").err
    assert "received '2 x'" in run("evaluate", "--model", weights, "--data", pictures, "--scales", "2 x").err
    assert "pass --data" in run("evaluate", "--model", weights).err
    assert (
        "exists; pass --force" in run("evaluate", "--model", weights, "--data", pictures, "-o", tmp_path / "r.json").err
    )
    assert "no folder" in run("evaluate", "--model", weights, "--data", pictures, "-o", tmp_path / "no" / "r.json").err
    assert "--scales is empty" in run("evaluate", "--model", weights, "--data", pictures, "--scales", "").err
    assert "from 1 to 1000" in run("evaluate", "--model", weights, "--data", pictures, "--scales", ",").err
    (tmp_path / "empty").mkdir()
    assert "holds no pictures" in run("evaluate", "--model", weights, "--data", tmp_path / "empty").errors[0]


@pytest.mark.usefixtures("theirs")
def test_a_plugins_protocol_through_the_command(run, folder: Path, tmp_path: Path) -> None:
    testing.check_protocol({"name": "a_tests_brightness", "size": 5})
    weights = small_model().save(tmp_path / "m.safetensors")
    call = ("evaluate", "--model", weights, "--data", folder, "--protocol", "a_tests_brightness")
    done = run(*call, "--size", 6, "--set", "labels=[x, y]", "-o", tmp_path / "r.json")
    assert done.code == 0, done.err
    assert done.out.splitlines()[0] == "| OFFSET | mean |" and "evaluating 2/2" in done.err
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["size"] == 6 and report["labels"] == ["x", "y"]
    expected = Brightness(6).evaluate({"m": ik.load_model(weights)}, folder)
    assert report["per_picture"] == expected.values
    for flags, message in (
        (["--bins", "0-20"], "--bins has no meaning for --protocol a_tests_brightness"),
        (["--truncate"], "--truncate has no meaning for --protocol a_tests_brightness"),
        (["--set", "sizes=3"], "takes no 'sizes'; did you mean 'size'"),
        (["--set", "size"], "--set takes key.sub=value; received 'size'"),
        (["--set", "name=plain"], "takes no 'name'"),
        (["--set", "size=big"], "size: input should be a valid integer"),
    ):
        wrong = run(*call, *flags)
        assert wrong.code == 2 and len(wrong.errors) == 1 and message in wrong.errors[0], wrong.err
    assert "a_tests_brightness" in run("list", "protocols").out


def test_restoration_from_the_command_line(run, folder: Path, tmp_path: Path) -> None:
    weights = small_model(skip="bilinear").save(tmp_path / "m.safetensors")
    settings = "settings={'sigma 25': {name: noise, sigma: 25}, 'x2': {name: super_resolution, scale: 2}}"
    call = ("evaluate", "--model", weights, "--data", folder, "--protocol", "restoration", "--size", 32, "--seed", 1)
    done = run(*call, "--set", settings, "--metrics", "psnr", "l1", "-o", tmp_path / "r.json")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0] == "| PSNR, dB / L1 | sigma 25 | x2 |"
    assert lines[2].startswith("| degraded input | ") and lines[3].startswith("| m | ")
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["settings"]["sigma 25"] == {"name": "noise", "sigma": 25}
    assert report["size"] == 32 and report["seed"] == 1 and set(report["records"]["x2"]) == {"a", "b"}
    wrong = run(*call, "--bins", "0-20")
    assert wrong.errors == ["error: --bins has no meaning for --protocol restoration"]


def test_set_reaches_what_flags_reach(run, folder: Path, tmp_path: Path) -> None:
    weights = small_model().save(tmp_path / "m.safetensors")
    call = ("evaluate", "--model", weights, "--data", folder, "--protocol", "inpainting")
    flags = run(*call, "--size", "32", "--bins", "0-20", "40-60", "--fill", "0.25", "--paste")
    sets = run(
        *call, *(w for s in ("size=32", "bins=[[0, 20], [40, 60]]", "fill=0.25", "paste=true") for w in ("--set", s))
    )
    assert flags.code == 0 and flags.out == sets.out


def test_the_command_prints_both_tables_and_writes_json(run, squares: Path, tmp_path: Path) -> None:
    weights, report = small_model(skip="bilinear").save(tmp_path / "m.safetensors"), tmp_path / "r.json"
    given = ("evaluate", "--protocol", "inpainting", "--model", weights, "--data", squares, "--size", 32)
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
    expected = evaluate_inpainting({"mean": mean_fill}, squares, truncate=True, size=32, bins=[(0, 20), (40, 60)])
    assert written["mean"]["mean colour"] == expected.means()["mean"]


def test_a_model_that_takes_a_mask_is_given_it(run, squares: Path, tmp_path: Path) -> None:
    spec = ik.load_model(PARITY / "liif-edsr.pth").spec
    masked = {**spec, "encoder": {**spec["encoder"], "mask_channels": 1}, "inputs": ["image", "mask"]}
    weights = ik.create_model(masked).save(tmp_path / "masked.safetensors")
    given = ("evaluate", "--protocol", "inpainting", "--model", weights, "--data", squares, "--size", 32)
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
        (["--metrics", ","], "--metrics are names"),
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
def test_what_is_wrong_is_one_line(run, squares: Path, tmp_path: Path, flags: list[str], message: str) -> None:
    weights = small_model().save(tmp_path / "m.safetensors")
    done = run("evaluate", "--model", weights, "--data", squares, "--protocol", "inpainting", *flags)
    assert done.code == 2 and len(done.errors) == 1 and message in done.errors[0], done.err


def test_every_model_has_a_row_named_by_its_run(run, folder: Path, tmp_path: Path) -> None:
    small = small_model(skip="bilinear")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        with torch.no_grad():
            next(small.decoder.parameters()).mul_(1.5)
        small.save(tmp_path / name / "best.safetensors")
    files = [str(tmp_path / name / "best.safetensors") for name in ("a", "b")]
    call = ("evaluate", "--data", folder, "--scales", "2")
    both = run(*call, "--model", files[0], "--model", files[1], "-o", tmp_path / "both.json")
    assert both.code == 0, both.err
    assert [line.split(" | ")[0] for line in both.out.splitlines()[2:5]] == ["| bicubic", "| a", "| b"]
    together = json.loads((tmp_path / "both.json").read_text())
    assert together["models"] == {"a": files[0], "b": files[1]} and "model" not in together
    for name, file in zip("ab", files, strict=True):
        run(*call, "--model", file, "-o", tmp_path / f"{name}.json")
        alone = json.loads((tmp_path / f"{name}.json").read_text())
        assert alone["model"] == file and alone["mean"][name] == together["mean"][name]
    twice = run(*call, "--model", files[0], "--model", files[0])
    assert twice.errors == [f"error: {files[0]} is given twice; a table has a row for each model"]


@pytest.mark.parametrize("protocol", ["benchmark", "inpainting", "restoration"])
def test_a_picture_that_fails_costs_no_other_its_scores(run, folder: Path, tmp_path: Path, protocol: str) -> None:
    weights = small_model(skip="bilinear").save(tmp_path / "m.safetensors")
    options = {"benchmark": ["--scales", "2"], "inpainting": ["--size", "16", "--bins", "0-20"], "restoration": []}
    call = ("evaluate", "--model", weights, "--data", folder, "--protocol", protocol, *options[protocol])
    whole = run(*call, "-o", tmp_path / "whole.json")
    assert whole.code == 0, whole.err
    (folder / "z.png").write_bytes(b"\x89PNG\r\n\x1a\n, and no more")
    done = run(*call, "-o", tmp_path / "r.json")
    assert done.code == 2 and done.errors == ["error: 1 of the pictures failed; the scores are of the others"]
    assert any(line.startswith("left out z: ") and "z.png" in line for line in done.err.splitlines())
    before, after = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("whole", "r"))
    assert after["mean"] == before["mean"] and list(after["failed"]) == ["z"]


def test_options_of_the_decoders(run, tmp_path: Path) -> None:
    pictures = tmp_path / "set"
    pictures.mkdir()
    ik.write_image(pictures / "cat.png", ik.read_image(PHOTOS / "chelsea.png")[:, 60:92, 100:132])
    encoder = {"name": "edsr", "blocks": 1, "channels": 4}
    linf = ik.create_model({"encoder": encoder, "decoder": {"name": "linf", "width": 8, "depth": 1}})
    weights = linf.save(tmp_path / "linf.safetensors")
    call = ("evaluate", "--model", weights, "--data", pictures, "--scales", "2", "--force", "-o", tmp_path / "r.json")
    scores = {}
    for options in ((), ("--option", "temperature=0.8"), ("--option", "temperature=0.8", "--option", "seed=1")):
        assert run(*call, *options).code == 0
        report = json.loads((tmp_path / "r.json").read_text())
        scores[options] = report["mean"]["linf"]["2"]["psnr_y"]
    assert report["options"] == {"temperature": 0.8, "seed": 1}
    assert len(set(scores.values())) == 3
    other = small_model().save(tmp_path / "liif.safetensors")
    for wrong, message in (
        (("--option", "heat=1"), "linf has no option 'heat'; it knows temperature, seed"),
        (("--option", "temperature=hot"), "the option temperature of linf is a finite number; received 'hot'"),
        (("--option", "temperature"), "--option takes KEY=VALUE; received 'temperature'"),
        (("--option", "seed=1", "--model", other), "liif has no option 'seed'; it takes none"),
    ):
        done = run(*call, *wrong)
        assert done.code == 2 and message in done.err and done.err.count("\n") == 1
