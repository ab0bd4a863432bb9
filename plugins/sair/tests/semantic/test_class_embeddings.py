"""Classes from a file: what is read, what is refused, and a decoder that keeps them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from small_parts import EDSR, SEMANTIC

import implicitkit as ik
from implicitkit_sair.segmentation.vocabulary import Vocabulary
from implicitkit_sair.semantic.class_embeddings import read_classes, write_classes

NAMES = ["sky", "tree", "water"]


def spec(kind: str = "air", **options: Any) -> dict[str, Any]:
    decoder = {"name": kind, "semantic_channels": 8, "hidden": [12], "semantics": "text", **options}
    return {
        "encoder": EDSR,
        "decoder": decoder,
        "conditions": {"semantic": SEMANTIC},
        "inputs": ["image", "mask"],
    }


@pytest.fixture
def rows() -> torch.Tensor:
    return torch.randn(3, 8)


@pytest.fixture
def unnamed(rows: torch.Tensor, tmp_path: Path) -> str:
    np.save(tmp_path / "rows.npy", rows.numpy())
    return str(tmp_path / "rows.npy")


@pytest.fixture
def named(rows: torch.Tensor, tmp_path: Path) -> str:
    write_classes(tmp_path / "rows.safetensors", NAMES, rows, {"made": "here"})
    return str(tmp_path / "rows.safetensors")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("ending", [".npy", ".safetensors"])
def test_embeddings_made_elsewhere_are_read_and_normalised(tmp_path: Path, dtype: str, ending: str) -> None:
    """In the layout of published files of CLIP's text embeddings: float16, (classes, width), not of length one."""
    array = (10 * np.random.default_rng(0).standard_normal((5, 24))).astype(dtype)
    file = tmp_path / f"rows{ending}"
    np.save(file, array) if ending == ".npy" else save_file({"whatever": torch.from_numpy(array)}, file)
    names, found = read_classes(file, width=24)
    expected = array.astype(np.float64) / np.sqrt((array.astype(np.float64) ** 2).sum(1, keepdims=True))
    assert names is None and found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def test_what_is_written_is_read_with_its_names(named: str, rows: torch.Tensor) -> None:
    names, found = read_classes(named)
    assert names == NAMES and torch.equal(found, torch.nn.functional.normalize(rows, dim=1))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no file"),
        (b"not an array", "cannot be read as a .npy array"),
        (np.ones((2, 3, 4)), r"it holds float64 \(2, 3, 4\)"),
        (np.ones((2, 24), dtype=np.int64), "it holds int64"),
        (np.ones((2, 16)), "holds embeddings of width 16; the features have 24"),
        (np.ones((0, 24)), "holds no embedding"),
        (np.zeros((2, 24)), "zero or not finite"),
        (np.full((2, 24), np.nan), "zero or not finite"),
        (np.array([{}], dtype=object), "cannot be read as a .npy array"),
    ],
)
def test_arrays_that_are_no_embeddings(content: Any, message: str, tmp_path: Path) -> None:
    file = tmp_path / "names.npy"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        np.save(file, content, allow_pickle=True)
    with pytest.raises(ik.WeightsError, match=message) as raised:
        read_classes(file, width=24)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("tensors", "names", "message"),
    [
        (None, None, "there is no file"),
        ({}, "[]", "it holds 0 tensors"),
        ({"a": torch.ones(2, 24), "b": torch.ones(2, 24)}, None, "it holds 2 tensors"),
        ({"a": torch.ones(24)}, None, r"it holds float32 \(24,\)"),
        ({"a": torch.ones(2, 24, dtype=torch.int32)}, None, r"it holds int32 \(2, 24\)"),
        ({"a": torch.ones(2, 24)}, json.dumps(["one"]), r"2 embeddings, and its names are not a list of as many: \["),
        ({"a": torch.ones(2, 24)}, "one, two", "not a list of as many: one, two"),
        ({"a": torch.ones(2, 24)}, "[1, 2]", "not a list of as many"),
    ],
)
def test_tensors_that_are_no_embeddings(tensors: Any, names: str | None, message: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.safetensors"
    if tensors is not None:
        save_file(tensors, file, {"names": names} if names else {})
    with pytest.raises(ik.WeightsError, match=message):
        read_classes(file, width=24)
    file.write_bytes(b"cut short")
    with pytest.raises(ik.WeightsError, match="not a whole safetensors file"):
        read_classes(file)


@pytest.mark.parametrize("kind", ["air", "sem_lte"])
def test_a_saved_model_holds_the_classes_and_asks_for_no_file(kind: str, unnamed: str, tmp_path: Path) -> None:
    """A decoder told by a file is the one told by hand; with the file gone, what was saved still renders the same."""
    torch.manual_seed(5)
    model = ik.create_model(spec(kind, classes=unnamed)).eval()
    torch.manual_seed(5)
    by_hand = ik.create_model(spec(kind, prompts=NAMES)).eval()
    by_hand.decoder.injection.name_classes(read_classes(unnamed)[1])
    picture = torch.rand(3, 9, 8)
    painted = model.encode(picture).render((12, 12))
    assert torch.equal(painted, by_hand.encode(picture).render((12, 12)))
    file = model.save(tmp_path / "model.safetensors")
    Path(unnamed).unlink()
    loaded = ik.load_model(file)
    assert torch.equal(loaded.encode(picture).render((12, 12)), painted)
    decoder = loaded.spec["decoder"]
    assert "classes" not in decoder and decoder["prompts"] == ["class 1", "class 2", "class 3"]
    assert loaded.spec == model.spec


def test_names_come_with_the_file_or_from_the_prompts(named: str, unnamed: str) -> None:
    for options in ({"classes": named}, {"classes": unnamed, "prompts": NAMES}, {"classes": named, "prompts": NAMES}):
        model = ik.create_model(spec(**options))
        assert model.decoder.injection.prompts == NAMES and model.spec["decoder"]["prompts"] == NAMES
    control = ik.create_model(
        spec(classes=named) | {"decoder": {**spec(classes=named)["decoder"], "semantics": "none"}}
    )
    shapes = [{name: p.shape for name, p in m.named_parameters()} for m in (model, control)]
    assert shapes[0] == shapes[1]


def test_a_file_counts_more_than_a_text_tower(named: str, rows: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    text = pytest.importorskip("implicitkit_sair.semantic.clip.text")
    monkeypatch.setattr(text, "encode_text", lambda encoder, prompts: torch.eye(3, 8))
    model = ik.create_model(spec(classes=named))
    assert torch.equal(model.decoder.injection.classes, torch.nn.functional.normalize(rows, dim=1))


def test_what_does_not_go_together_is_named(named: str, unnamed: str, tmp_path: Path) -> None:
    for options, message in (
        ({"classes": str(tmp_path / "none.npy")}, r"model.decoder: there is no file"),
        ({"classes": unnamed, "prompts": NAMES[:2]}, "holds 3 embeddings for 2 prompts; give one for each"),
        (
            {"classes": named, "prompts": ["sky", "sea", "water"]},
            "'tree' where the prompts say 'sea'; leave the prompts",
        ),
        ({"classes": named, "semantics": "embedding"}, "'embedding' takes none; .* and classes='.*rows.safetensors'"),
        ({"classes": unnamed, "semantic_channels": 9}, "embeddings of width 8; the features have 9"),
        ({}, "needs prompts, or classes"),
    ):
        with pytest.raises(ik.ConfigError, match=message) as raised:
            ik.create_model(spec(**options))
        assert "\n" not in str(raised.value)


def test_a_vocabulary_looks_names_up_where_the_file_has_them(named: str, rows: torch.Tensor) -> None:
    chosen = Vocabulary.from_file(named, ["Water", "sky"])
    assert chosen.names == ("water", "sky")
    torch.testing.assert_close(chosen.embeddings, torch.nn.functional.normalize(rows[[2, 0]], dim=1))
    with pytest.raises(ik.UnknownNameError, match="no class 'sea' among the 3"):
        Vocabulary.from_file(named, ["sea"])
