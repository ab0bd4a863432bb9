"""What all tabs of the page share: models, limits and the folder of results."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from implicitkit.create import load_model
from implicitkit.errors import ImageError, UserError
from implicitkit.files import PHOTO
from implicitkit.images.io import Picture, read_picture, write_picture
from implicitkit.images.survey import stored_size
from implicitkit.model import ImplicitModel

CPU = torch.device("cpu")
KEPT_S = 3600.0  # how long results wait for their download


@dataclass(frozen=True)
class Limits:
    """What the page takes and gives.

    Attributes:
        upload: megabytes of a file.
        read: megapixels of a picture that is given.
        written: megapixels of a result.

    >>> Limits(written=1).check_result((1000, 1000))
    >>> Limits(written=1).check_result((2000, 1000))
    Traceback (most recent call last):
    ...
    implicitkit.errors.UserError: 1000×2000 is 2 megapixels; this page makes at most 1, ask for a smaller size
    """

    upload: float = 100.0
    read: float = 50.0
    written: float = 100.0

    def check_picture(self, path: Path) -> None:
        """Raise :class:`ImageError` if a file is too large, by its length and by its header."""
        if path.stat().st_size > self.upload * 1e6:
            raise ImageError(
                f"{path.name} has {path.stat().st_size / 1e6:,.0f} MB; this page takes at most {self.upload:g} MB"
            )
        size = stored_size(path)
        if size is not None and size[0] * size[1] > self.read * 1e6:
            raise ImageError(
                f"{path.name} has {size[0] * size[1] / 1e6:,.0f} megapixels; this page takes at most {self.read:g}"
            )

    def check_result(self, size: tuple[int, int]) -> None:
        """Raise :class:`UserError` if a result of ``size`` ``(H, W)`` would be too large."""
        if size[0] * size[1] > self.written * 1e6:
            raise UserError(
                f"{size[1]}×{size[0]} is {size[0] * size[1] / 1e6:,.4g} megapixels; this page makes at most "
                f"{self.written:g}, ask for a smaller size"
            )


@dataclass
class Session:
    """One running page.

    Attributes:
        folder: where results are written; the server deletes it at its end.
        models: names and weight files that the command line gave; tabs offer those that fit, before their own.
        device: where models compute.
        limits: what is taken and given.

    >>> session = Session(Path("results"), models=("mine.safetensors",))
    >>> session.choices(["liif_small"])
    ['mine.safetensors', 'liif_small']
    """

    folder: Path
    models: tuple[str, ...] = ()
    device: torch.device = CPU
    limits: Limits = Limits()
    _loaded: dict[str, ImplicitModel] = field(default_factory=dict, repr=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    def load(self, name: str) -> ImplicitModel:
        """The model of that name, loaded once."""
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = load_model(name).to(self.device).eval()
            return self._loaded[name]

    def choices(self, own: Sequence[str], fits: Callable[[ImplicitModel], bool] | None = None) -> list[str]:
        """The models to choose from: those of the command line that fit, then a tab's ``own``."""
        given = [name for name in self.models if fits is None or fits(self.load(name))]
        return [*given, *(name for name in own if name not in given)]

    def read(self, path: str | Path | None) -> Picture:
        """The picture that was given, within the limits.

        Raises:
            UserError: there is none.
            ImageError: it is too large, or no picture.
        """
        if not path:
            raise UserError("there is no picture yet; drop one, or choose a file")
        self.limits.check_picture(Path(path))
        return read_picture(path)

    def demo(self) -> Path:
        """A copy of the picture that comes with the package."""
        return self.write(read_picture(PHOTO), PHOTO.stem)

    def write(self, picture: Picture, name: str) -> Path:
        """A result as a PNG of that name in a new folder; results of an hour ago are deleted."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for old in self.folder.iterdir():
            if time.time() - old.stat().st_mtime > KEPT_S:
                shutil.rmtree(old, ignore_errors=True)
        file = Path(tempfile.mkdtemp(dir=self.folder)) / f"{name}.png"
        write_picture(file, picture)
        return file
