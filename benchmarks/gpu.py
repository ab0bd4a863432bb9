"""Rows that need a GPU: whole frames of 3840×2160 from 960×540, and the decoders alone on such a frame."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks.rows import Row, race
from benchmarks.speed import GPU_GOAL, GPU_RATE_GOAL, NARROW, PUBLISHED, Settings
from benchmarks.subjects import decoder_macs, picture, subject
from implicitkit.errors import first_line
from implicitkit.field.field import Field
from implicitkit.kernels import plain_path
from implicitkit.model import ImplicitModel

INPUT, FRAME = (540, 960), (2160, 3840)
FRAME_GOAL, FAST_GOAL = 33.0, 4.0  # ms
DECODERS = ("liif", "lte", "lmf", "lm_liif", "thera", "gb_lsr", "ope")
LEAST_FRAMES = 10  # timed runs: a frame takes milliseconds
WHAT = "960×540→3840×2160 on a GPU"
Call = Callable[[], Tensor]


def gpu_rows(settings: Settings) -> list[Row]:
    """Frames and decoders on a GPU; without one, the rows that need one, unmeasured."""
    if not settings.on_gpu:
        return _unmeasured()
    return [*frame_rows(settings), *fast_rows(settings), *large_decoder_rows(settings)]


def _unmeasured() -> list[Row]:
    note = "no GPU here"
    rows = [
        Row(
            "frame", f"liif_edsr_baseline, {WHAT}, bfloat16, encoder included", "ms", None, FRAME_GOAL, True, note=note
        ),
        Row("frame/fast", f"fast, {WHAT}, encoder included", "ms", None, FAST_GOAL, True, note=note),
    ]
    for name in PUBLISHED:
        what = f"{name} on a GPU, bfloat16"
        rows.append(Row(f"gpu/{name}", f"{what}, over the baseline", "x", None, GPU_GOAL, note=note))
        what += ": of the rate of matrix products"
        rows.append(Row(f"gpu/rate/{name}", what, "%", None, GPU_RATE_GOAL, note=note))
    return rows


def frame_rows(settings: Settings) -> list[Row]:
    """LIIF and LTE, a whole frame each in bfloat16, with the kernel and without."""
    rows = []
    for name in PUBLISHED:
        model, image = settings.load(name), picture(*INPUT).to(settings.device)
        ways: dict[str, Call] = {
            "": partial(whole, model, image, "bfloat16"),
            ", without the kernel": partial(plain, model, image, "bfloat16"),
        }
        goal = FRAME_GOAL if name == PUBLISHED[0] else None
        where = "frame" if name == PUBLISHED[0] else f"frame/{name}"
        rows += _raced(settings, where, f"{name}, {WHAT}, bfloat16, encoder included", ways, {"": goal})
    return rows


def fast_rows(settings: Settings) -> list[Row]:
    """The model `fast`, a whole frame: in both precisions, with the kernel and without, compiled, and as a graph."""
    model, image = settings.load("fast"), picture(*INPUT).to(settings.device)
    ways: dict[str, Call] = {}
    goals: dict[str, float | None] = {}
    for precision in NARROW:
        ways[f", {precision}"] = partial(whole, model, image, precision)
        ways[f", {precision}, without the kernel"] = partial(plain, model, image, precision)
        goals[f", {precision}"] = FAST_GOAL
    rows = _raced(settings, "frame/fast", f"fast, {WHAT}, encoder included", ways, goals)
    rows += _raced(settings, "frame/fast/encoder", "fast, its encoder alone, 960×540", _encoders(model, image), {})
    rows += _raced(settings, "frame/fast/decoder", f"fast, its decoder alone, {WHAT}", _renders(model, image), {})
    expected = whole(model, image, "bfloat16")
    special: dict[str, Callable[[ImplicitModel, Tensor, str], Call]] = {
        "convolutions chosen by measurement": measured,
        "encoder compiled": compiled,
        "as a CUDA graph": graphed,
        "compiled and chosen, as a CUDA graph": all_of_it,
    }
    for way, make in special.items():
        what = f"fast, {WHAT}, encoder included, bfloat16, {way}"
        rows.append(_guarded(settings, f"frame/fast/{way}", what, partial(make, model, image, "bfloat16"), expected))
    return rows


def large_decoder_rows(settings: Settings) -> list[Row]:
    """The decoders alone on a whole frame, on EDSR-baseline with random weights: nanoseconds per pixel."""
    rows = []
    image = picture(*INPUT).to(settings.device)
    for decoder in DECODERS:
        torch.manual_seed(0)
        model = subject({"encoder": "edsr_baseline", "decoder": decoder}).to(settings.device)
        try:
            rows.append(_decoder_row(settings, decoder, model, image))
        except (RuntimeError, torch.OutOfMemoryError) as error:  # one that fails does not end the run
            what = f"{decoder}, decoder alone, {WHAT}"
            rows.append(Row(f"gpu/decoder/{decoder}", what, "ns", None, note=f"failed: {first_line(error)[:100]}"))
        torch.cuda.empty_cache()
    return rows


def _decoder_row(settings: Settings, decoder: str, model: ImplicitModel, image: Tensor) -> Row:
    fields = {precision: model.encode(image, precision=precision) for precision in NARROW}
    macs = decoder_macs(fields["float32"])
    differences = {precision: _difference(field) for precision, field in fields.items()}
    calls: dict[str, Call] = {precision: partial(field.render, FRAME) for precision, field in fields.items()}
    calls |= {f"{precision}, without the kernel": partial(plain_render, field) for precision, field in fields.items()}
    details = race(calls, 3, settings.device)
    pixels = math.prod(FRAME)
    cost = {way: f"{seconds / pixels * 1e9:.3f}" for way, seconds in details.items()}
    note = (
        f"{macs / 1e3:,.1f} thousand multiplications; {cost['bfloat16']} ns in bfloat16, {cost['float32']} in float32; "
        f"without the kernel {cost['bfloat16, without the kernel']} and {cost['float32, without the kernel']}; differs by "
        f"{differences['float32']:.0e} at most in float32, {differences['bfloat16']:.0e} in bfloat16"
    )
    if decoder == "lm_liif":
        note += "; with its latent MLP, which reads the pixel's size"
    best = min(details["bfloat16"], details["float32"]) / pixels * 1e9
    what = f"{decoder}, decoder alone, {WHAT}, per output pixel, the faster precision"
    return Row(f"gpu/decoder/{decoder}", what, "ns", best, note=note, details={**details, "macs_per_pixel": macs})


def _difference(field: Field, size: tuple[int, int] = (1000, 1500)) -> float:
    """Between the kernel and the plain path in the same precision, on a smaller grid."""
    with plain_path():
        expected = field.render(size, clamp=False)
    return float((field.render(size, clamp=False) - expected).abs().max())


def whole(model: ImplicitModel, image: Tensor, precision: str) -> Tensor:
    """Encode and render."""
    return model.encode(image, precision=precision).render(FRAME)


def plain(model: ImplicitModel, image: Tensor, precision: str) -> Tensor:
    """The same without kernels."""
    with plain_path():
        return whole(model, image, precision)


def plain_render(field: Field) -> Tensor:
    """Render without kernels."""
    with plain_path():
        return field.render(FRAME)


def compiled(model: ImplicitModel, image: Tensor, precision: str) -> Call:
    """The encoder by ``torch.compile``, the decoder by its kernel."""
    encoder = model.encoder
    extract = torch.compile(encoder.extract)

    def call() -> Tensor:
        encoder.extract = extract  # type: ignore[method-assign]
        try:
            return whole(model, image, precision)
        finally:
            del encoder.extract

    return call


def graphed(model: ImplicitModel, image: Tensor, precision: str, call: Call | None = None) -> Call:
    """Encoding and rendering captured once as a CUDA graph, and replayed for another picture of the same size."""
    call = call or partial(whole, model, image, precision)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="relaxed"):
        result = call()

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay


def measured(model: ImplicitModel, image: Tensor, precision: str, call: Call | None = None) -> Call:
    """With ``torch.backends.cudnn.benchmark``, which times the convolutions' algorithms at the first call."""
    inner = call or partial(whole, model, image, precision)

    def chosen() -> Tensor:
        before = torch.backends.cudnn.benchmark
        torch.backends.cudnn.benchmark = True
        try:
            return inner()
        finally:
            torch.backends.cudnn.benchmark = before

    return chosen


def all_of_it(model: ImplicitModel, image: Tensor, precision: str) -> Call:
    """The compiled encoder, measured convolutions and the kernel, as a CUDA graph."""
    call = measured(model, image, precision, compiled(model, image, precision))
    return graphed(model, image, precision, call)


def _encoders(model: ImplicitModel, image: Tensor) -> dict[str, Call]:
    """Encoding alone, with the part that the decoder prepares."""

    def encode(precision: str) -> Tensor:
        rows: Tensor = model.encode(image, precision=precision)._latents.whole.features.rows
        return rows

    return {f", {precision}": partial(encode, precision) for precision in NARROW}


def _renders(model: ImplicitModel, image: Tensor) -> dict[str, Call]:
    ways: dict[str, Call] = {}
    for precision in NARROW:
        field = model.encode(image, precision=precision)
        ways[f", {precision}"] = partial(field.render, FRAME)
        ways[f", {precision}, without the kernel"] = partial(plain_render, field)
    return ways


def _raced(
    settings: Settings, name: str, what: str, ways: dict[str, Call], goals: dict[str, float | None]
) -> list[Row]:
    """A row for each way, in milliseconds, with the difference between the kernel and the plain path."""
    values = {way: call() for way, call in ways.items()}
    seconds = race(ways, max(settings.repeats, LEAST_FRAMES), settings.device)
    rows = []
    for way in ways:
        twin = f"{way}, without the kernel"
        note = f"differs by {float((values[way] - values[twin]).abs().max()):.0e} at most" if twin in values else ""
        goal = goals.get(way)
        row = f"{name}/{way.strip(', ')}".rstrip("/")
        rows.append(
            Row(row, what + way, "ms", seconds[way] * 1e3, goal, at_most=True, note=note, details={"s": seconds[way]})
        )
    return rows


def _guarded(settings: Settings, name: str, what: str, make: Callable[[], Call], expected: Tensor) -> Row:
    """A row of what may fail on some card or version; then its note says so."""
    try:
        call = make()
        difference = float((call() - expected).abs().max())
        seconds = race({"s": call}, max(settings.repeats, LEAST_FRAMES), settings.device)
    except Exception as error:  # compilers, drivers and captures raise many kinds
        return Row(name, what, "ms", None, FAST_GOAL, at_most=True, note=f"failed: {first_line(error)[:150]}")
    note = f"differs by {difference:.0e} at most"
    return Row(name, what, "ms", seconds["s"] * 1e3, FAST_GOAL, at_most=True, note=note, details=seconds)
