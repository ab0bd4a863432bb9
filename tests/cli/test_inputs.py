"""What commands ask of their inputs and targets."""

from __future__ import annotations

from pathlib import Path

import pytest

from implicitkit.cli.inputs import (
    check_target,
    find_pictures,
    parse_bins,
    parse_size,
    parse_words,
    place_in,
    refuse_clashes,
    without_results,
)
from implicitkit.errors import UserError


def test_folders_are_opened_and_a_file_named_twice_is_there_once(tmp_path: Path) -> None:
    for name in ("b.png", "a.jpg", "notes.txt", ".hidden.png"):
        (tmp_path / name).touch()
    a, b = tmp_path / "a.jpg", tmp_path / "b.png"
    assert find_pictures([tmp_path]) == [a, b]
    assert find_pictures([b, tmp_path, tmp_path / "." / "b.png"]) == [b, a]
    assert find_pictures([tmp_path], keep=lambda pictures: pictures[1:]) == [b]
    with pytest.raises(UserError, match="holds no pictures"):
        find_pictures([tmp_path], keep=lambda pictures: [])
    with pytest.raises(UserError, match="there is no file .*none.png"):
        find_pictures([tmp_path / "none.png"])


def test_two_inputs_must_not_become_one_file_and_none_an_input() -> None:
    a, b, out = Path("a.png"), Path("b.png"), Path("out.png")
    refuse_clashes({a: [out], b: [Path("other.png")]})
    with pytest.raises(UserError, match="a.png and b.png would both become out.png"):
        refuse_clashes({a: [out], b: [out]})
    with pytest.raises(UserError, match="a.png is the input itself"):
        refuse_clashes({a: [out, a]})
    with pytest.raises(UserError, match="b.png is an input itself"):
        refuse_clashes({a: [b], b: [out]})


def test_a_target_is_there_only_with_force(tmp_path: Path) -> None:
    check_target(tmp_path / "new" / "x.png", force=False)  # the folder will be made
    (tmp_path / "x.png").touch()
    check_target(tmp_path / "x.png", force=True)
    with pytest.raises(UserError, match="exists; pass --force"):
        check_target(tmp_path / "x.png", force=False)
    with pytest.raises(UserError, match="x.png is not a folder"):
        check_target(tmp_path / "x.png" / "y.png", force=False)


def test_results_of_earlier_runs_are_left_out(tmp_path: Path) -> None:
    names = [
        "a.jpg",
        "a_x2.png",
        "a_x2_x3.png",
        "a_800x600.jpg",
        "a_w9.png",
        "b_x2.png",
        "c.png",
        "c_mask.png",
        "d_mask.png",
    ]
    files = [tmp_path / name for name in names]
    (tmp_path / "c_record.json").touch()
    kept = [path.name for path in without_results(files)]
    assert kept == ["a.jpg", "b_x2.png", "c.png", "d_mask.png"]  # whose originals, or records, are not there
    assert without_results(files[:1]) == files[:1]


def test_what_a_folder_run_leaves_out_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = (
        "a.png",
        "a_x2.png",
        "a_x2_x3.png",
        "a_w9.png",
        "a_800x600.jpg",
        "b.svg",
        "c.svg",
        "d.nef",
        "e_record.json",
    )
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.png").touch()
    assert find_pictures([tmp_path], without_results) == [tmp_path / "a.png"]
    assert capsys.readouterr().err == (
        f"left out of {tmp_path}: a_800x600.jpg, a_w9.png, a_x2.png and 1 more, made from others there; 3 files of other "
        "kinds (.svg 2, .nef 1); 1 folder (--recursive looks into them); name a file to process it\n"
    )
    both = [tmp_path / "a.png", tmp_path / "sub" / "a.png"]
    assert find_pictures([tmp_path], without_results, recursive=True) == both
    assert "folder" not in capsys.readouterr().err.partition(":")[2]
    assert find_pictures([tmp_path], without_results, recursive=True, output=tmp_path / "sub") == both[:1]
    assert place_in(Path("out"), both[1], [tmp_path]) == Path("out/sub")
    assert place_in(Path("out"), both[0], [both[0]]) == Path("out")


def test_sizes_are_width_and_height() -> None:
    assert parse_size("1920x1080") == parse_size(" 1920 × 1080") == parse_size("1920,1080") == (1080, 1920)
    for text in ("1080", "0x4", "4x", "-1x4", "1.5x2"):
        with pytest.raises(UserError, match="received"):
            parse_size(text)


def test_bins_are_pairs_of_percentages() -> None:
    assert parse_words("2 3,4") == ["2", "3", "4"] and parse_words("") == []
    assert parse_bins("0-20 20-40.5") == [(0, 20), (20, 40.5)]
    for text in ("", "20", "40-20", "20-101", "0-20 few"):
        with pytest.raises(UserError, match="--bins are hole ratios"):
            parse_bins(text)


@pytest.mark.parametrize("address", ["https://x.org/a.png", "HTTP://x.org/a.png", "s3://x/a.png"])
def test_an_address_is_no_file(address: str) -> None:
    with pytest.raises(UserError, match=f"^{address} is an address, not a file; download the picture first$"):
        find_pictures([Path(address)])  # which loses a slash


def test_named_results_of_earlier_runs_in_other_folders_are_left_out(tmp_path: Path) -> None:
    """``--output photos/large --name {name}_{label}`` mirrors the tree; a later run on the tree takes no result."""
    names = ("a.png", "b/c.png", "large/a_x2.png", "large/b/c_w9.png", "b/small/c_x1.5.png", "d/e_x2.png", "b/a_x2.png")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = find_pictures([tmp_path], without_results, recursive=True)
    assert [p.relative_to(tmp_path).as_posix() for p in found] == ["a.png", "b/c.png", "d/e_x2.png"]
