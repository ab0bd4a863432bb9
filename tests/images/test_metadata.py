"""What belongs to a photograph goes with it, and what it should not tell stays behind."""

from __future__ import annotations

import struct
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, PngImagePlugin

import implicitkit as ik
from implicitkit.images.io import Picture, read_picture, write_picture
from implicitkit.images.metadata import exif_orientation
from implicitkit.images.upscale import upscale_picture

PLACE = b"secret-place"
XMP = b"""<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:pano="http://ns.google.com/photos/1.0/panorama/" pano:FullPanoWidthPixels="64"
 tiff:Orientation="6" exif:PixelXDimension="32" exif:PixelYDimension="16" exif:GPSLatitude="secret-place">
<dc:creator><rdf:Seq><rdf:li>Ada</rdf:li></rdf:Seq></dc:creator><xmp:CreateDate>2024-05-06T07:08:09</xmp:CreateDate>
<exif:GPSLongitude>secret-place</exif:GPSLongitude><xmp:Thumbnails>old</xmp:Thumbnails>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>"""


def exif_of_a_camera(order: str = ">", orientation: int = 6) -> bytes:
    """A block such as cameras write it: both byte orders, a thumbnail, a maker's note with the place in it."""

    def table(entries: list[tuple[int, int, int, bytes]], start: int, following: int = 0) -> bytes:
        head, values = struct.pack(f"{order}H", len(entries)), b""
        at = start + 2 + 12 * len(entries) + 4
        for tag, kind, count, value in sorted(entries):
            stored = value.ljust(4, b"\0")
            if len(value) > 4:
                stored, values = struct.pack(f"{order}I", at + len(values)), values + value + b"\0" * (len(value) % 2)
            head += struct.pack(f"{order}HHI", tag, kind, count) + stored
        return head + struct.pack(f"{order}I", following) + values

    def short(n: int) -> bytes:
        return struct.pack(f"{order}H", n)

    def long(n: int) -> bytes:
        return struct.pack(f"{order}I", n)

    def ratio(a: int, b: int) -> bytes:
        return struct.pack(f"{order}2I", a, b)

    main = [
        *((0x0110, 2, 7, b"Model1\0"), (0x0112, 3, 1, short(orientation)), (0x0132, 2, 20, b"2024:05:06 07:08:09\0")),
        *((0x011A, 5, 1, ratio(300, 1)), (0x011B, 5, 1, ratio(150, 1)), (0x0128, 3, 1, short(2))),
        *((0x0100, 4, 1, long(32)), (0x0101, 4, 1, long(16))),
    ]
    camera = [
        *((0x829A, 5, 1, ratio(1, 250)), (0x9003, 2, 20, b"2024:05:06 07:08:09\0"), (0xA434, 2, 8, b"50mm/f2\0")),
        *((0xA002, 4, 1, long(32)), (0xA003, 4, 1, long(16)), (0x9214, 3, 2, short(9) + short(9))),
        (0x927C, 7, len(PLACE), PLACE),
    ]
    gps = [(0x0001, 2, 2, b"N\0"), (0x0002, 5, 3, ratio(48, 1) * 3), (0x001C, 7, len(PLACE), PLACE)]
    thumbnail = [(0x0201, 4, 1, long(0)), (0x0202, 4, 1, long(10))]
    pointers = [(0x8769, 4, 1, long(0)), (0x8825, 4, 1, long(0))]
    camera_at = 8 + len(table(main + pointers, 8))
    gps_at = camera_at + len(table(camera, camera_at))
    thumbnail_at = gps_at + len(table(gps, gps_at))
    pointers = [(0x8769, 4, 1, long(camera_at)), (0x8825, 4, 1, long(gps_at))]
    begin = (b"MM\0*" if order == ">" else b"II*\0") + long(8)
    parts = table(main + pointers, 8, thumbnail_at) + table(camera, camera_at) + table(gps, gps_at)
    return begin + parts + table(thumbnail, thumbnail_at) + b"an old one"


def photograph(path: Path, exif: bytes, xmp: bytes = XMP) -> Path:
    """A picture of 32×16 stored pixels with all that belongs to it, by Pillow."""
    pixels = np.random.default_rng(0).integers(0, 256, (16, 32, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    if path.suffix == ".png":
        text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", xmp.decode())
        text.add_text("Title", "a cat")
        text.add_text("Raw profile type exif", "secret-place")
        image.save(path, exif=exif, pnginfo=text, dpi=(300, 150))
    elif path.suffix == ".jpg":
        header = b"http://ns.adobe.com/xap/1.0/\0" + xmp
        segment = b"\xff\xe1" + struct.pack(">H", len(header) + 2) + header
        image.save(path, exif=b"Exif\0\0" + exif, extra=segment, dpi=(300, 150))
    else:
        image.save(path, exif=exif, xmp=xmp)
    return path


def xmp_of(image: Image.Image) -> dict[str, str]:
    """Names and values as Pillow and an XML parser find them."""
    packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or image.tag_v2[700]
    packet = (packet if isinstance(packet, bytes) else packet.encode()).strip(b"\0")
    values = {}
    for element in ElementTree.fromstring(packet).iter():
        for name, value in [*element.attrib.items(), (element.tag, element.text)]:
            values[name.rpartition("}")[2]] = value
    return values


@pytest.mark.parametrize("after", [".jpg", ".png", ".webp", ".tif", ".avif"])
@pytest.mark.parametrize("before", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("order", [">", "<"])
def test_what_belongs_to_a_photograph_goes_from_every_file_to_every_other(
    tmp_path: Path, before: str, after: str, order: str
) -> None:
    source = photograph(tmp_path / f"a{before}", exif_of_a_camera(order))
    picture = read_picture(source)
    assert picture.size == (32, 16)  # upright
    assert picture.metadata.dpi is None or np.allclose(picture.metadata.dpi, (150, 300), atol=0.1)
    larger = Picture(np.tile(picture.pixels, (2, 2, 1)), metadata=picture.metadata)
    write_picture(tmp_path / f"b{after}", larger)
    content = (tmp_path / f"b{after}").read_bytes()
    assert PLACE not in content and b"an old one" not in content
    with Image.open(tmp_path / f"b{after}") as image:  # another reader
        image.load()
        exif = image.getexif()
        xmp = xmp_of(image)
    assert exif.get(0x0112, 1) == 1 and exif[0x0110] == "Model1" and exif[0x0132] == "2024:05:06 07:08:09"
    camera = exif.get_ifd(0x8769)
    assert float(camera[0x829A]) == 1 / 250 and camera[0x9003] == "2024:05:06 07:08:09" and camera[0xA434] == "50mm/f2"
    assert (camera[0xA002], camera[0xA003]) == (32, 64)
    assert not {0x927C, 0x9214} & set(camera) and not exif.get_ifd(0x8825) and not exif.get_ifd(1)
    assert (float(exif[0x011A]), float(exif[0x011B])) == pytest.approx((150, 300), abs=0.02)  # PNG counts per metre
    assert xmp["CreateDate"] == "2024-05-06T07:08:09" and xmp["li"] == "Ada"
    assert (xmp["PixelXDimension"], xmp["PixelYDimension"], xmp["FullPanoWidthPixels"]) == ("32", "64", "128")
    assert not {"Orientation", "GPSLatitude", "GPSLongitude", "Thumbnails"} & set(xmp)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
def test_the_place_is_kept_on_request_alone(tmp_path: Path, suffix: str) -> None:
    picture = read_picture(photograph(tmp_path / "a.jpg", exif_of_a_camera()))
    write_picture(tmp_path / f"b{suffix}", picture, keep_gps=True)
    with Image.open(tmp_path / f"b{suffix}") as image:
        assert image.getexif().get_ifd(0x8825)[2] == (48.0, 48.0, 48.0)
        assert xmp_of(image)["GPSLatitude"] == "secret-place"
    assert (tmp_path / f"b{suffix}").read_bytes().count(PLACE) >= 2
    again = read_picture(tmp_path / f"b{suffix}")
    write_picture(tmp_path / f"c{suffix}", again)  # without being asked, it goes
    assert PLACE not in (tmp_path / f"c{suffix}").read_bytes()


def test_png_text_is_kept_on_request_without_what_hides_the_place(tmp_path: Path) -> None:
    source = photograph(tmp_path / "a.png", exif_of_a_camera())
    picture = read_picture(source)
    assert ("Title", "a cat") in picture.metadata.text
    write_picture(tmp_path / "b.png", picture)
    write_picture(tmp_path / "c.png", picture, keep_text=True)
    with Image.open(tmp_path / "b.png") as without, Image.open(tmp_path / "c.png") as with_text:
        assert "Title" not in without.text and with_text.text["Title"] == "a cat"
    assert PLACE not in (tmp_path / "c.png").read_bytes()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_resolution(tmp_path: Path, suffix: str) -> None:
    ik.write_image(tmp_path / f"a{suffix}", torch.rand(3, 8, 6), metadata=ik.ImageMetadata(dpi=(300.0, 72.0)))
    found = ik.read_metadata(tmp_path / f"a{suffix}")
    assert found.dpi == pytest.approx((300, 72), abs=0.02) and found.exif is None and found.size == (8, 6)
    with Image.open(tmp_path / f"a{suffix}") as image:
        assert tuple(map(float, image.info["dpi"])) == pytest.approx((300, 72), abs=0.02)


def test_no_metadata_write_what_they_always_wrote(tmp_path: Path) -> None:
    ik.write_image(tmp_path / "a.jpg", torch.rand(3, 8, 6))
    found = ik.read_metadata(tmp_path / "a.jpg")
    assert (found.exif, found.xmp, found.dpi, found.text) == (None, None, None, ())


def test_metadata_go_through_a_model_and_read_metadata(tmp_path: Path) -> None:
    source = photograph(tmp_path / "a.jpg", exif_of_a_camera())
    model = ik.create_model({"encoder": {"name": "edsr", "blocks": 0, "channels": 4}, "decoder": "nearest"})
    large = upscale_picture(model, read_picture(source), (50, 25))
    write_picture(tmp_path / "b.jpg", large)
    ik.write_image(tmp_path / "c.jpg", torch.rand(3, 50, 25), metadata=ik.read_metadata(source))
    for name in ("b.jpg", "c.jpg"):
        with Image.open(tmp_path / name) as image:
            assert image.getexif().get_ifd(0x8769)[0xA003] == 50
            assert PLACE not in (tmp_path / name).read_bytes()


DAMAGED = [
    (exif_of_a_camera()[:30], XMP, "its EXIF is damaged and left out: it ends too early"),
    (b"nothing like it", XMP, "its EXIF is damaged and left out: it does not begin as EXIF does"),
    (exif_of_a_camera(), b"<a>" + PLACE, "its XMP is left out: it is no XML"),
    (exif_of_a_camera(), b"<!DOCTYPE a [<!ENTITY b 'b'>]><a>&b;</a>", "its XMP is left out: it declares entities"),
]


@pytest.mark.parametrize(("exif", "xmp", "message"), DAMAGED)
def test_what_is_damaged_is_left_out_and_said(tmp_path: Path, exif: bytes, xmp: bytes, message: str) -> None:
    metadata = ik.ImageMetadata(exif, xmp, size=(4, 4))
    assert exif_orientation(exif) in (1, 6)
    with pytest.warns(ik.ImageWarning, match=message):
        ik.write_image(tmp_path / "a.png", torch.rand(3, 4, 4), metadata=metadata)
    assert PLACE not in (tmp_path / "a.png").read_bytes()
    assert read_picture(tmp_path / "a.png").size == (4, 4)


def test_what_no_jpeg_holds_is_left_out_and_said(tmp_path: Path) -> None:
    long = XMP.replace(b"Ada", b"Ada" * 30000)
    with pytest.warns(ik.ImageWarning, match=r"its XMP of 88 KiB is left out, JPEG holds 64; \.png and \.tif hold it"):
        ik.write_image(tmp_path / "a.jpg", torch.rand(3, 4, 4), metadata=ik.ImageMetadata(xmp=long))
    ik.write_image(tmp_path / "a.png", torch.rand(3, 4, 4), metadata=ik.ImageMetadata(xmp=long))
    assert b"Ada" * 30000 in (ik.read_metadata(tmp_path / "a.png").xmp or b"")


def test_deep_tiffs_keep_their_pixels_and_others_read_them(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (9, 7, 3), dtype=np.uint16)
    metadata = ik.ImageMetadata(exif_of_a_camera(orientation=1), XMP, (200.0, 200.0))
    write_picture(tmp_path / "a.tif", Picture(deep, deep[..., 0], b"a profile", metadata=metadata))
    again = read_picture(tmp_path / "a.tif")
    assert (
        np.array_equal(again.pixels, deep) and np.array_equal(again.alpha, deep[..., 0]) and again.icc == b"a profile"
    )
    assert again.metadata.dpi == (200.0, 200.0)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert len(file.pages) == 1 and file.pages.first.tags["ExifTag"].value["LensModel"] == "50mm/f2"
        assert np.array_equal(file.asarray()[..., :3], deep)
