"""Scoring models in one call."""

from pathlib import Path

import pytest

import implicitkit as ik
from oracles import PHOTOS


def test_names_models_and_files_are_rows(tmp_path: Path) -> None:
    model = ik.load_model("liif_small")
    scores = ik.evaluate({"a": model, "b": "liif_small"}, PHOTOS, "plain", scales=[8], metrics=["psnr"])
    means = scores.means()
    assert list(means) == ["bicubic", "a", "b"] and means["a"] == means["b"]
    assert scores.table().startswith("| PSNR, dB | ×8 |") and scores._repr_markdown_() == scores.table()
    assert repr(scores) == "Scores(bicubic, a, b; ×8; psnr; 3 pictures)"


def test_what_cannot_be_scored_is_said(tmp_path: Path) -> None:
    with pytest.raises(ik.UserError, match="liif_small is given twice"):
        ik.evaluate(["liif_small", "liif_small"], PHOTOS)
    with pytest.raises(ik.UserError, match="two models are called edsr-liif; pass a mapping"):
        ik.evaluate([ik.load_model("liif_small")] * 2, PHOTOS)
    with pytest.raises(ik.ArgumentError, match="takes no 'scale'; did you mean 'scales'"):
        ik.evaluate("liif_small", PHOTOS, scale=2)
    with pytest.raises(ik.UserError, match="built already; it takes no scales"):
        ik.evaluate("liif_small", PHOTOS, ik.create_protocol("plain"), scales=[2])
