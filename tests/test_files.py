"""Digests of content, and locks."""

from __future__ import annotations

from pathlib import Path

import pytest
from filelock import FileLock

import implicitkit as ik
from implicitkit.files import digest, is_held, read_json, read_kept, write_kept


def test_a_folder_is_known_by_names_and_content(tmp_path: Path) -> None:
    (tmp_path / "one" / "inner").mkdir(parents=True)
    (tmp_path / "one" / "inner" / "a").write_text("a")
    before = digest(tmp_path / "one")
    assert digest(tmp_path / "one") == before != digest(tmp_path / "one" / "inner")
    (tmp_path / "one" / "inner" / "a").write_text("b")
    assert digest(tmp_path / "one") != before
    assert (
        digest(tmp_path / "one" / "inner" / "a") == "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d"
    )


def test_a_lock_is_seen_and_left_alone(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "lock")
    with FileLock(tmp_path / "lock"):
        assert is_held(tmp_path / "lock") and is_held(tmp_path / "lock")
    assert not is_held(tmp_path / "lock")


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(ik.UserError, match=r"cannot read .*x.json: Expecting"):
        read_json(tmp_path / "x.json")
    with pytest.raises(ik.UserError, match="there is no file"):
        read_json(tmp_path / "none.json")


def test_a_kept_value_is_of_its_key(tmp_path: Path) -> None:
    write_kept(tmp_path / "kept.json", {"of": (1, 2)}, [3])
    assert read_kept(tmp_path / "kept.json", {"of": (1, 2)}) == [3]
    assert read_kept(tmp_path / "kept.json", {"of": (1, 3)}) is None and read_kept(tmp_path / "none.json", 1) is None
    for text in ("{", "[]", "3", '{"old": 1}'):
        (tmp_path / "kept.json").write_text(text)
        assert read_kept(tmp_path / "kept.json", {"of": (1, 2)}) is None
