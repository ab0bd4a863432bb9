"""The sentences of CLIP's authors and of MaskCLIP, by name."""

from __future__ import annotations

from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from tiny_clip import VIT, build

import implicitkit as ik
from implicitkit_sair import encode_text
from implicitkit_sair.segmentation.vocabulary import choose_vocabulary
from implicitkit_sair.semantic.clip.templates import named_templates


def test_there_are_80_and_85() -> None:
    clip, maskclip = named_templates("clip"), named_templates("maskclip")
    assert clip is not None and maskclip is not None and named_templates("a photo of a {}.") is None
    assert (len(set(clip)), len(set(maskclip))) == (80, 85) and maskclip[:80] == clip
    assert all(sentence.count("{}") == 1 for sentence in maskclip)
    assert {"a bad photo of a {}.", "itap of a {}."} <= set(clip) and "there is a {} in the scene." in maskclip


def test_a_name_stands_for_its_sentences(tmp_path: Path) -> None:
    save_file(build(VIT).state_dict(), tmp_path / "tiny.safetensors")
    encoder = ik.create_encoder("clip", model=VIT, pretrained=str(tmp_path / "tiny.safetensors"), quick_gelu=False)
    found = encode_text(encoder, ["sky"], "clip")
    sentences = [template("sky") for template in open_clip.OPENAI_IMAGENET_TEMPLATES]
    with torch.no_grad():
        mean = build(VIT).encode_text(open_clip.tokenize(sentences), normalize=True).mean(0)
    torch.testing.assert_close(found[0], mean / mean.norm(), atol=1e-5, rtol=0)
    chosen = choose_vocabulary(encoder, ["sky"], templates="clip").embeddings
    torch.testing.assert_close(chosen, found.cpu(), atol=1e-6, rtol=0)
    with pytest.raises(ik.DataError, match="there is no file sentences"):
        choose_vocabulary(encoder, ["sky"], templates="sentences")
