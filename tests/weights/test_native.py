import json
import os
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import implicitkit as ik
from implicitkit import weights
from implicitkit.encoders.edsr import EDSR
from implicitkit.errors import WeightsError
from implicitkit.registry import kinds
from implicitkit.weights.native import fill
from oracles.models import small_model


def test_a_file_alone_is_enough(tmp_path: Path, photo: torch.Tensor) -> None:
    model = small_model(skip="bilinear")
    model.training_summary = {"steps": 3}
    path = model.save(tmp_path / "m.safetensors", license="CC0-1.0")
    again = ik.load_model(path)
    assert again.spec == model.spec and not again.training
    assert again.license == "CC0-1.0" and again.training_summary == {"steps": 3}
    assert torch.equal(again.encode(photo).render((33, 44)), model.encode(photo).render((33, 44)))
    with safe_open(str(path), "pt") as file:
        metadata = file.metadata()
    assert metadata["format"] == "implicitkit" and json.loads(metadata["spec"]) == model.spec


def test_half_precision_files_load_as_float32(tmp_path: Path, photo: torch.Tensor) -> None:
    model = small_model()
    sizes = [
        model.save(tmp_path / n, dtype=d).stat().st_size
        for n, d in (("a.safetensors", None), ("b.safetensors", torch.float16))
    ]
    assert sizes[1] < 0.7 * sizes[0]
    again = ik.load_model(tmp_path / "b.safetensors")
    assert all(p.dtype == torch.float32 for p in again.parameters())
    torch.testing.assert_close(
        again.encode(photo).render((20, 20)), model.encode(photo).render((20, 20)), atol=2e-3, rtol=0
    )


def test_a_model_with_nameless_parts_cannot_be_saved(tmp_path: Path) -> None:
    model = ik.ImplicitModel(EDSR(blocks=1, channels=64), ik.create_decoder("liif"))
    with pytest.raises(ValueError, match="not built by name"):
        model.save(tmp_path / "m.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_registered_class_that_was_built_by_hand_says_its_name(tmp_path: Path) -> None:
    class Deep(EDSR):
        """EDSR under another name."""

    ik.register_encoder("a_tests_deep", Deep)
    try:
        with pytest.raises(ValueError, match=r"use ik.create_encoder\('a_tests_deep'\)$"):
            ik.ImplicitModel(Deep(blocks=1, channels=64), ik.create_decoder("liif")).save(tmp_path / "m.safetensors")
    finally:
        kinds.encoders.discard(["a_tests_deep"])


def test_misfits_are_listed(tmp_path: Path) -> None:
    path = small_model().save(tmp_path / "m.safetensors")
    with safe_open(str(path), "pt") as file:
        metadata = file.metadata()
        tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    tensors["extra"] = torch.zeros(1)
    del tensors["decoder.first.bias"]
    tensors["encoder.head.0.bias"] = torch.zeros(3)
    safetensors.torch.save_file(tensors, path, metadata)
    with pytest.raises(
        ik.WeightsError,
        match=r"missing: decoder\.first\.bias; unexpected: extra; wrong shape: encoder\.head\.0\.bias \(3,\) for \(8,\)",
    ):
        ik.load_model(path)


def test_other_and_damaged_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    safetensors.torch.save_file({"x": torch.zeros(2)}, path)
    with pytest.raises(ik.WeightsError, match="not one of implicitkit's"):
        ik.load_model(path)
    whole = small_model().save(tmp_path / "w.safetensors").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ik.WeightsError, match="not a whole safetensors file"):
        ik.load_model(path)
    safetensors.torch.save_file(
        {"x": torch.zeros(2)}, path, {"format": "implicitkit", "format_version": "99", "spec": "{}"}
    )
    with pytest.raises(ik.WeightsError, match="format version 99"):
        ik.load_model(path)
    with pytest.raises(ik.WeightsError, match="end in .safetensors"):
        small_model().save(tmp_path / "m.pth")


def test_what_is_nowhere_says_so() -> None:
    with pytest.raises(ik.WeightsError, match=r"there is no file nothing\.pth"):
        ik.load_model("nothing.pth")
    with pytest.raises(ik.WeightsError, match="did you mean 'liif_small'"):
        ik.load_model("liif_smal")
    with pytest.raises(ik.WeightsError, match=r"there is no model\.safetensors in the folder nowhere"):
        ik.load_model("local-dir:nowhere")


def test_a_hub_id_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's client is replaced, as there is no network; what it returns is loaded like any file."""
    import sys
    import types

    small_model().save(tmp_path / "model.safetensors")
    asked = []

    def download(repo: str, filename: str, revision: str | None, **_: object) -> str:
        asked.append((repo, filename, revision))
        if repo == "Someone/gone":
            raise OSError("404 not found\nmore")
        return str(tmp_path / filename)

    monkeypatch.setattr(weights, "hub_has_a_name", lambda: True)
    monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(hf_hub_download=download))
    assert ik.load_model("Someone/a-model").spec == small_model().spec
    assert ik.load_model("hf-hub:Someone/a-model@v2").spec == small_model().spec
    assert ik.load_model(f"local-dir:{tmp_path}").spec == small_model().spec
    assert asked == [("Someone/a-model", "model.safetensors", None), ("Someone/a-model", "model.safetensors", "v2")]
    with pytest.raises(
        ik.WeightsError, match=r"cannot get model\.safetensors of 'Someone/gone' from the hub: 404 not found$"
    ):
        ik.load_model("Someone/gone")


@pytest.mark.parametrize(
    ("proxies", "resolves", "tried"), [({}, False, False), ({"https": "p"}, False, True), ({}, True, True)]
)
def test_a_hub_without_network_is_not_tried_for_long(monkeypatch: pytest.MonkeyPatch, proxies, resolves, tried) -> None:
    def look_up(host: str, port: None) -> list[str]:
        if not resolves:
            raise OSError("Name or service not known")
        return [host]

    monkeypatch.setattr(weights, "getproxies", lambda: proxies)
    monkeypatch.setattr(weights.socket, "getaddrinfo", look_up)
    assert weights.hub_has_a_name() is tried
    if not tried:
        with pytest.raises(ik.WeightsError, match="it cannot be reached, and nothing of it is in the cache"):
            ik.load_model("Someone/a-model-that-nobody-has")


def test_frozen_weights_that_anybody_can_get_are_left_out(tmp_path: Path, photo: torch.Tensor) -> None:
    class Published(EDSR):
        """Its weights come with its name, as those of a hub id do."""

        trainable, source = False, "hub:somebody/something"
        seed = 1

        def __init__(self) -> None:
            super().__init__(blocks=1, channels=8)
            torch.manual_seed(self.seed)
            for parameter in self.parameters():
                torch.nn.init.normal_(parameter, std=0.1)

    class Plugin:
        @ik.hookimpl
        def register_encoders(self, register):
            register("a_tests_published", Published)

    registered = ik.register_plugin(Plugin())
    try:
        model = ik.create_model({"encoder": "a_tests_published", "decoder": {"name": "liif", "hidden": [8]}})
        path = model.save(tmp_path / "m.safetensors")
        with safe_open(str(path), "pt") as file:
            assert not [key for key in file.keys() if key.startswith("encoder.")]  # noqa: SIM118
            (left_out,) = json.loads(file.metadata()["frozen"]).items()
        assert left_out[0] == "encoder" and left_out[1]["source"] == "hub:somebody/something"
        again = ik.load_model(path)
        assert torch.equal(again.encode(photo).render((20, 20)), model.eval().encode(photo).render((20, 20)))
        Published.seed = 2  # what is published has changed
        with pytest.raises(ik.WeightsError, match="saved with other weights of hub:somebody/something"):
            ik.load_model(path)
        other = ik.create_model({"encoder": "a_tests_published", "decoder": {"name": "liif", "hidden": [8]}})
        replaced = {k: v + 1 if k.startswith("encoder.") else v for k, v in other.state_dict().items()}
        fill(other, replaced, "elsewhere")  # frozen still, and no longer what is published
        held = ik.load_model(other.save(tmp_path / "o.safetensors"))
        assert torch.equal(held.encode(photo).render((9, 9)), other.eval().encode(photo).render((9, 9)))
        trained = ik.create_model(
            {"encoder": {"name": "a_tests_published", "trainable": True}, "decoder": {"name": "liif", "hidden": [8]}}
        )
        with safe_open(str(trained.save(tmp_path / "t.safetensors")), "pt") as file:
            assert [key for key in file.keys() if key.startswith("encoder.")]  # noqa: SIM118
    finally:
        ik.unregister_plugin(registered)


@pytest.mark.filterwarnings("ignore:torch.quantize:UserWarning")  # deprecated, and still in files
@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda t: t * float("nan"), "holds NaN or infinity"),
        (lambda t: t.index_fill(0, torch.tensor([0]), -float("inf")).half(), "holds NaN or infinity"),
        (lambda t: (t * float("nan")).to(torch.float8_e5m2), "holds NaN or infinity"),
        (lambda t: t.to(torch.complex64), r"is complex \(complex64\)"),
        (lambda t: t.to("meta"), "has no values"),
        (lambda t: t.to_sparse(), r"is sparse \(sparse_coo\)"),
        (lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8), r"is quantised \(qint8\)"),
        (lambda t: t.to(torch.int8), r"holds whole numbers \(int8\)"),
        (lambda t: t.bool(), r"holds whole numbers \(bool\)"),
    ],
)
def test_tensors_that_no_model_computes_with_are_refused(change: Any, fault: str) -> None:
    model = small_model()
    state = dict(model.state_dict())
    fill(model, state, "x.pth")
    state["encoder.head.0.weight"] = change(state["encoder.head.0.weight"])
    with pytest.raises(WeightsError, match=f"x.pth: encoder.head.0.weight {fault}"):
        fill(model, state, "x.pth")


@pytest.mark.parametrize(
    ("metadata", "fault"),
    [
        ({"spec": "[" * 5000}, "nested more than 64 deep"),
        ({"spec": "[" * 70 + "]" * 70}, "nested more than 64 deep"),
        ({"training": "[" * 5000 + "]" * 5000}, "nested more than 64 deep"),
        ({"frozen": "[" * 5000 + "]" * 5000}, "nested more than 64 deep"),
        ({"spec": "1"}, "spec and training are mappings"),
        ({"spec": "{}"}, "a spec has an encoder"),
        ({"training": "1"}, "spec and training are mappings"),
    ],
)
def test_metadata_that_is_none_is_named(metadata: dict[str, str], fault: str, tmp_path: Path) -> None:
    given = {"format": "implicitkit", "format_version": "1", "spec": json.dumps(small_model().spec), **metadata}
    save_file(dict(small_model().state_dict()), tmp_path / "x.safetensors", given)
    with pytest.raises(WeightsError, match=rf"x.safetensors: its metadata is damaged.*{fault}"):
        ik.load_model(tmp_path / "x.safetensors")


def test_a_path_that_is_not_utf8_is_named_as_such(tmp_path: Path) -> None:
    small_model().save(tmp_path / "x.safetensors")
    strange = (tmp_path / "x.safetensors").rename(tmp_path / os.fsdecode(b"caf\xe9.safetensors"))
    with pytest.raises(WeightsError, match="the path is not UTF-8, and safetensors opens no such files; rename it"):
        ik.load_model(strange)
