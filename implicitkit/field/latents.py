"""The latents of a picture: one of the whole, or one per tile, made when first needed."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from implicitkit.coordinates import Size
from implicitkit.decoders.base import Decoder, Inputs
from implicitkit.devices import PRECISIONS, free_memory, unless_out_of_memory
from implicitkit.encoders.base import Encoder, Features
from implicitkit.field.tiles import Tiling
from implicitkit.images.filling import fill_holes
from implicitkit.necks.base import Neck

if TYPE_CHECKING:
    from implicitkit.field.field import Field

MAX_CACHED_TILES = 2
MIN_TILE = 32
LIVE_MAPS = 2  # of features at a time: what the last layer reads, and what it writes


class Composed(Protocol):
    """What a field needs of its model; :class:`implicitkit.ImplicitModel` has it."""

    mean: float
    std: float
    inputs: tuple[str, ...]
    encoder: Encoder
    decoder: Decoder

    @property
    def necks(self) -> Sequence[Neck]:
        """What the features pass between them, in order."""

    @property
    def sight(self) -> int | None:
        """How far a pixel matters to a query, in pixels; None: everywhere."""

    def refine(self, map: Tensor) -> Tensor:
        """The encoder's map after all necks."""

    @property
    def conditions(self) -> Mapping[str, Any]:
        """The models whose fields the decoder reads, by name."""

    @property
    def ndim(self) -> int:
        """Dimensions of the coordinates."""

    @property
    def takes_mask(self) -> bool:
        """Whether the model, or a model it reads, takes the mask."""

    @property
    def uses_cell(self) -> bool:
        """Whether points need the size of an output pixel."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """The weights."""

    def check_inputs(self, image: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Pictures and masks as float32 batches on the model's device."""


def keep_tiles(field: Field, count: int) -> None:
    """Let a field, and those it reads, cache ``count`` encoded tiles in place of two: for many windows of one picture.

    >>> import implicitkit as ik
    >>> field = ik.load_model("liif_small").encode(torch.rand(3, 40, 40), tile=16)
    >>> keep_tiles(field, 9)
    """
    field._latents.kept = count
    for read in field._read.values():
        keep_tiles(read, count)


class SmallerTiles(Exception):  # noqa: N818
    """Memory ran out while encoding a tile; tiles are smaller now: evaluate again."""


class Latents:
    """The latents of a batch of pictures.

    Args:
        model: the encoder and the decoder.
        image: ``(B, C, *S)``.
        mask: ``(B, 1, *S)``, or None.
        conditions: the fields that the decoder reads.
        tile: encode in tiles of this many pixels; None encodes the whole picture now, or in tiles if memory runs out
            and the encoder allows it.
        grad: keep the graph; then no tile is cached and nothing is tried again.

    Attributes:
        kept: how many tiles are cached.
        whole: the latent of the whole picture; None with tiles.
        tiling: how the picture is cut; None without tiles.
        extent: the padded size that the features cover.
    """

    def __init__(
        self,
        model: Composed,
        image: Tensor,
        mask: Tensor | None,
        conditions: Mapping[str, Field],
        *,
        tile: int | None,
        grad: bool,
    ) -> None:
        self._model, self._image, self._mask, self._conditions = model, image, mask, conditions
        self._shown = (
            image if mask is None or model.decoder.fill is None else fill_holes(image, mask, model.decoder.fill)
        )
        self._grad = grad
        self._cached: OrderedDict[Any, Any] = OrderedDict()
        self._lock = threading.Lock()  # one thread encodes at a time
        self.kept = MAX_CACHED_TILES
        self.whole: Any = None
        self.tiling: Tiling | None = None
        side = max(image.shape[2:])
        if tile is None and (grad or model.sight is None or side <= MIN_TILE):
            self._check_memory()
            self.extent = self._encode_whole()
            return
        if tile is None:
            fits = self._needed(image.shape) <= free_memory(image.device)  # Linux may kill a process instead
            extent = unless_out_of_memory(self._encode_whole) if fits else None
            if extent is not None:
                self.extent = extent
                return
            tile = max(MIN_TILE, side // 2)
        self.tiling = self._plan(tile)
        self.extent = self.tiling.extent

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles have a lock of their own, and encode their tiles again."""
        return {name: value for name, value in vars(self).items() if name not in ("_lock", "_cached")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._cached, self._lock = OrderedDict(), threading.Lock()

    def tile(self, tiling: Tiling, tile: Size, picture: int | None = None) -> Any:
        """The latent of one tile (of one picture of the batch, or of all); the last few are cached.

        Raises:
            SmallerTiles: memory ran out; :attr:`tiling` has changed.
        """
        with self._lock:
            if tiling is not self.tiling:  # another thread has made the tiles smaller
                raise SmallerTiles
            key = (tiling.tile, tile, picture)
            if key not in self._cached:
                latent = self._encode_or_shrink(tiling, tile, picture)
                if self._grad:
                    return latent
                self._cached[key] = latent
            self._cached.move_to_end(key)
            while len(self._cached) > self.kept:
                self._cached.popitem(last=False)
            return self._cached[key]

    def on_tiles(self, evaluate: Callable[[Tiling], Tensor]) -> Tensor:
        """Call ``evaluate`` with :attr:`tiling`, again whenever the tiles become smaller."""
        while True:
            assert self.tiling is not None
            try:
                return evaluate(self.tiling)
            except SmallerTiles:
                continue

    def _encode_or_shrink(self, tiling: Tiling, tile: Size, picture: int | None) -> Any:
        if self._grad or tiling.tile <= max(MIN_TILE, tiling.align):
            return self._encode_tile(tiling, tile, picture)
        rows = len(self._image) if picture is None else 1
        crop = (rows, 0, *(span.stop - span.start for span in tiling.crop(tile)))
        fits = self._needed(crop) <= free_memory(self._image.device)
        latent = unless_out_of_memory(lambda: self._encode_tile(tiling, tile, picture)) if fits else None
        if latent is None:
            self._cached.clear()
            self.tiling = self._plan(max(MIN_TILE, tiling.tile // 2))
            raise SmallerTiles
        return latent

    def _needed(self, shape: Sequence[int]) -> float:
        """Bytes that encoding pictures ``(B, C, *S)`` takes at the least."""
        encoder, device = self._model.encoder, self._image.device.type
        cells = shape[0] * math.prod(shape[2:]) / encoder.stride**self._model.ndim
        return float(cells) * encoder.out_channels * LIVE_MAPS * (2 if torch.is_autocast_enabled(device) else 4)

    def _check_memory(self) -> None:
        """Raise ``ValueError`` where the whole picture must be encoded at once, and cannot be."""
        if torch.compiler.is_compiling():
            return
        needed, free = self._needed(self._image.shape), free_memory(self._image.device)
        if needed > free:
            size = "×".join(str(n) for n in reversed(self._image.shape[2:]))
            why = "with grad=True" if self._grad else f"by {self._model.encoder.title}, which sees all of it at once,"
            raise ValueError(
                f"to encode {len(self._image)} picture{'s' * (len(self._image) > 1)} of {size} pixels {why} takes "
                f"{needed / 1e9:,.1f} GB at least, {free / 1e9:,.1f} GB are free; take a smaller picture"
            )

    def _encode_whole(self) -> Size:
        features = self._encode(self._image, self._mask)
        inputs = self._inputs(self._shown, self._mask)
        self.whole = self._model.decoder.prepare(features, inputs, self._conditions)
        return features.extent

    def _encode_tile(self, tiling: Tiling, tile: Size, picture: int | None) -> Any:
        crop = tiling.crop(tile)
        rows = slice(None) if picture is None else slice(picture, picture + 1)
        image = self._image[(rows, slice(None), *crop)]
        mask = None if self._mask is None else self._mask[(rows, slice(None), *crop)]
        features = self._encode(image, mask)
        shown = self._shown[(rows, slice(None), *crop)]
        origin = tuple(span.start // tiling.stride for span in crop)
        placed = Features(features.map, tiling.extent, origin, tiling.grid)
        inputs = self._inputs(shown, mask, tuple(span.start for span in crop), tiling.size)
        return self._model.decoder.prepare(placed, inputs, self._conditions)

    def _encode(self, image: Tensor, mask: Tensor | None) -> Features:
        model = self._model
        x = torch.cat([image, mask], dim=1) if mask is not None and "mask" in model.inputs else image
        with nullcontext() if model.encoder.trainable or x.requires_grad else torch.no_grad():
            features: Features = model.encoder(x)  # a frozen encoder passes on gradients by the picture
        return replace(features, map=model.refine(features.map)) if len(model.necks) else features

    def _inputs(self, image: Tensor, mask: Tensor | None, origin: Size = (), size: Size = ()) -> Inputs:
        return Inputs((image - self._model.mean) / self._model.std, mask, origin, size)

    def _plan(self, tile: int) -> Tiling:
        encoder, necks, decoder = self._model.encoder, self._model.necks, self._model.decoder
        if self._model.sight is None:
            sees_all: dict[Any, int | None] = {
                encoder: encoder.radius,
                **{neck: neck.radius for neck in necks},
                decoder: decoder.reach,
            }
            part = next(type(part).__name__ for part, far in sees_all.items() if far is None)
            raise ValueError(
                f"{part} sees the whole picture at once, so it cannot encode in tiles; encode without tile="
            )
        if tile < 1:
            raise ValueError(f"tile is a positive number of pixels; received {tile}")
        return Tiling.plan(
            tuple(self._image.shape[2:]),
            tile=min(tile, max(self._image.shape[2:])),  # a tile larger than the picture is all of it
            stride=encoder.stride,
            multiple=encoder.size_multiple,
            sight=self._model.sight,
            align=math.lcm(encoder.size_multiple, *(neck.size_multiple * encoder.stride for neck in necks)),
        )


def computing_precision(model: Composed, precision: str | None) -> str | None:
    """The precision of a field of ``model``: weights of 16 bits compute in theirs."""
    dtypes = {p.dtype for p in model.parameters()} - {torch.float32}
    low = {dtype: name for name, dtype in PRECISIONS.items() if dtype in dtypes}
    if not dtypes:
        return precision
    named = ", ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
    if len(low) != 1 or dtypes != set(low) or precision not in (None, *low.values()):
        raise ValueError(
            f"the model's weights are {named}, precision is {precision!r}; call model.float() for float32, or "
            "model.bfloat16() or model.half() for 16 bits"
        )
    return next(iter(low.values()))


@contextmanager
def modes(device: torch.device, precision: str | None, *, grad: bool) -> Iterator[None]:
    """Gradients and autocast as a field has them; precision None: what is in force.

    >>> with modes(torch.device("cpu"), "bfloat16", grad=False):
    ...     torch.is_grad_enabled(), (torch.ones(1, 1) @ torch.ones(1, 1)).dtype
    (False, torch.bfloat16)
    """
    with ExitStack() as stack:
        if not grad:
            stack.enter_context(torch.no_grad())
        if precision is not None:
            low = precision != "float32"
            stack.enter_context(torch.autocast(device.type, dtype=PRECISIONS[precision] if low else None, enabled=low))
        yield
