"""OPE-SR's and GB-LSR's checkpoints."""

import pytest
import torch

from benchmarks.newer_vectors import BAR, NATIVE, SHARED, errors
from implicitkit.create import build_checkpoint
from implicitkit.weights.authors import recognise
from oracles.states import random_state


def test_ope_at_its_published_size() -> None:
    state = random_state("ope-edsr-baseline")
    model = build_checkpoint(recognise(state, "x"), "x")
    assert model.decoder.spec == {"name": "ope", "max_frequency": 3, "adapt": False, "in_channels": 147}
    assert model.scales == (4, 4)
    assert torch.equal(model.encoder.body[16].weight, state["srnet.body.16.weight"])


def test_the_three_colours_of_an_adapting_ope() -> None:
    layers = {"head.0": 3, "body.0.body.0": 20, "body.0.body.2": 20, "body.1": 20}
    state = {f"srnet.{name}.weight": torch.rand(20, inputs, 3, 3) for name, inputs in layers.items()}
    state |= {f"srnet.{name}.bias": torch.rand(20) for name in layers}
    for colour in "RGB":
        state |= {f"adapt_{colour}.weight": torch.rand(25, 20, 3, 3), f"adapt_{colour}.bias": torch.rand(25)}
    model = build_checkpoint(recognise({"model": {"name": "OPE-net-adapt", "args": {}, "sd": state}}, "x"), "x")
    assert model.decoder.max_frequency == 2
    assert torch.equal(model.decoder.adapt.weight[25:50], state["adapt_G.weight"])


def test_gb_lsr_at_its_published_size() -> None:
    state = random_state("gblsr-base")
    model = build_checkpoint(recognise(state, "x"), "x")
    assert model.decoder.spec == {"name": "gb_lsr", "order": 16, "local_ensemble": True, "in_channels": 64}
    assert (model.encoder.mean, model.encoder.std) == (0.0, 1.0)  # its pictures are not normalised
    assert torch.equal(model.decoder.bandwidth, state["decoder.log_s_e"])
    assert torch.equal(model.encoder.fuse[1].weight, state["encoder.gff_3x3.weight"])
    args = {"decoder_cfg": {"local_ensemble": False}}
    alone = build_checkpoint(recognise({"model": {"args": args, "sd": state}}, "x"), "x")
    assert not alone.decoder.local_ensemble


@pytest.mark.skipif(not SHARED.exists(), reason="the newer decoders' checkpoints (6 MB) are not kept here")
def test_gb_lsr_of_patches_gives_the_authors_picture() -> None:
    assert max(errors(NATIVE).values()) <= BAR
