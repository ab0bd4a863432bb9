"""Protocols by name: the contract, what each does to pictures, and `implicitkit evaluate` with any of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import implicitkit as ik
from implicitkit import testing
from implicitkit.degradations.base import seeded
from implicitkit.evaluation import (
    Example,
    Scores,
    TestSet,
    as_degraded,
    bicubic,
    evaluate,
    evaluate_inpainting,
    evaluate_restoration,
    mean_fill,
)
from implicitkit.images.resize import resize
from implicitkit.metrics import l1, psnr, ssim
from oracles import PHOTOS
from oracles.models import small_model

NOISY_AND_SMALL = {
    "sigma 25": {"name": "noise", "sigma": 25},
    "blurred, x3": ["blur", {"name": "super_resolution", "scale": 3}],
}
SMALL = {
    "benchmark": {"scales": [2, 3.5]},
    "div2k": {"scales": [2]},
    "plain": {},
    "inpainting": {"size": 48, "bins": [[0, 20], [40, 60]]},
    "restoration": {"settings": NOISY_AND_SMALL, "size": 48},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    photo = ik.read_image(PHOTOS / "chelsea.png")
    (tmp_path / "pictures").mkdir()
    for k, name in enumerate(("a", "b")):
        ik.write_image(tmp_path / "pictures" / f"{name}.png", photo[:, 40 * k : 40 * k + 41, 100:150])
    return tmp_path / "pictures"


@pytest.mark.parametrize("name", ik.list_protocols())
def test_every_protocol_keeps_the_contract(name: str) -> None:
    testing.check_protocol({"name": name, **SMALL[name]})


def test_the_usual_options_of_restoration_keep_it() -> None:
    testing.check_protocol("restoration")


def test_they_call_the_functions_that_score_any_method(folder: Path) -> None:
    model = small_model(skip="bilinear")
    models = {"m": model}

    def upscale(low: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        return model.encode(low).render(size)

    def fill(seen: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return model.encode(seen).render(seen.shape[1:])

    found = ik.create_protocol("div2k", scales=[2]).evaluate(models, folder)
    expected = evaluate({"bicubic": bicubic, "m": upscale}, TestSet(folder), [2], "div2k")
    assert found.values == expected.values
    protocol = ik.create_protocol(
        "inpainting", size=32, bins=[[20, 40]], fill="mean", truncate=True, paste=True, seed=3
    )
    holes = {"name": "inpainting", "kind": "strokes", "fill": "mean"}
    how = {"size": 32, "truncate": True, "paste": True, "seed": 3}
    expected = evaluate_inpainting({"mean colour": mean_fill, "m": fill}, folder, [(20, 40)], holes, ["l1"], **how)
    found = protocol.evaluate(models, folder, metrics=["l1"], encode={"tile": 16, "precision": "float32"})
    for method, settings in expected.values.items():
        for metric, pictures in settings["20-40"].items():
            assert found.values[method]["20-40"][metric] == pytest.approx(pictures, rel=1e-4)  # tiles round otherwise
    assert found.records == expected.records


def test_restoration_is_the_degradation_undone(folder: Path) -> None:
    """Scores against a literal version: the record replayed, the degraded picture enlarged, three metrics."""
    scores = evaluate_restoration({"input": as_degraded}, folder, NOISY_AND_SMALL, size=32, seed=4)
    assert list(scores.units) == ["psnr", "ssim", "l1"] and scores.units["psnr"] == "dB"
    for place, name in enumerate("ab"):
        clean = (
            resize(ik.read_image(folder / f"{name}.png")[:, :, 4:45], (32, 32), "pil").clamp(0, 1) * 255
        ).round() / 255
        for label, spec in NOISY_AND_SMALL.items():
            degradation = ik.create_degradation(spec)
            record = json.loads(json.dumps(scores.records[label][name]))
            assert record == degradation.sample(clean.shape, seeded(4, *label.encode(), place))
            seen = degradation.apply(clean, record)
            size = (32, 32) if label == "sigma 25" else (30, 30)
            assert seen.reference.shape[1:] == size
            shown = seen.image if label == "sigma 25" else resize(seen.image, size, "matlab").clamp(0, 1)
            found = {metric: pictures[name] for metric, pictures in scores.values["input"][label].items()}
            expected = {f.__name__: f(shown, seen.reference) for f in (psnr, ssim, l1)}
            assert found == pytest.approx(expected, abs=1e-9)
    assert scores.values["input"]["sigma 25"]["psnr"]["a"] == pytest.approx(20.2, abs=1)  # 20 log10(255 / 25)
    alone = {"sigma 25": NOISY_AND_SMALL["sigma 25"]}
    again = evaluate_restoration({"input": as_degraded}, folder, alone, ["psnr"], size=32, seed=4)
    assert again.values["input"]["sigma 25"]["psnr"] == scores.values["input"]["sigma 25"]["psnr"]
    other = evaluate_restoration({"input": as_degraded}, folder, alone, ["psnr"], size=32, seed=5)
    assert other.values["input"]["sigma 25"]["psnr"] != scores.values["input"]["sigma 25"]["psnr"]


def test_a_restored_picture_has_the_clean_ones_size_and_the_mask_is_passed_on(folder: Path) -> None:
    spec = small_model().spec
    masked = {**spec, "encoder": {**spec["encoder"], "mask_channels": 1}, "inputs": ["image", "mask"]}
    model, seen = ik.create_model(masked).eval(), []
    model.encoder.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    settings = {"half, x2": [{"name": "inpainting", "kind": "half"}, {"name": "super_resolution", "scale": 2}]}
    scores = ik.create_protocol("restoration", settings=settings).evaluate({"m": model}, folder)
    assert [x.shape for x in seen] == [(1, 4, 20, 25)] * 2
    assert all(0.4 <= float(x[:, 3].mean()) <= 0.6 for x in seen)
    assert set(scores.values["m"]["half, x2"]["psnr"]) == {"a", "b"}


def test_masks_of_a_folder_are_brought_to_size_by_the_nearest_pixel(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    y, x = np.mgrid[:100, :90]
    large = ((y - 40) ** 2 + (x - 50) ** 2 < 900) | ((y // 10 + x // 10) % 5 == 0)  # 43 %
    ik.write_image(tmp_path / "masks" / "m.png", torch.from_numpy(large)[None].float())
    protocol = ik.create_protocol("inpainting", masks=str(tmp_path / "masks"), bins=[[20, 60]], size=0, fill=0.0)
    spec = small_model().spec
    masked = {**spec, "encoder": {**spec["encoder"], "mask_channels": 1}, "inputs": ["image", "mask"]}
    model, seen = ik.create_model(masked).eval(), []
    model.encoder.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    protocol.evaluate({"m": model}, folder, metrics=["l1"])
    nearest = [[large[int((i + 0.5) * 100 / 41), int((j + 0.5) * 90 / 50)] for j in range(50)] for i in range(41)]
    assert len(seen) == 2
    assert all(np.array_equal(x[0, 3].numpy() > 0, np.array(nearest)) for x in seen)


def test_options_are_checked() -> None:
    for spec, message in (
        ({"name": "inpaintin"}, "unknown protocol 'inpaintin'; did you mean 'inpainting'"),
        ({"name": "inpainting", "sise": 3}, "takes no 'sise'; did you mean 'size'"),
        ({"name": "inpainting", "size": "large"}, "protocol 'inpainting', size: input should be a valid integer"),
        ({"name": "inpainting", "size": -1}, "received -1"),
        ({"name": "inpainting", "bins": []}, "one at least; received none"),
        ({"name": "inpainting", "bins": [[40, 20]]}, "received 40-20"),
        ({"name": "inpainting", "kind": "strokes", "masks": "x"}, "give masks or kind, not both"),
        ({"name": "inpainting", "kind": "dots"}, "'dots'"),
        ({"name": "benchmark", "scales": [0.5]}, r"received \[0.5\]"),
        ({"name": "benchmark", "scales": []}, r"received \[\]"),
        ({"name": "restoration", "settings": {}}, "one at least; received none"),
        ({"name": "restoration", "settings": {"x": "noize"}}, "unknown degradation 'noize'; did you mean 'noise'"),
        ({"name": "restoration", "settings": {"x": {"name": "noise", "sgma": 3}}}, "did you mean 'sigma'"),
        ({"name": "restoration", "settings": {"25": "noise"}}, "such as 'sigma 25'; received '25'"),
        ({"name": "restoration", "settings": {"20-40": "noise"}}, "received '20-40'"),
        ({"name": "restoration", "settings": {"a|b": "noise"}}, "received 'a|b'"),
    ):
        with pytest.raises((ik.UserError, ValueError), match=message.replace("|", r"\|")):
            ik.create_protocol(spec)


def test_models_that_cannot_be_scored_are_refused(folder: Path) -> None:
    encoder = {"name": "edsr", "blocks": 1, "channels": 4}
    embedding = ik.create_model({"encoder": encoder, "decoder": {"name": "bilinear", "project": False}})
    for name in ik.list_protocols():
        protocol = ik.create_protocol({"name": name, **SMALL[name]})
        with pytest.raises(ik.UserError, match="theirs does not map RGB pictures to RGB pictures"):
            protocol.evaluate({"theirs": embedding}, folder)
        with pytest.raises(ik.UserError, match="rename the model"):
            protocol.evaluate({protocol.trivial: small_model()}, folder)


class Brightness(ik.Protocol):
    """A plugin's: how far the mean of what is rendered at ``size`` is from the picture's."""

    trivial_answers = {"grey": lambda example: torch.tensor(0.5)}  # noqa: RUF012

    def __init__(self, size: int = 8, labels: list[str] | None = None) -> None:
        self.size, self.labels = size, labels

    def count(self, data):
        return len(list(self.examples(data)))

    def examples(self, data):
        if not data.is_dir():
            raise ik.DataError(f"there is no folder {data}")
        for file in sorted(data.glob("*.png")):
            picture = ik.read_image(file)
            yield Example("mean", file.stem, picture, None, picture)

    def answer(self, model, data, encode):
        return lambda example: model.encode(example.image, **encode).render((self.size, self.size)).mean()

    def metrics(self, metrics):
        return []

    def new_scores(self, data, metrics):
        return Scores(units={"offset": ""})

    def score(self, prediction, example, metrics):
        return {"offset": abs(float(example.truth.mean()) - float(prediction))}


class WholeEvaluate(Brightness):
    """As plugins were written before protocols yielded examples: a name, and all of evaluate."""

    trivial = "grey"
    trivial_answers = {}  # noqa: RUF012

    def evaluate(self, models, data, *, metrics=None, encode=None, progress=None):
        self.admit(models)
        scores = Scores(units={"offset": ""})
        for k, example in enumerate(self.examples(data), start=1):
            scores.add("grey", "mean", "offset", example.name, abs(float(example.truth.mean()) - 0.5))
            for name, model in models.items():
                found = self.answer(model, data, encode or {})(example)
                scores.add(name, "mean", "offset", example.name, abs(float(example.truth.mean() - found)))
            if progress:
                progress(k, example.name)
        return scores


@pytest.fixture
def theirs() -> Iterator[None]:
    class Theirs:
        @ik.hookimpl
        def register_protocols(self, register):
            register("a_tests_brightness", Brightness, summary="a test's")
            register("a_tests_whole", WholeEvaluate, summary="another")

    registered = ik.register_plugin(Theirs())
    assert registered.provides == {"protocol": ["a_tests_brightness", "a_tests_whole"]}
    yield
    ik.unregister_plugin(registered)


@pytest.mark.usefixtures("theirs")
def test_a_protocol_that_writes_all_of_evaluate_still_works(folder: Path) -> None:
    testing.check_protocol("a_tests_whole")
    models = {"m": small_model()}
    whole, yielding = (ik.create_protocol(f"a_tests_{name}") for name in ("whole", "brightness"))
    assert whole.evaluate(models, folder).values == yielding.evaluate(models, folder).values


def test_who_asks_sees_every_prediction_and_its_time(folder: Path) -> None:
    seen: list[tuple[str, str, str]] = []

    def see(method: str, example: Example, prediction: torch.Tensor, seconds: float) -> None:
        assert prediction.shape == example.truth.shape and seconds > 0
        seen.append((method, example.setting, example.name))

    protocol, models = ik.create_protocol("plain", scales=[2, 3]), {"m": small_model()}
    scores = protocol.evaluate(models, folder, seen=see)
    assert seen == [(row, s, name) for s in "23" for name in "ab" for row in ("bicubic", "m")]
    alone = protocol.evaluate(models, folder, trivial=False)
    assert alone.values == {"m": scores.values["m"]}


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


@pytest.mark.usefixtures("theirs")
def test_a_protocol_that_breaks_the_contract_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, whole = "a_tests_brightness", Brightness.evaluate

    def random(self, models, data, **how):
        scores = whole(self, models, data, **how)
        for name in models:
            scores.values[name]["mean"]["offset"]["0"] += float(torch.rand(()))
        return scores

    def last(self, models, data, **how):
        scores = whole(self, models, data, **how)
        scores.values[self.trivial] = scores.values.pop(self.trivial)
        return scores

    def silent(self, models, data, progress=None, **how):
        return whole(self, models, data, **how)

    def careless(self, models, data, **how):
        return whole(self, dict(list(models.items())[:1]), data, **how)

    for broken, message in (
        (random, "torch's global random state was used"),
        (last, r"not the trivial methods \['grey'\]"),
        (silent, "count says 2 steps; with 1 models they are"),
        (careless, "the rows are"),
    ):
        monkeypatch.setattr(Brightness, "evaluate", broken)
        with pytest.raises(AssertionError, match=message):
            testing.check_protocol(spec)
    monkeypatch.setattr(Brightness, "evaluate", whole)
    monkeypatch.setattr(Brightness, "admit", lambda self, models: None)
    with pytest.raises(AssertionError, match="a model called 'grey' is not refused"):
        testing.check_protocol(spec)


# ---------------------------------------------------------------------------- from the command line


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
