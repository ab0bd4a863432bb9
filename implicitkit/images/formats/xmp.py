"""XMP, the XML beside a picture (ISO 16684-1): what still holds of another picture made from it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

MAX_BYTES = 16 << 20
PLACE = re.compile(r"gps|latitude|longitude|altitude", re.IGNORECASE)
STALE_NAMES = re.compile(r"^(Orientation|Thumbnails|HasExtendedXMP|NativeDigest)$")
PARTS_BEHIND = (  # say what follows the picture in its file, or hold it: depth, films, gain maps, which are not copied
    *("http://ns.google.com/photos/1.0/" + name for name in ("camera", "container", "depthmap", "image", "audio")),
    "http://ns.adobe.com/hdr-gain-map/",
)
SIZES = {"PixelXDimension": 1, "ImageWidth": 1, "PixelYDimension": 0, "ImageLength": 0}
IN_PIXELS = re.compile(r"(Width|Left|X)Pixels$|(Height|Top|Y)Pixels$")  # of panoramas


def fitted_xmp(
    packet: bytes, size: tuple[int, int], before: tuple[int, int] | None = None, *, keep_gps: bool = False
) -> bytes | None:
    """The packet for an upright picture of ``size`` ``(H, W)``; None if nothing is left.

    It loses the orientation, thumbnails, what belongs to other parts of the file and, without ``keep_gps``, the place.
    Sizes become those of the new picture; those of a panorama are scaled.

    Args:
        packet: as it was read.
        size: of the new picture.
        before: of the old one, upright.
        keep_gps: keep what is named after GPS, latitude, longitude or altitude.

    Raises:
        ValueError: it is no XML, or XML that no XMP needs.
    """
    from xml.dom import minidom
    from xml.parsers.expat import ExpatError

    packet = packet.strip(b"\0 \r\n\t")
    if len(packet) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES >> 20} MiB")
    if b"<!DOCTYPE" in packet or b"<!ENTITY" in packet:  # entities may be made to fill the memory
        raise ValueError("it declares entities")
    try:
        document = minidom.parseString(packet)
    except (ExpatError, ValueError, UnicodeError) as error:
        raise ValueError(f"it is no XML ({error})") from None

    def drops(node: Any) -> bool:
        name, namespace = node.localName or node.nodeName, node.namespaceURI or ""
        if STALE_NAMES.search(name) or namespace.startswith(PARTS_BEHIND):
            return True
        return not keep_gps and namespace != "http://www.w3.org/2000/xmlns/" and bool(PLACE.search(name))

    def change(name: str, text: str) -> str:
        if name in SIZES:
            return str(size[SIZES[name]])
        match = IN_PIXELS.search(name)
        if match is None or before is None or not text.strip().isdecimal():
            return text
        axis = 1 if match[1] else 0
        return str(round(int(text) * size[axis] / before[axis]))

    _edit(document.documentElement, drops, change)
    text = "".join(node.toxml() for node in document.childNodes)
    return text.encode() if _says_something(document.documentElement) else None


def _edit(element: Any, drops: Callable[[Any], bool], change: Callable[[str, str], str]) -> None:
    """Remove what is to be dropped from an element and all in it, and change the rest."""
    for attribute in [element.attributes.item(k) for k in range(element.attributes.length)]:
        if attribute.namespaceURI == "http://www.w3.org/2000/xmlns/":
            continue
        if drops(attribute):
            element.removeAttributeNode(attribute)
        else:
            attribute.value = change(attribute.localName or attribute.name, attribute.value)
    for child in list(element.childNodes):
        if child.nodeType == child.ELEMENT_NODE:
            if drops(child):
                element.removeChild(child)
            else:
                _edit(child, drops, change)
        elif child.nodeType == child.TEXT_NODE:
            child.data = change(element.localName or element.tagName, child.data)


def _says_something(root: Any) -> bool:
    """Whether a description has an attribute of its own, or anything in it."""
    for element in [*root.getElementsByTagNameNS("*", "Description"), root]:
        own = [element.attributes.item(k) for k in range(element.attributes.length)]
        inside = [n for n in element.childNodes if n.nodeType == n.ELEMENT_NODE and n.localName not in CONTAINERS]
        if inside or any(not a.name.startswith(("xmlns", "rdf:about", "x:xmptk")) for a in own):
            return True
    return False


CONTAINERS = ("xmpmeta", "xapmeta", "RDF", "Description")
