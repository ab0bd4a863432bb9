"""Twins of a semantic encoder: what is changed is changed, and nothing else."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import implicitkit as ik

SMALL = {"name": "mae_small", "patch": 4, "width": 16, "depth": 1, "heads": 2, "mask_channels": 1}
STUDY = Path(__file__).parents[2] / "studies" / "faces_inpainting.yaml"


def twin(kind: str, **arguments: object) -> ik.Encoder:
    return ik.create_encoder({"name": "twin", "kind": kind, "of": SMALL, **arguments}).eval()


def like(encoder: ik.Encoder) -> ik.Encoder:
    plain = ik.create_encoder(SMALL).eval()
    plain.load_state_dict(encoder.state_dict())  # the names are the same
    return plain


@pytest.fixture
def others(tmp_path: Path) -> str:
    for k in range(2):
        ik.write_image(tmp_path / f"{k}.png", torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(k)))
    return str(tmp_path)


def test_random_is_of_its_seed() -> None:
    drawn = [twin("random", seed=seed).state_dict()["embed.weight"] for seed in (3, 3, 4)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    with pytest.raises(ValueError, match="a random twin has learnt nothing; take weights out of its encoder"):
        ik.create_encoder({"name": "twin", "kind": "random", "of": {**SMALL, "weights": "some.safetensors"}})
    with pytest.raises(ik.UserError, match="'random', 'shuffled' or 'blind'"):
        twin("odd")


def test_blind_sees_masks_and_places_alone() -> None:
    encoder, x = twin("blind"), torch.rand(2, 4, 16, 16)
    x[:, 3] = (x[:, 3] > 0.5).float()
    grey = torch.cat([torch.full((2, 3, 16, 16), 0.5), x[:, 3:]], 1)
    assert torch.equal(encoder(x).map, like(encoder)(grey).map)


def test_shuffled_is_told_of_others_in_a_batch_and_alone(others: str) -> None:
    encoder, x = twin("shuffled", others=others), torch.rand(3, 4, 16, 16)
    x[:, 3] = 0
    plain = like(encoder)(x).map
    torch.testing.assert_close(encoder(x).map, plain.roll(1, 0))
    alone = encoder(x[:1]).map
    assert torch.equal(alone, encoder(x[:1]).map)
    assert all((alone[0] - own).abs().max() > 0.01 for own in plain)
    with pytest.raises(ik.UserError, match="a shuffled twin takes others: FOLDER"):
        twin("shuffled")


@pytest.mark.parametrize("kind", ["random", "shuffled", "blind"])
def test_it_is_frozen_and_comes_back(kind: str, others: str) -> None:
    encoder = twin(kind, **({"others": others} if kind == "shuffled" else {}))
    x = torch.rand(2, 4, 16, 16)
    assert not encoder.trainable and encoder.spec is not None and encoder.spec["name"] == "twin"
    again = ik.create_encoder(encoder.spec).eval()
    again.load_state_dict(encoder.state_dict())
    for other in (again, copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))):
        assert torch.equal(other(x).map, encoder(x).map)


@pytest.fixture(scope="module")
def methods() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(STUDY.read_text(encoding="utf-8"))["methods"]
    return found


@pytest.mark.parametrize("kind", ["random", "shuffled", "blind"])
def test_a_study_has_sair_with_a_twin(kind: str, methods: dict[str, Any]) -> None:
    own, base = (copy.deepcopy(methods[name]) for name in (kind, "SAIR"))
    encoder = own["model"]["conditions"]["semantic"].pop("encoder")
    assert encoder["name"] == "twin" and encoder["kind"] == kind
    assert encoder["of"] == base["model"]["conditions"]["semantic"].pop("encoder")
    assert own["model"] == base["model"]
    assert own.get("weights") == (None if kind == "random" else base["weights"])
    assert own.keys() - {"model", "weights"} == base.keys() - {"model", "weights"}


def test_liif_has_the_size_of_sair(methods: dict[str, Any]) -> None:
    liif, sair = (methods[name] for name in ("LIIF", "SAIR"))
    with torch.device("meta"):
        counts = [sum(p.numel() for p in ik.create_model(one["model"]).parameters()) for one in (liif, sair)]
    assert counts[0] == pytest.approx(counts[1], rel=0.01)
    assert {"model", "loss"} == set(liif) and {"model", "weights"} == set(sair)  # and share the rest
