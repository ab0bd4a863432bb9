"""State dicts of other projects' files: where they are looked for, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from implicitkit import WeightsError
from implicitkit_sair.semantic.state_dicts import read_entries, read_state_dict

WEIGHT = torch.arange(3.0)


@pytest.mark.parametrize(
    "content",
    [
        {"w": WEIGHT},
        {"module.w": WEIGHT},
        {"epoch": 3, "state_dict": {"module.w": WEIGHT}},
        {"model": {"w": WEIGHT}, "optimizer": {}},
        {"teacher": {"w": WEIGHT}, "student": {}},
    ],
)
def test_it_is_found_within_a_checkpoint(content: dict[str, Any], tmp_path: Path) -> None:
    torch.save(content, tmp_path / "x.pt")
    state = read_state_dict(tmp_path / "x.pt")
    assert list(state) == ["w"] and torch.equal(state["w"], WEIGHT)


def test_safetensors_are_known_by_their_content(tmp_path: Path) -> None:
    save_file({"w": WEIGHT}, tmp_path / "blob")
    assert torch.equal(read_state_dict(tmp_path / "blob")["w"], WEIGHT)


def test_numbers_beside_the_weights(tmp_path: Path) -> None:
    torch.save({"w": WEIGHT, "size": 32}, tmp_path / "x.pt")
    assert read_entries(tmp_path / "x.pt")["size"] == 32
    assert list(read_state_dict(tmp_path / "x.pt", beside=["size"])) == ["w"]
    with pytest.raises(WeightsError, match="is no state dict, names and tensors; found w, size"):
        read_state_dict(tmp_path / "x.pt")


@pytest.mark.parametrize(("content", "found"), [([1, 2], "list"), ({}, "nothing"), ({"epoch": 3}, "epoch")])
def test_what_is_none(content: Any, found: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(WeightsError, match=f"found {found}"):
        read_state_dict(tmp_path / "x.pt")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="there is no file .*none.pt"):
        read_state_dict(tmp_path / "none.pt")
