"""Classes chosen by name, and their names from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from semantics import COLOURS, NAMES

from implicitkit.errors import DataError, UnknownNameError
from implicitkit_sair.segmentation.vocabulary import Vocabulary, read_names


def test_a_vocabulary_chooses_by_name(tmp_path: Path) -> None:
    np.save(tmp_path / "bank.npy", (COLOURS * 7).numpy().astype(np.float16))
    bank = Vocabulary.from_file(tmp_path / "bank.npy", NAMES)
    assert torch.allclose(bank.embeddings, COLOURS)
    chosen = bank.select(["Blue", "red"])
    assert chosen.names == ("blue", "red") and torch.equal(chosen.embeddings, COLOURS[[2, 0]])
    with pytest.raises(UnknownNameError, match=r"no class 'grean' among the 3 .*green"):
        bank.select(["grean"])
    with pytest.raises(DataError, match="holds 3 embeddings for 2 names"):
        Vocabulary.from_file(tmp_path / "bank.npy", ["a", "b"])


def test_names_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("sky\n\n# plants\npalm tree  # of the beach\n")
    assert read_names(tmp_path / "names.txt") == ["sky", "palm tree"]
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(DataError, match="holds no class names"):
        read_names(tmp_path / "empty.txt")
    with pytest.raises(DataError, match="there is no file"):
        read_names(tmp_path / "none.txt")


# ---------------------------------------------------------------------------- label maps and mIoU
