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
)
from implicitkit.errors import UserError
from implicitkit.images.folders import Origin


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
    if Path("/proc/self").exists():  # a folder in which not even root can create a file
        with pytest.raises(UserError, match="cannot be written|is read-only"):
            check_target(Path("/proc/x.png"), force=False)
    assert sorted(tmp_path.iterdir()) == [tmp_path / "x.png"], "trying leaves nothing"


def test_what_a_folder_run_leaves_out_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("a.png", "a_w9.png", "b.svg", "c.svg", "d.nef", "e_record.json", "sub/a.png", "sub/b_mask.png")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    origin = Origin(tmp_path / "a.png", tmp_path)
    for name in ("a_w9.png", "big0.png", "big1.png", "big2.png"):
        (tmp_path / name).write_text(name)
        origin.recorder(tmp_path / name)(tmp_path / name)
    assert find_pictures([tmp_path]) == [tmp_path / "a.png"]
    assert capsys.readouterr().err == (
        f"left out of {tmp_path}: a_w9.png, big0.png, big1.png and 1 more, results of earlier runs; 3 files of other "
        "kinds (.svg 2, .nef 1); 1 folder (--recursive looks into them); name a file to process it\n"
    )
    both = [tmp_path / "a.png", tmp_path / "sub" / "a.png"]

    def unmasked(pictures: list[Path]) -> list[Path]:
        return [picture for picture in pictures if "mask" not in picture.name]

    assert find_pictures([tmp_path], unmasked, recursive=True) == both
    line = capsys.readouterr().err
    assert "; sub/b_mask.png, made from others there; " in line and "folder" not in line.partition(":")[2]
    assert find_pictures([tmp_path], recursive=True, output=tmp_path / "sub") == both[:1]
    line = capsys.readouterr().err
    assert f"; sub/a.png, sub/b_mask.png, in the output folder {tmp_path / 'sub'}; " in line
    assert len(find_pictures([tmp_path], with_results=True)) == 5
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
