"""``implicitkit convert`` on files of other repositories."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

import implicitkit as ik
from oracles import PARITY


def swinir_with_liif() -> dict[str, torch.Tensor]:
    """A checkpoint as LTE's authors store SwinIR with LIIF."""
    encoder = torch.load(PARITY / "swinir-small.pth", weights_only=True)
    decoder = {"0.weight": (8, 64 * 9 + 4), "0.bias": (8,), "2.weight": (3, 8), "2.bias": (3,)}
    return {
        **{f"encoder.{key}": value for key, value in encoder.items()},
        **{f"imnet.layers.{key}": torch.rand(shape) for key, shape in decoder.items()},
    }


def test_says_what_was_recognised_and_left_out(run, tmp_path: Path) -> None:
    torch.save({"model": {"name": "liif", "args": {}, "sd": swinir_with_liif()}}, tmp_path / "x.pth")
    done = run("convert", tmp_path / "x.pth", tmp_path / "x.safetensors")
    assert done.code == 0, done.err
    assert "recognised: LIIF with SwinIR (jaewon-lee-b/lte)" in done.out
    assert "encoder.layers.N.residual_group.blocks.N.attn_mask (×2)" in done.out
    assert "encoder.layers.N.residual_group.blocks.N.attn.relative_position_index (×4)" in done.out
    vectors, model = np.load(PARITY / "swinir-small.npz"), ik.load_model(tmp_path / "x.safetensors")
    features = model.encoder(torch.from_numpy(vectors["input"]) * 0.5 + 0.5).map.detach().numpy()
    assert np.abs(features - vectors["features"]).max() <= 1e-5 * max(1, np.abs(vectors["features"]).max())


def test_every_checkpoint_becomes_the_same_model(run, tmp_path: Path, photo: torch.Tensor) -> None:
    for name in ("liif-rcan", "lte-edsr", "lte-plus-edsr", "metasr-edsr"):
        source, target = PARITY / f"{name}.pth", tmp_path / f"{name}.safetensors"
        assert run("convert", source, target).code == 0
        pictures = [ik.load_model(path).encode(photo[:, :16, :20]).render((21, 33)) for path in (source, target)]
        assert torch.equal(*pictures)


def test_what_is_no_model_is_refused_in_one_line(run, tmp_path: Path) -> None:
    done = run("convert", PARITY / "swinir-small.pth", tmp_path / "x.safetensors")
    assert done.code == 2 and len(done.errors) == 1 and "SwinIR, an encoder alone" in done.errors[0]
    state = swinir_with_liif()
    state["imnet.layers.0.weight"] = torch.rand(8, 64 * 9 + 7)
    torch.save(state, tmp_path / "x.pth")
    done = run("convert", tmp_path / "x.pth", tmp_path / "x.safetensors")
    assert done.code == 2 and "takes 583 inputs, which no LIIF on 64 features does" in done.errors[0]
    assert not (tmp_path / "x.safetensors").exists()


def test_convert_writes_a_native_file_and_says_what_it_saw(run, tmp_path: Path, photo: torch.Tensor) -> None:
    target = tmp_path / "m.safetensors"
    done = run("convert", PARITY / "liif-edsr.pth", target)
    assert done.code == 0 and "LIIF with EDSR" in done.out and "encoder.sub_mean.weight" in done.out
    ours, theirs = ik.load_model(target), ik.load_model(PARITY / "liif-edsr.pth")
    assert torch.equal(ours.encode(photo).render((50, 60)), theirs.encode(photo).render((50, 60)))
    assert run("convert", target, target).errors == [f"error: {target} exists; pass --force to overwrite it"]
    assert run("convert", target, tmp_path / "half.safetensors", "--half").code == 0
    assert (tmp_path / "half.safetensors").stat().st_size < target.stat().st_size
    assert run("convert", tmp_path / "none.pth", tmp_path / "x.safetensors").code == 2
    assert "end in .safetensors" in run("convert", PARITY / "liif-edsr.pth", tmp_path / "x.pth").err


def test_fold(run, tmp_path: Path) -> None:
    encoder = {"name": "span", "channels": 8, "blocks": 1, "value_range": 4}
    model = ik.create_model({"encoder": encoder, "decoder": {"name": "thera", "components": 4, "max_frequency": 2}})
    model.save(tmp_path / "a.safetensors")
    picture = torch.rand(3, 9, 9)
    for name, options, bar in (("b", [], 1e-5), ("c", ["--half"], 5e-3)):
        done = run("convert", tmp_path / "a.safetensors", tmp_path / f"{name}.safetensors", "--fold", *options)
        assert done.code == 0 and "folded: 2,977 parameters" in done.out
        folded = ik.load_model(tmp_path / f"{name}.safetensors")
        assert folded.spec["encoder"]["folded"] and isinstance(folded.encoder.last, torch.nn.Conv2d)
        difference = folded.encode(picture).render((20, 20)) - model.eval().encode(picture).render((20, 20))
        assert float(difference.abs().max()) < bar
