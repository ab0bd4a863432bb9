"""XMP in all its spellings: attributes, elements, structures."""

from __future__ import annotations

import pytest

from implicitkit.images.formats.xmp import fitted_xmp

HEAD = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:e="http://ns.adobe.com/exif/1.0/" xmlns:t="http://ns.adobe.com/tiff/1.0/" '
    'xmlns:d="http://www.dji.com/drone-dji/1.0/" xmlns:c="http://ns.google.com/photos/1.0/container/" '
    'xmlns:g="http://ns.adobe.com/hdr-gain-map/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"'
)
TAIL = "</rdf:Description></rdf:RDF></x:xmpmeta>"


def packet(attributes: str = "", content: str = "") -> bytes:
    return f"{HEAD} {attributes}>{content}{TAIL}".encode()


@pytest.mark.parametrize(
    "place",
    [
        ('e:GPSLatitude="here"', ""),
        ('d:GpsLongtitude="here"', ""),  # as the maker spells it
        ('d:AbsoluteAltitude="here"', ""),
        ("", "<e:GPSLongitude>here</e:GPSLongitude>"),
        ("", '<dc:place rdf:parseType="Resource"><e:GPSLatitude>here</e:GPSLatitude></dc:place>'),
    ],
)
def test_the_place_in_every_spelling(place: tuple[str, str]) -> None:
    whole = packet(place[0] + ' dc:format="f"', place[1])
    assert b"here" not in (fitted_xmp(whole, (1, 1)) or b"") and b"here" in (
        fitted_xmp(whole, (1, 1), keep_gps=True) or b""
    )


def test_parts_that_are_not_copied_are_not_announced() -> None:
    whole = packet('g:Version="1.0" dc:format="f"', "<c:Directory><rdf:Seq/></c:Directory>")
    found = (fitted_xmp(whole, (1, 1)) or b"").decode()
    assert "Directory" not in found and "Version=" not in found and 'dc:format="f"' in found


def test_sizes() -> None:
    found = fitted_xmp(packet('t:ImageWidth="9"', "<e:PixelYDimension>9</e:PixelYDimension>"), (30, 40)) or b""
    assert b't:ImageWidth="40"' in found and b">30<" in found


def test_nothing_left_is_no_packet() -> None:
    assert fitted_xmp(packet('t:Orientation="6"'), (1, 1)) is None


def test_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("implicitkit.images.formats.xmp.MAX_BYTES", 1 << 20)
    with pytest.raises(ValueError, match="more than 1 MiB"):
        fitted_xmp(b"<a>" + b" x" * (1 << 20) + b"</a>", (1, 1))
