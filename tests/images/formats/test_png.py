"""PNG files of every kind that we write, read by two other programs."""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import implicitkit as ik
from benchmarks import child
from implicitkit.images.formats import png as module
from implicitkit.images.formats.png import SIGNATURE, _chunk, write_png
from implicitkit.images.io import read_picture, to_tensor, write_picture
from oracles.models import small_model


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    channels=st.sampled_from([1, 3]),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    transparent=st.booleans(),
    smooth=st.booleans(),
)
def test_others_read_what_was_written(
    size: tuple[int, int], channels: int, dtype: type, transparent: bool, smooth: bool, tmp_path: Path
) -> None:
    random = np.random.default_rng(size[0] * 41 + size[1])
    top = np.iinfo(dtype).max
    pixels = random.integers(0, top, (*size, channels), dtype=dtype, endpoint=True)
    if smooth:  # so that every filter is chosen somewhere
        pixels = (np.cumsum(np.cumsum(pixels.astype(np.int64) % 3, axis=0), axis=1) % (top + 1)).astype(dtype)
    alpha = random.integers(0, top, size, dtype=dtype, endpoint=True) if transparent else None
    path = tmp_path / "x.png"
    write_png(path, pixels, alpha, b"a profile" if transparent else None)
    expected = pixels if alpha is None else np.concatenate([pixels, alpha[..., None]], axis=2)
    found = imagecodecs.png_decode(path.read_bytes()).reshape(expected.shape)
    assert found.dtype == dtype and np.array_equal(found, expected)
    ours = read_picture(path)
    assert np.array_equal(ours.pixels, pixels) and (alpha is None or np.array_equal(ours.alpha, alpha))
    with Image.open(path) as image:  # checks the checksums
        image.load()
        assert image.info.get("icc_profile") == (b"a profile" if transparent else None)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_strides_of_what_is_written_do_not_matter(dtype: type, tmp_path: Path) -> None:
    """An axis that was added has stride 0; views run backwards, skip, or have their axes the other way round."""
    random = np.random.default_rng(0)
    plane = random.integers(0, np.iinfo(dtype).max, (24, 48), dtype=dtype)
    colour = random.integers(0, np.iinfo(dtype).max, (3, 24, 48), dtype=dtype)
    views = [plane[..., None], plane.T[..., None], plane[::-2, ::3, None], np.moveaxis(colour, 0, -1)]
    views += [plane[:1, :, None], plane[:, :1, None], plane[:1, :1, None], colour[:, :1].transpose(1, 2, 0)]
    views += [np.broadcast_to(plane[..., None], (24, 48, 3))]
    for number, view in enumerate(views):
        for alpha in (None, view[..., 0]):
            write_png(tmp_path / f"{number}.png", view, alpha)
            written = read_picture(tmp_path / f"{number}.png")
            assert np.array_equal(written.pixels, view), number
            assert alpha is None or np.array_equal(written.alpha, alpha), number


def test_files_are_as_small_as_pillows(tmp_path: Path) -> None:
    picture = np.asarray(Image.open(Path(ik.__file__).parent / "assets" / "astronaut.png").convert("RGB"))
    write_png(tmp_path / "ours.png", picture)
    Image.fromarray(picture).save(tmp_path / "theirs.png", compress_level=module.COMPRESSION_LEVEL)
    assert (tmp_path / "ours.png").stat().st_size < 1.05 * (tmp_path / "theirs.png").stat().st_size


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_level_becomes_the_nearest_float(dtype: type) -> None:
    levels = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(-1, 4, 1)
    levels.flags.writeable = False
    expected = levels.astype(np.float32) / np.float32(np.iinfo(dtype).max)
    assert np.array_equal(to_tensor(levels).numpy(), expected.transpose(2, 0, 1))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the system does not say how much memory a process used")
def test_memory_grows_by_the_canvas_alone(tmp_path: Path) -> None:
    weights = small_model(channels=4, blocks=1, hidden=(4,)).save(tmp_path / "m.safetensors")
    source = tmp_path / "x.png"
    write_png(source, np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    peaks = {}
    for side in (512, 3072):
        flags = ["--model", str(weights), "--size", f"{side}x{side}", "--precision", "float32", "--device", "cpu"]
        command = [sys.executable, "-m", "implicitkit", "upscale", str(source), "-o", str(tmp_path / f"{side}.png")]
        peaks[side] = child.run([*command, *flags], {"OMP_NUM_THREADS": "1"}).peak
    canvas = 3 * (3072**2 - 512**2)
    assert peaks[3072] - peaks[512] < 1.35 * canvas  # a copy for the writer would be 1.33 canvases more


def png(width: int, height: int, depth: int, kind: int, row: bytes, *more: bytes) -> bytes:
    """A file of equal rows."""
    head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    body = zlib.compress((b"\0" + row) * height)
    return SIGNATURE + _chunk(b"IHDR", head) + b"".join(more) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


@pytest.mark.parametrize(("depth", "row"), [(2, b"\x55\xff"), (4, b"\x55\x55\xff\xff")])
def test_a_transparent_level_of_a_low_depth(depth: int, row: bytes, tmp_path: Path) -> None:
    level = _chunk(b"tRNS", bytes([0, 2**depth - 1]))
    (tmp_path / "a.png").write_bytes(png(8, 2, depth, 0, row, level))
    picture = read_picture(tmp_path / "a.png")
    assert picture.alpha is not None and picture.alpha[0].tolist() == [255] * 4 + [0] * 4
    assert picture.pixels[0, 0, 0] == 85


def test_long_text_is_no_reason_to_refuse(tmp_path: Path) -> None:
    text = _chunk(b"zTXt", b"workflow\0\0" + zlib.compress(b"x" * 3_000_000))
    (tmp_path / "a.png").write_bytes(png(2, 2, 8, 0, b"\1\2", text))
    assert read_picture(tmp_path / "a.png").pixels[0].ravel().tolist() == [1, 2]


def test_a_colour_space_is_kept_or_refused(tmp_path: Path) -> None:
    gamma = _chunk(b"gAMA", struct.pack(">I", 100_000))
    wide = _chunk(b"cICP", bytes([12, 13, 0, 1]))
    for number, chunk in enumerate((gamma, wide)):
        source = tmp_path / f"{number}.png"
        source.write_bytes(png(2, 2, 8, 0, b"\1\2", chunk))
        picture = read_picture(source)
        write_picture(tmp_path / "again.png", picture)
        assert chunk in (tmp_path / "again.png").read_bytes()
        assert read_picture(tmp_path / "again.png").colour_space == picture.colour_space
        for suffix in (".jpg", ".tif", ".webp"):
            with pytest.raises(ik.ImageError, match=r"only PNG holds the colour space .*(gAMA|cICP)"):
                write_picture(tmp_path / f"again{suffix}", picture)
    as_usual = _chunk(b"gAMA", struct.pack(">I", 45_455))
    (tmp_path / "srgb.png").write_bytes(png(2, 2, 8, 0, b"\1\2", as_usual))
    assert read_picture(tmp_path / "srgb.png").colour_space == ()


def test_a_profile_that_swells_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PROFILE_BYTES", 1 << 20)
    for size in (1 << 20, (1 << 20) + 1):
        profile = _chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(size)))
        (tmp_path / f"{size}.png").write_bytes(png(2, 2, 8, 0, b"\1\2", profile))
    assert read_picture(tmp_path / f"{1 << 20}.png").icc == bytes(1 << 20)
    with pytest.raises(ik.ImageError, match="its colour profile has more than 1 MiB"):
        read_picture(tmp_path / f"{(1 << 20) + 1}.png")


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("implicitkit.images.picture.free_memory", lambda device: 1 << 30)
    monkeypatch.setattr("imagecodecs.png_decode", lambda data: pytest.fail("it was decoded"))
    (tmp_path / "a.png").write_bytes(
        png(30_000, 1, 16, 2, b"").replace(struct.pack(">II", 30_000, 1), struct.pack(">II", 30_000, 30_000))
    )
    with pytest.raises(ik.ImageError, match=r"30000×30000 pixels; 16.2 GB are needed, 1.1 free"):
        read_picture(tmp_path / "a.png")


def test_an_animation_is_refused(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((4, 4, 3), level, np.uint8)) for level in (0, 200)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:])
    for name in ("a.png", "a.webp"):
        with pytest.raises(ik.ImageError, match="an animation of 2 pictures; save one of them"):
            read_picture(tmp_path / name)


def test_the_first_of_the_chunks_that_name_a_colour_space_counts(tmp_path: Path) -> None:
    pq, grey = _chunk(b"cICP", bytes([9, 16, 0, 1])), _chunk(b"gAMA", struct.pack(">I", 100_000))
    profile, srgb = _chunk(b"iCCP", b"x\0\0" + zlib.compress(b"profile")), _chunk(b"sRGB", b"\0")
    for chunks, kept in (([profile, pq], pq), ([srgb, pq, grey], pq), ([srgb, grey], b""), ([profile, grey], b"")):
        (tmp_path / "a.png").write_bytes(png(2, 2, 8, 0, b"\1\2", *chunks))
        assert b"".join(_chunk(*pair) for pair in read_picture(tmp_path / "a.png").colour_space) == kept
    (tmp_path / "a.png").write_bytes(png(2, 2, 8, 0, b"\1\2", _chunk(b"gAMA", b"\0\0")))
    with pytest.raises(ik.ImageError, match="its gAMA chunk has 2 bytes in place of 4"):
        read_picture(tmp_path / "a.png")
