"""Pickles are read without executing anything."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch

import implicitkit as ik
from implicitkit.errors import WeightsError
from implicitkit.weights.pickled import read_pickled


class Surprise:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("executed!",)


def test_a_foreign_pickle_is_refused_and_not_executed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"model": Surprise()}, tmp_path / "x.pth")
    with pytest.raises(ik.WeightsError, match="could execute code"):
        ik.load_model(tmp_path / "x.pth")
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("end", [-1, -60, 400, 8])
def test_a_file_that_was_cut_is_named(end: int, tmp_path: Path) -> None:
    torch.save({"weight": torch.rand(40, 40)}, tmp_path / "x.pth")
    whole = (tmp_path / "x.pth").read_bytes()
    assert read_pickled(tmp_path / "x.pth")["weight"].shape == (40, 40)
    (tmp_path / "x.pth").write_bytes(whole[:end])
    with pytest.raises(WeightsError, match="x.pth is a damaged or incomplete file"):
        read_pickled(tmp_path / "x.pth")


def test_other_archives_and_formats_are_named(tmp_path: Path) -> None:
    file = tmp_path / "x.pth"
    for content, what in (
        (b"\x08\x07\x12\x07pytorch", "is an ONNX graph"),
        (b"\x89HDF\r\n\x1a\n" + bytes(40), "is an HDF5 file"),
        (b"\x93NUMPY\x01\0", "is a NumPy array"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(40), "is a 7-Zip archive"),
        (b"a" * 257 + b"ustar\0" + bytes(300), "is a tar archive"),
        (bytes(300), "begins with zeros"),
        ("Привет, мир. ".encode() * 40, "is a text file"),  # 512 bytes end within a letter
        (b"\nmodel: {encoder: edsr}", "is a text file"),  # the byte where a safetensors file has its brace
        (bytes(range(128, 200)), "is no file of weights in a known format"),
    ):
        file.write_bytes(content)
        with pytest.raises(ik.WeightsError, match=what):
            ik.load_model(file)
    for inside, what in (("a.txt", "is a ZIP archive, not a file of weights"), ("x/constants.pkl", "a TorchScript")):
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(inside, "x")
        with pytest.raises(ik.WeightsError, match=what):
            ik.load_model(file)


@pytest.mark.filterwarnings("ignore:torch.quantize:UserWarning")  # deprecated, and still in files
def test_torchs_own_words_about_what_is_inside_are_not_shown(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    values = torch.rand(3, 3)
    packed = {"sparse": values.to_sparse(), "quantised": torch.quantize_per_tensor(values, 0.1, 0, torch.qint8)}
    torch.save(packed, tmp_path / "x.pth")
    recwarn.clear()
    assert set(read_pickled(tmp_path / "x.pth")) == set(packed) and not recwarn.list
