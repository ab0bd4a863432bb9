"""Networks that are too large are refused before their weights are there."""

from __future__ import annotations

import resource
from typing import Any

import pytest
import torch
from torch import nn

import implicitkit as ik
from implicitkit.create import memory
from implicitkit.create.memory import build_within_memory, to_train, weight_bytes
from implicitkit.errors import ConfigError


@pytest.mark.parametrize(
    ("kind", "spec", "lower"),
    [
        ("encoder", {"name": "edsr", "channels": 4096, "blocks": 512}, r"channels \(4096\) or blocks \(512\)"),
        ("encoder", {"name": "rdn", "growth": 4096}, r"growth \(4096\) or channels \(64\)"),
        ("decoder", {"name": "liif", "hidden": [16384] * 300}, r"hidden \(\[16384, "),
    ],
)
def test_two_numbers_in_range_that_are_too_much_together(kind: str, spec: dict[str, Any], lower: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ConfigError, match=rf"^its weights alone take [\d,.]+ GB, [\d,.]+ GB are free; lower {lower}"):
        getattr(ik, f"create_{kind}")(spec)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_500_000


def test_the_message_of_a_model_names_the_part() -> None:
    with pytest.raises(ConfigError, match=r"^model.encoder: its weights alone take "):
        ik.create_model({"encoder": {"name": "edsr", "channels": 4096, "blocks": 512}, "decoder": "liif"})


def test_a_large_network_that_fits_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    expected = nn.Linear(8, 8)
    monkeypatch.setattr(memory, "UNASKED_BYTES", 100)
    torch.manual_seed(3)
    built = build_within_memory(nn.Linear, {"in_features": 8, "out_features": 8})
    assert torch.equal(built.weight, expected.weight) and not built.weight.is_meta


def test_in_training_a_weight_counts_four_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "UNASKED_BYTES", 100)
    monkeypatch.setattr(memory, "free_memory", lambda device: 1000)
    wide = {"in_features": 8, "out_features": 16}  # 576 bytes
    assert build_within_memory(nn.Linear, wide).weight.shape == (16, 8)
    with to_train(), pytest.raises(ConfigError, match=r"lower out_features \(16\) or in_features \(8\)"):
        build_within_memory(nn.Linear, wide)


def test_counting_takes_no_memory_and_no_random_numbers() -> None:
    state = torch.get_rng_state()
    assert weight_bytes(nn.Linear, {"in_features": 20_000, "out_features": 20_000}) == 4 * (20_000**2 + 20_000)
    assert weight_bytes(nn.Linear, {"in_features": -1, "out_features": 1}) is None
    assert torch.equal(torch.get_rng_state(), state)
    assert not nn.Linear(2, 2).weight.is_meta  # the hook is gone


def test_whoever_hides_our_error_is_asked_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """timm's factories turn any error into one of theirs."""

    def wrapped(size: int) -> nn.Module:
        try:
            return nn.Linear(size, size)
        except Exception:
            raise RuntimeError("cannot build") from None

    monkeypatch.setattr(memory, "UNASKED_BYTES", 100)
    assert build_within_memory(wrapped, {"size": 9}).in_features == 9
    with pytest.raises(RuntimeError, match="cannot build"):
        build_within_memory(wrapped, {"size": -1})
