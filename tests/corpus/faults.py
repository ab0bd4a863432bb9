"""One tiny file per known fault, what to do with it, and what the command must say.

cd tests && python -m corpus.faults FOLDER      # writes all of them to FOLDER/NAME/
"""

from __future__ import annotations

import os
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from corpus.files import chunk, native, pickled, pictures, pixels, png, tensors

UPSCALE = ("upscale", "FILE", "--scale", "2", "--model", "tiny.safetensors", "-o", "out.png")
MASKS = ("degrade", "rgb.png", "-o", "out.png", "--spec", "{name: inpainting, kind: folder, folder: masks}")
PIPE, FOLDER = b"\0a pipe", b"\0a folder"  # in place of content


class Fault(NamedTuple):
    """A file, a command, and a part of its message; an empty one is a command that must do its work."""

    file: str
    content: Callable[[], bytes]
    command: tuple[str, ...]
    says: str

    @property
    def words(self) -> list[str]:
        """The command line."""
        return [self.file if word == "FILE" else word for word in self.command]

    def write(self, folder: Path) -> None:
        """Make the file."""
        path, content = folder / self.file, self.content()
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        if content == PIPE:
            os.mkfifo(path)
        elif content == FOLDER:
            path.mkdir()
        else:
            path.write_bytes(content)


def _bomb(kind: bytes, head: bytes) -> bytes:
    rows = b"".join(b"\0" + row.tobytes() for row in pixels())
    return png(11, 9, 8, 2, rows, chunk(kind, head + zlib.compress(bytes(80 << 20))))


def _tiff_with(tag: int, value: int) -> bytes:
    """The TIFF whose entry ``tag`` of the directory holds ``value``."""
    data = bytearray(pictures()["rgb.tif"])
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        number, kind = struct.unpack_from("<HH", data, entry)
        if number == tag:
            struct.pack_into("<I" if kind == 4 else "<H", data, entry + 8, value)
    return bytes(data)


def _pth(change: Callable[[torch.Tensor], object]) -> Callable[[], bytes]:
    return lambda: pickled(tensors(change))


def _fixed(content: bytes | str) -> Callable[[], bytes]:
    return lambda: content.encode() if isinstance(content, str) else content


def _picture(name: str, change: Callable[[bytes], bytes] = lambda data: data) -> Callable[[], bytes]:
    return lambda: change(pictures()[name])


INFO = ("info", "FILE")
DEEP = "[" * 3000 + "]" * 3000
FAULTS = {
    # pictures
    "empty picture": Fault("x.png", _fixed(b""), UPSCALE, "is empty (0 bytes)"),
    "text named png": Fault("x.png", _fixed("hello"), UPSCALE, "x.png is a text file"),
    "web page named jpg": Fault("x.jpg", _fixed("<!DOCTYPE html><html></html>"), UPSCALE, "is a web page"),
    "png cut": Fault("x.png", _picture("rgb.png", lambda d: d[:60]), UPSCALE, "x.png"),
    "jpeg cut": Fault("x.jpg", _picture("rgb.jpg", lambda d: d[:-40]), UPSCALE, "x.jpg"),
    "webp cut": Fault("x.webp", _picture("rgb.webp", lambda d: d[:-10]), UPSCALE, "x.webp"),
    "tiff cut": Fault("x.tif", _picture("rgb.tif", lambda d: d[:-40]), UPSCALE, "x.tif"),
    "png of no pixels": Fault("x.png", lambda: png(0, 9, 8, 2, b""), UPSCALE, "no pixels"),
    "png of 2^31 pixels a side": Fault(
        "x.png", lambda: png(2**31 - 1, 2**31 - 1, 16, 2, b""), UPSCALE, "GB are needed"
    ),
    "png of depth 3": Fault("x.png", lambda: png(11, 9, 3, 0, bytes(90)), UPSCALE, "x.png cannot be decoded"),
    "profile that swells": Fault("x.png", lambda: _bomb(b"iCCP", b"icc\0\0"), UPSCALE, "profile has more than"),
    "text that swells": Fault("x.png", lambda: _bomb(b"zTXt", b"text\0\0"), UPSCALE, ""),
    "tiff of 2^16 a side": Fault("x.tif", lambda: _tiff_with(256, 65535), UPSCALE, "x.tif"),
    "tiff of no rows": Fault("x.tif", lambda: _tiff_with(257, 0), UPSCALE, "no pixels"),
    "tiff of an unknown compression": Fault("x.tif", lambda: _tiff_with(259, 999), UPSCALE, "x.tif"),
    "picture is a pipe": Fault("x.png", _fixed(PIPE), UPSCALE, "x.png is a pipe, not a file"),
    "picture is a device": Fault("unused", _fixed(""), ("upscale", "/dev/zero", "-o", "out.png"), "is a device"),
    "name that steers the terminal": Fault("\x1b]0;owned\x07.png", _picture("rgb.png"), UPSCALE, ""),
    "bad picture of such a name": Fault("\x1b[2J\r.png", _fixed("x"), UPSCALE, "\\x1b[2J .png is a text file"),
    # masks
    "mask is a pipe": Fault("masks/m.png", _fixed(PIPE), MASKS, "masks holds no pictures"),
    "mask is a text": Fault("masks/m.png", _fixed("x"), MASKS, "m.png is a text file"),
    # configurations and other texts
    "configuration is a pipe": Fault("c.yaml", _fixed(PIPE), ("train", "FILE"), "c.yaml is a pipe"),
    "configuration is a folder": Fault("c.yaml", _fixed(FOLDER), ("train", "FILE"), "c.yaml"),
    "configuration in Latin-1": Fault("c.yaml", _fixed("steps: caf\xe9".encode("latin-1")), ("train", "FILE"), "UTF-8"),
    "configuration is a list": Fault("c.yaml", _fixed("- 1"), ("train", "FILE"), "must hold a mapping"),
    "record nested deeply": Fault(
        "r.json", _fixed(DEEP), ("degrade", "rgb.png", "-o", "out.png", "--record", "FILE"), "nested more than"
    ),
    "record is a pipe": Fault(
        "r.json", _fixed(PIPE), ("degrade", "rgb.png", "-o", "out.png", "--record", "FILE"), "is a pipe"
    ),
    # weights
    "weights are a pipe": Fault("x.pth", _fixed(PIPE), INFO, "x.pth is a pipe"),
    "weights are empty": Fault("x.pth", _fixed(b""), INFO, "empty (0 bytes)"),
    "weights are a Git LFS pointer": Fault(
        "x.pth", _fixed("version https://git-lfs.github.com/spec/v1"), INFO, "Git LFS"
    ),
    "safetensors cut": Fault("x.safetensors", lambda: native(tensors())[:-100], INFO, "not a whole safetensors file"),
    "pth cut": Fault("x.pth", lambda: pickled(tensors())[:-100], INFO, "damaged or incomplete"),
    "a weight of nan": Fault(
        "x.safetensors", lambda: native(tensors(lambda t: t * float("nan"))), INFO, "NaN or infinity"
    ),
    "a weight of inf": Fault(
        "x.safetensors", lambda: native(tensors(lambda t: t + float("inf"))), INFO, "NaN or infinity"
    ),
    "complex weights": Fault(
        "x.safetensors", lambda: native(tensors(lambda t: t.to(torch.complex64))), INFO, "is complex"
    ),
    "meta tensors": Fault("x.pth", _pth(lambda t: t.to("meta")), INFO, "x.pth"),
    "sparse tensors": Fault("x.pth", _pth(lambda t: t.to_sparse()), INFO, "x.pth"),
    "quantised tensors": Fault(
        "x.pth", _pth(lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8)), INFO, "x.pth"
    ),
    "names that are numbers": Fault("x.pth", lambda: pickled({1: torch.zeros(1)}), INFO, "are no texts"),
    "spec nested deeply": Fault("x.safetensors", lambda: native(tensors(), spec=DEEP), INFO, "nested more than"),
    "training nested deeply": Fault(
        "x.safetensors", lambda: native(tensors(), training=DEEP), INFO, "nested more than"
    ),
    "spec is a number": Fault("x.safetensors", lambda: native(tensors(), spec="1"), INFO, "x.safetensors"),
    # arguments
    "an unknown command, with --debug": Fault("unused", _fixed(""), ("nan", "--debug"), "No such command"),
    "an unknown option, with --debug": Fault("unused", _fixed(""), ("info", "--spec", "--debug"), "--spec"),
    "a name of 100,000 letters": Fault("unused", _fixed(""), ("info", "x" * 100_000), "100,0"),
    "a tile that no machine can count": Fault("rgb.png", _picture("rgb.png"), (*UPSCALE, "--tile", "9" * 20), ""),
}


def main(folder: Path) -> None:
    """Write every fault's file."""
    for name, fault in FAULTS.items():
        if fault.file != "unused":
            place = folder / name.replace(" ", "-")
            place.mkdir(parents=True, exist_ok=True)
            fault.write(place)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
