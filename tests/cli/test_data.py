"""``implicitkit data check``."""

import json
import shutil
from pathlib import Path

from oracles import PHOTOS


def test_a_clean_folder_and_one_that_is_not(run, tmp_path: Path) -> None:
    clean = run("data", "check", str(PHOTOS))
    assert clean.code == 0 and "0 cannot be read" in clean.out
    first = min(PHOTOS.glob("*.png"))
    for name in ("a.png", "b.png"):
        shutil.copy(first, tmp_path / name)
    twice = run("data", "check", str(tmp_path), "--against", str(PHOTOS))
    assert twice.code == 1
    assert "with the same pixels: 1" in twice.out and "look like one of the test set: 2" in twice.out
    assert json.loads(run("data", "check", str(tmp_path), "--json").out)["pictures"] == 2


def test_a_folder_that_is_not_there(run) -> None:
    missing = run("data", "check", "nowhere")
    assert missing.code == 2 and missing.errors == ["error: there is no folder nowhere"]
