"""Export a model as two graphs that run without this library: the encoder per picture, the decoder at any points.

``encoder`` takes ``image (1, C, H, W)`` in [0, 1] and returns ``latent (1, H, W, K)``, the result of the decoder's
``prepare``. ``decoder`` takes the latent (and the image, for a skip connection), ``coords (1, N, 2)`` and, if the model
uses it, ``cell (1, N, 2)``, and returns ``values (1, N, out)`` in [0, 1], not clamped. ``H``, ``W`` and ``N`` are free.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.export import Dim

from implicitkit.coordinates import grid
from implicitkit.decoders.base import Inputs
from implicitkit.errors import UserError, first_line, quiet
from implicitkit.files import replacing_folder, write_json
from implicitkit.model import ImplicitModel
from implicitkit.registry.extras import require
from implicitkit.version import __version__

Format = Literal["onnx", "pt2"]
EXTRAS = {"onnx": "onnx", "pt2": None}  # by format
TOLERANCE = 1e-4  # between the graphs and the model, at sizes that were not traced
CHECKED_SCALES = (1, 2.5, 3, 5, 7)
Run = Callable[[dict[str, Tensor]], Tensor]


class EncoderGraph(nn.Module):
    """Picture -> latent: the encoder and the decoder's ``prepare``."""

    def __init__(self, model: ImplicitModel) -> None:
        super().__init__()
        self.encoder, self.necks, self.decoder = model.encoder, model.necks, model.decoder
        self.mean, self.std = model.mean, model.std

    def forward(self, image: Tensor) -> Tensor:
        """``(1, C, H, W)`` -> ``(1, H, W, K)``."""
        features = self.encoder(image)
        for neck in self.necks:
            features = replace(features, map=neck(features.map))
        return self.decoder.pack(self.decoder.prepare(features, Inputs((image - self.mean) / self.std), {}))


class DecoderGraph(nn.Module):
    """Latent and points -> values."""

    def __init__(self, model: ImplicitModel) -> None:
        super().__init__()
        self.decoder = model.decoder
        self.mean, self.std = model.mean, model.std

    def forward(
        self, latent: Tensor, coords: Tensor, cell: Tensor | None = None, image: Tensor | None = None
    ) -> Tensor:
        """``(1, H, W, K)``, ``(1, N, 2)``, ``(1, N, 2)``, ``(1, C, H, W)`` -> ``(1, N, out)``."""
        inputs = None if image is None else Inputs((image - self.mean) / self.std)
        values = self.decoder.query(self.decoder.unpack(latent, inputs), coords, cell, {})
        return values * self.std + self.mean


class EnlargementGraph(nn.Module):
    """Picture -> enlarged picture, at one integer magnification."""

    def __init__(self, model: ImplicitModel, enlarging: nn.Module) -> None:
        super().__init__()
        self.encoder, self.necks, self.enlarging = model.encoder, model.necks, enlarging
        self.mean, self.std, self.reads = model.mean, model.std, model.decoder.reads_picture

    def forward(self, image: Tensor) -> Tensor:
        """``(1, C, H, W)`` in [0, 1] -> ``(1, out, scale * H, scale * W)``, not clamped."""
        map = self.encoder(image).map
        for neck in self.necks:
            map = neck(map)
        values: Tensor = self.enlarging(map, (image - self.mean) / self.std) if self.reads else self.enlarging(map)
        return values * self.std + self.mean


class Exported(NamedTuple):
    """The result of :func:`export`."""

    folder: Path
    difference: float
    """The largest difference from the model, at sizes that were not traced."""


@torch.enable_grad()  # without a graph, evaluation is cut to the size of a CPU's cache
def export(
    model: ImplicitModel, folder: str | Path, format: Format = "onnx", *, scales: Sequence[int] = ()
) -> Exported:
    """Write two graphs and their description ``export.json`` into a new folder, and compare them with the model.

    Args:
        model: of pictures, with a decoder that can be exported (:attr:`Decoder.exports`) and an encoder that
            keeps the picture's size.
        folder: must not exist.
        format: ``"onnx"`` (needs the extra ``onnx``), or ``"pt2"``, the format of ``torch.export``.
        scales: integer magnifications, each a further graph from the picture to the enlarged one, for decoders that
            have one (:meth:`Decoder.at_scale`).

    Raises:
        UserError: the model cannot be exported, a package is missing, the graphs differ from the model by more than
            1e-4, or the folder exists. Nothing is written then.
    """
    check_exportable(model)
    whole = {f"x{scale}": enlargement(model, scale) for scale in scales}
    if (extra := EXTRAS[format]) is not None:
        require(extra, f"exporting to {format}")
    folder = Path(folder)
    if folder.exists():
        raise UserError(f"{folder} exists; choose another folder")
    model = model.eval()
    graphs = {"encoder": EncoderGraph(model).eval(), "decoder": DecoderGraph(model).eval()}
    inputs, sizes = examples(model, (12, 14), 33), free_sizes(model)
    with replacing_folder(folder) as temporary:
        runs = {}
        for name, graph in graphs.items():
            target = temporary / f"{name}.{format}"
            try:
                with _quiet():
                    runs[name] = _write(graph, inputs[name], sizes[name], target, name)
            except UserError:
                raise
            except Exception as error:  # tracers raise many kinds
                first = first_line(error)
                kind = type(getattr(model, name)).__name__
                raise UserError(f"the {name} {kind} cannot be traced: {type(error).__name__}: {first}") from error
        with _at_other_sizes():
            difference = max(_difference(model, runs, size) for size in ((19, 31), (7, 5)))
        if not difference <= TOLERANCE:
            raise UserError(
                f"the graphs differ from the model by {difference:.1e}, more than {TOLERANCE:g}; nothing was written"
            )
        for name, enlarged in whole.items():
            try:
                with _quiet():
                    run = _write(enlarged, inputs["encoder"], sizes["encoder"], temporary / f"{name}.{format}", name)
            except Exception as error:
                raise UserError(f"{name} cannot be traced: {type(error).__name__}: {first_line(error)}") from error
            difference = max(difference, _checked(model, run, int(name[1:])))
        write_json(temporary / "export.json", description(model, format, scales))
    return Exported(folder, difference)


def check_exportable(model: ImplicitModel) -> None:
    """Raise :class:`UserError` if the model cannot be exported as two graphs."""
    encoder, decoder = model.encoder, model.decoder
    if not decoder.exports or decoder.conditions:
        raise UserError(
            f"the decoder {decoder.title} says that it cannot be exported "
            "(exports is False; what a class of one's own needs is in docs/export.md)"
        )
    if model.ndim != 2:
        raise UserError(f"models of pictures can be exported; this one is {model.ndim}-dimensional")
    if model.takes_mask or model.passes != 1:
        raise UserError("a model that takes a mask, or more than one pass, cannot be exported as two graphs")
    if encoder.stride != 1 or encoder.size_multiple != 1:
        raise UserError(
            f"encoders that keep the picture's size can be exported; {type(encoder).__name__} has stride "
            f"{encoder.stride} and pads to multiples of {encoder.size_multiple}"
        )


def enlargement(model: ImplicitModel, scale: int) -> EnlargementGraph:
    """The graph of one integer magnification.

    Raises:
        UserError: the decoder has none.
    """
    if scale < 1 or (enlarging := model.decoder.at_scale(scale)) is None:
        raise UserError(
            f"{model.decoder.title} has no graph of a fixed magnification; received scale {scale} (basis decoders "
            "have one of each whole number)"
        )
    return EnlargementGraph(model, enlarging).eval()


def examples(model: ImplicitModel, size: tuple[int, int], points: int) -> dict[str, dict[str, Tensor]]:
    """Inputs for both graphs, by name."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, model.encoder.in_channels, *size, generator=generator)
    coords = torch.rand(1, points, 2, generator=generator) * 2 - 1
    with torch.no_grad():
        latent = EncoderGraph(model)(image)
    decoder = {"latent": latent, "coords": coords}
    if model.decoder.uses_cell:
        decoder["cell"] = torch.rand(1, points, 2, generator=generator) * 0.2
    if model.decoder.reads_picture:
        decoder["image"] = image
    return {"encoder": {"image": image}, "decoder": decoder}


def free_sizes(model: ImplicitModel) -> dict[str, dict[str, dict[int, Any]]]:
    """The free axes of each input, for :func:`torch.export.export`."""
    height, width, points = (Dim(name, min=2, max=1 << 20) for name in ("height", "width", "points"))
    image = {2: height, 3: width}
    every = {"latent": {1: height, 2: width}, "coords": {1: points}, "cell": {1: points}, "image": image}
    return {
        "encoder": {"image": image},
        "decoder": {name: every[name] for name in examples(model, (2, 2), 2)["decoder"]},
    }


def description(model: ImplicitModel, format: Format, scales: Sequence[int] = ()) -> dict[str, Any]:
    """The content of ``export.json``: how to run the graphs."""
    decoder = model.decoder
    inputs = {
        "latent": "(1, H, W, K), from the encoder",
        "coords": "(1, N, 2), (y, x) in [-1, 1]; pixel i of n has its centre at -1 + (2i + 1)/n",
        "cell": "(1, N, 2), the size of an output pixel in the same units: 2/n for n pixels",
        "image": "(1, C, H, W) in [0, 1], the encoder's input",
    }
    return {
        "implicitkit": __version__,
        "model": model.spec,
        "encoder": {
            "file": f"encoder.{format}",
            "inputs": {"image": f"(1, {model.encoder.in_channels}, H, W) float32 in [0, 1]"},
            "outputs": {"latent": "(1, H, W, K)"},
        },
        "decoder": {
            "file": f"decoder.{format}",
            "inputs": {name: inputs[name] for name in examples(model, (2, 2), 2)["decoder"]},
            "outputs": {"values": f"(1, N, {decoder.out_channels}) in [0, 1], not clamped"},
        },
        **{
            f"x{scale}": {
                "file": f"x{scale}.{format}",
                "inputs": {"image": f"(1, {model.encoder.in_channels}, H, W) float32 in [0, 1]"},
                "outputs": {"values": f"(1, {decoder.out_channels}, {scale} H, {scale} W) in [0, 1], not clamped"},
            }
            for scale in scales
        },
        "largest_trained_scale": getattr(decoder, "scale_max", None),
        "license": model.license,
    }


def _write(graph: nn.Module, inputs: dict[str, Tensor], sizes: dict[str, Any], target: Path, name: str) -> Run:
    """Trace and write one graph, and return a function that runs the file."""
    names = list(inputs)
    if target.suffix == ".pt2":
        torch.export.save(torch.export.export(graph, (), inputs, dynamic_shapes=sizes, strict=False), target)
        loaded = torch.export.load(target).module()
        return lambda given: loaded(**{key: given[key] for key in names})
    output = "latent" if name == "encoder" else "values"
    program = torch.onnx.export(
        graph, kwargs=inputs, dynamo=True, dynamic_shapes=sizes, input_names=names, output_names=[output], verbose=False
    )
    assert program is not None
    program.save(str(target))
    import onnxruntime

    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    return lambda given: torch.from_numpy(session.run([output], {key: given[key].numpy() for key in names})[0])


@torch.no_grad()
def _difference(model: ImplicitModel, runs: dict[str, Run], size: tuple[int, int]) -> float:
    """The largest difference at points anywhere and on grids; at odd factors these meet the centres of cells."""
    inputs = examples(model, size, 257)
    image, given = inputs["encoder"]["image"], inputs["decoder"]
    latent, field, differences = runs["encoder"]({"image": image}), model.encode(image), []
    for scale in (None, *CHECKED_SCALES):
        if scale is not None:
            coords = grid([round(scale * n) for n in size])[None]
            cell = torch.tensor([2 / (scale * n) for n in size]).expand_as(coords)
            given = {**given, "coords": coords} | ({"cell": cell.contiguous()} if "cell" in given else {})
        values = runs["decoder"]({**given, "latent": latent})
        differences.append(float((values - field(given["coords"], given.get("cell"))).abs().max()))
    return max(differences) if all(d == d for d in differences) else math.nan


@torch.no_grad()
def _checked(model: ImplicitModel, run: Run, scale: int) -> float:
    """The largest difference of a graph of one magnification from the model, at sizes that were not traced.

    Raises:
        UserError: it is above :data:`TOLERANCE`.
    """
    difference = 0.0
    for size in ((19, 31), (7, 5)):
        image = examples(model, size, 2)["encoder"]["image"]
        expected = model.encode(image).render([scale * n for n in size], clamp=False)
        difference = max(difference, float((run({"image": image}) - expected).abs().max()))
    if not difference <= TOLERANCE:
        raise UserError(f"the graph of x{scale} differs from the model by {difference:.1e}, more than {TOLERANCE:g}")
    return difference


@contextmanager
def _at_other_sizes() -> Iterator[None]:
    """Say what is wrong with graphs that run at the traced sizes alone; runtimes raise many kinds of errors."""
    try:
        yield
    except Exception as error:
        raise UserError(
            f"the graphs do not run at sizes that were not traced: {first_line(error)}; a size from len(x) or int(x) "
            "is a constant in a graph, x.shape[0] is not; nothing was written"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the tracers' progress reports."""
    with warnings.catch_warnings(), quiet("torch.onnx"):
        warnings.simplefilter("ignore")
        yield
