"""Models pushed to a local stand-in of the hub by its real client, and loaded back from there; and their cards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import implicitkit as ik
from implicitkit.weights.hub import model_card, scores_of
from oracles.hub import COMMIT, TOKEN, Hub
from oracles.package_index import serving

SUMMARY: dict[str, Any] = {
    "steps": 7,
    "trained_on": "T91 | halved",
    "degradation": [{"name": "super_resolution", "scale": [1, 4]}],
    "validation_psnr_y": {"x2": 30.25},
    "scores": {"Set5": {"psnr_y x2": 37.99, "psnr_y x3": 34.4}},
}


def trained(license: str = "Apache-2.0") -> ik.ImplicitModel:
    model = ik.create_model({"encoder": {"name": "edsr", "blocks": 1, "channels": 4}, "decoder": "liif"}).eval()
    model.training_summary, model.license = SUMMARY, license
    return model


def metadata(card: str) -> dict[str, Any]:
    head, _, _ = card.removeprefix("---\n").partition("\n---\n")
    return yaml.safe_load(head)  # type: ignore[no-any-return]


@pytest.fixture
def hub() -> Iterator[str]:
    Hub.repositories, Hub.private, Hub.large = {}, {}, {}
    with serving(Hub) as address:
        yield address


def in_another_process(script: str, hub: str, home: Path, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
    """The client reads ``HF_ENDPOINT`` when it is imported."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(ik.__file__).parents[1]),
        "HF_ENDPOINT": hub,
        "HF_HOME": str(home / "hf"),
        "HF_TOKEN": token,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    return subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=300)


ROUND = """
import torch
import implicitkit as ik
model = ik.load_model("model.safetensors")
print(model.push_to_hub("me/mine", private=True, model_card_kwargs={"datasets": "me/pictures"}))
print(ik.push_to_hub("model.safetensors", "org/other", commit_message="Second"))
for again in (ik.load_model("hf-hub:me/mine"), ik.ImplicitModel.from_pretrained("org/other", revision="main")):
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert again.training_summary == model.training_summary and again.license == model.license
try:
    ik.load_model("hf-hub:me/nothing")
except ik.WeightsError as error:
    print(error)
"""


def test_it_is_pushed_and_loaded_back(hub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    trained().save("model.safetensors")
    done = in_another_process(ROUND, hub, tmp_path)
    assert done.returncode == 0, done.stderr
    first, second, missing = done.stdout.splitlines()
    assert first == f"{hub}/me/mine/commit/{COMMIT}" and second == f"{hub}/org/other/commit/{COMMIT}"
    assert "cannot get model.safetensors of 'me/nothing'" in missing
    assert Hub.private == {"me/mine": True, "org/other": False}
    files = Hub.repositories["me/mine"]
    assert files.keys() == {"README.md", "config.json", "model.safetensors"}
    assert files["model.safetensors"] in Hub.large.values(), "weights are a large file"
    config = json.loads(files["config.json"])
    assert config["library_name"] == "implicitkit" and config["spec"]["decoder"]["name"] == "liif"
    told = metadata(files["README.md"].decode())
    assert told["datasets"] == "me/pictures" and told["model-index"][0]["name"] == "mine"


@pytest.mark.slow
def test_a_refusal_is_one_line(hub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    trained().save("model.safetensors")
    script = "import implicitkit as ik\ntry: ik.push_to_hub('model.safetensors', 'me/mine')\nexcept ik.WeightsError as e: print(e)"
    done = in_another_process(script, hub, tmp_path, token="hf_wrong")
    assert done.stdout.count("\n") == 1 and "cannot push to 'me/mine' on the hub: " in done.stdout, done.stderr
    assert Hub.repositories == {}


def test_a_folder_as_the_hub_has_it(tmp_path: Path) -> None:
    model, folder = trained(), tmp_path / "mine"
    assert model.save_pretrained(folder) is None
    (folder / "README.md").write_text("my own words")
    model.save_pretrained(folder)
    assert (folder / "README.md").read_text() == "my own words"
    picture = torch.rand(3, 6, 6)
    for again in (ik.load_model(f"local-dir:{folder}"), ik.ImplicitModel.from_pretrained(folder)):
        assert torch.equal(again.encode(picture).render((9, 9)), model.encode(picture).render((9, 9)))
    (tmp_path / "file").touch()
    with pytest.raises(ik.UserError, match="cannot make the folder"):
        model.save_pretrained(tmp_path / "file" / "mine")


def test_the_card_tells_what_the_summary_holds() -> None:
    card = model_card(trained(), repo_id="me/mine", tags=["comics"], description="Enlarges comics.", base_model="a/b")
    told = metadata(card)
    assert (told["library_name"], told["license"], told["pipeline_tag"]) == (
        "implicitkit",
        "apache-2.0",
        "image-to-image",
    )
    assert {"edsr", "liif", "super-resolution", "comics"} <= set(told["tags"]) and told["base_model"] == "a/b"
    (entry,) = told["model-index"]
    found = {
        (result["dataset"]["name"], metric["name"]): metric["value"]
        for result in entry["results"]
        for metric in result["metrics"]
    }
    assert found == {
        ("Set5", "psnr_y x2"): 37.99,
        ("Set5", "psnr_y x3"): 34.4,
        ("validation", "psnr_y x2"): 30.25,
    }
    for line in ("# mine", "Enlarges comics.", 'ik.load_model("hf-hub:me/mine")', "| Set5 | psnr_y x2 | 37.99 |"):
        assert line in card
    assert "| trained on | T91 \\| halved |" in card and "| steps | `7` |" in card and "Apache-2.0" in card


@pytest.mark.parametrize(
    ("terms", "entries"),
    [("", {}), ("MIT", {"license": "mit"}), ("research only", {"license": "other", "license_name": "research only"})],
)
def test_licences(terms: str, entries: dict[str, str]) -> None:
    told = metadata(model_card(trained(terms)))
    assert {key: value for key, value in told.items() if key.startswith("license")} == entries
    assert (terms or "not stated") in model_card(trained(terms))


def test_scores_that_are_none() -> None:
    assert scores_of({"validation_psnr": {"x2": float("nan")}, "scores": None, "validation_x": 3}) == {}
    plain = metadata(
        model_card(ik.create_model({"encoder": {"name": "edsr", "blocks": 1, "channels": 4}, "decoder": "liif"}))
    )
    assert "model-index" not in plain
