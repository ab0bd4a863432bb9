"""Folders of pictures."""

import pytest

import implicitkit as ik
from implicitkit.images.folders import picture_files
from oracles import PHOTOS


def test_folders_hold_the_files_that_training_has_always_read() -> None:
    dataset = ik.create_dataset({"name": "folders", "folders": [str(PHOTOS)]})
    assert [dataset.file(k) for k in range(len(dataset))] == picture_files([PHOTOS])
    with pytest.raises(ik.DataError, match="there is no folder nowhere"):
        ik.create_dataset({"name": "folders", "folders": ["nowhere"]})
