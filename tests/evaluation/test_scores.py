"""Scores: one number per method, setting, metric and picture, and tables of them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

import implicitkit as ik
from implicitkit.evaluation import Scores, TestSet, bicubic, evaluate, markdown_table
from implicitkit.metrics import psnr_y


def test_results_keep_every_picture_and_average_them(clean: torch.Tensor, tmp_path: Path) -> None:
    for k in range(2):
        ik.write_image(tmp_path / f"{k}.png", clean.flip(k + 1) if k else clean)
    methods = {"bicubic": bicubic, "grey": lambda low, size: torch.full((3, *size), 0.5)}
    scores = evaluate(methods, TestSet(tmp_path), [2, 3.5], metrics=["psnr_y", {"name": "ssim"}])
    assert scores.values.keys() == {"bicubic", "grey"} and scores.units == {"psnr_y": "dB", "ssim": ""}
    assert scores.values["bicubic"].keys() == {"2", "3.5"} and scores.values["grey"]["2"].keys() == {"psnr_y", "ssim"}
    pictures = scores.values["bicubic"]["2"]["psnr_y"]
    assert pictures.keys() == {"0", "1"}
    assert scores.mean("bicubic", "2", "psnr_y") == pytest.approx(sum(pictures.values()) / 2)
    pair = next(TestSet(tmp_path).pairs(2))
    assert pictures["0"] == psnr_y(bicubic(pair.low, (96, 100)).clamp(0, 1), pair.clean, shave=2)
    means = scores.means()
    for metric in ("psnr_y", "ssim"):
        assert means["bicubic"]["2"][metric] > means["bicubic"]["3.5"][metric] > means["grey"]["2"][metric]
    table = markdown_table(scores).splitlines()
    assert table[0] == "| PSNR-Y, dB / SSIM | ×2 | ×3.5 |" and table[1] == "|---|---|---|" and len(table) == 4
    two, more = (means["bicubic"][s] for s in ("2", "3.5"))
    cells = (f"{cell['psnr_y']:.2f} / {cell['ssim']:.4f}" for cell in (two, more))
    assert table[2] == f"| bicubic | {' | '.join(cells)} |"
    assert markdown_table(scores, ["ssim"]).splitlines()[2].startswith(f"| bicubic | {two['ssim']:.4f} |")


def test_what_was_not_scored_does_not_count() -> None:
    scores = Scores(units={"psnr": "dB"})
    scores.add("m", "20-40", "psnr", "a", 10.0)
    scores.add("m", "20-40", "psnr", "b", math.nan)
    scores.add("m", "40-60", "psnr", "a", math.nan)
    assert scores.values["m"]["20-40"]["psnr"] == {"a": 10.0} and scores.mean("m", "20-40", "psnr") == 10
    assert markdown_table(scores).splitlines() == [
        "| PSNR, dB | 20–40 % | 40–60 % |",
        "|---|---|---|",
        "| m | 10.00 | nan |",
    ]
