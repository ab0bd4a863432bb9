"""Rendering: against the authors' way, against the processor's own matrix products, and at odd sizes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from benchmarks.baseline import Baseline
from benchmarks.rows import LEAST_REPEATS, Row, race
from benchmarks.subjects import decoder_macs, picture, subject, traffic
from implicitkit.decoders.liif import LIIF
from implicitkit.decoders.lte import LTE
from implicitkit.decoders.mlp import Product, has_product
from implicitkit.devices import PRECISIONS
from implicitkit.kernels import plain_path, runs_in_large_blocks
from implicitkit.metrics import psnr
from implicitkit.model import ImplicitModel

PUBLISHED = ("liif_edsr_baseline", "lte_edsr_baseline")  # what the goals are set for
GOALS = {  # over the baseline, on a CPU, at the goals' size
    ("liif_edsr_baseline", "float32"): 3.8,
    ("liif_edsr_baseline", "bfloat16"): 10.0,
    ("lte_edsr_baseline", "float32"): 2.1,
    ("lte_edsr_baseline", "bfloat16"): 4.5,
    ("liif_edsr_baseline", "float32, without the kernel"): 3.5,  # where there is no C compiler
    ("lte_edsr_baseline", "float32, without the kernel"): 2.1,
}
RATE_GOALS = {"float32": 0.85, "bfloat16": 0.60}
DECODER_GOALS = {"lmf": 80.0, "ope": 5.0, "gb_lsr": 5.0, "thera": 5.0}  # ns per output pixel, two threads
SCREEN_INPUT, SCREEN, SCREEN_GOAL = (
    (180, 320),
    (720, 1280),
    36.0,
)  # ns per output pixel, two threads: 30 pictures a second
GPU_GOAL, GPU_RATE_GOAL = 30.0, 0.50
GOAL_SIDE = 128
SAME, CLOSE = 1e-5, 55.0  # float32 against the baseline; bfloat16 against float32, dB
CPU = torch.device("cpu")
NARROW = ("float32", "bfloat16")


@dataclass(frozen=True)
class Settings:
    """What is measured, and on what.

    Attributes:
        models: names or files.
        sides: of the square input pictures, in pixels.
        scale: magnification.
        repeats: timed runs of each contestant; the median counts.
        device: where.
    """

    models: tuple[str, ...] = PUBLISHED
    sides: tuple[int, ...] = (GOAL_SIDE,)
    scale: int = 4
    repeats: int = LEAST_REPEATS
    device: torch.device = CPU

    @property
    def on_gpu(self) -> bool:
        """Whether the device is one."""
        return self.device.type == "cuda"

    def load(self, model: str) -> ImplicitModel:
        """The model, ready, where it is to be measured."""
        return subject(model).to(self.device)


def named(model: str) -> str:
    """A model's name for people, without folders."""
    return model.rpartition("/")[2]


def render_rows(settings: Settings) -> list[Row]:
    """Encoding and rendering against the authors' way: the ratio of times, and how equal the pictures are."""
    rows = []
    for name in settings.models:
        model = settings.load(name)
        for side in settings.sides:
            rows += _against_baseline(settings, name, model, side)
    return rows


def _against_baseline(settings: Settings, name: str, model: ImplicitModel, side: int) -> list[Row]:
    image = picture(side).to(settings.device)
    size = (side * settings.scale,) * 2

    def encode_and_render(precision: str) -> Tensor:
        return model.encode(image, precision=precision).render(size, clamp=False)

    def without_kernel(precision: str) -> Tensor:
        with plain_path():
            return encode_and_render(precision)

    contestants: dict[str, Callable[[], Tensor]] = {
        precision: partial(encode_and_render, precision) for precision in NARROW
    }
    if comparable := isinstance(model.decoder, (LIIF, LTE)):
        baseline = Baseline(model)
        contestants["baseline"] = lambda: baseline.render(image[None], size)[0]
    if _has_kernel(model, image):
        contestants |= {f"{precision}, without the kernel": partial(without_kernel, precision) for precision in NARROW}
    pictures = {way: call() for way, call in contestants.items()}
    seconds = race(contestants, settings.repeats, settings.device)
    rows = []
    for way in (way for way in contestants if way != "baseline"):
        precision = way.partition(",")[0]
        close = psnr(pictures[way], pictures["float32"])
        if precision == "float32" and comparable:
            difference = float((pictures[way] - pictures["baseline"]).abs().max())
            equal, note = difference <= SAME, f"differs by {difference:.0e} at most"
        else:
            equal, note = precision == "float32" or close >= CLOSE, f"{close:.1f} dB from float32"
        goal = GPU_GOAL if settings.on_gpu and name in PUBLISHED else None
        if not settings.on_gpu and (side, settings.scale) == (GOAL_SIDE, 4):
            goal = GOALS.get((name, way))
        what = f"{named(name)}, {side}²→{size[0]}², {way}"
        kept = {each: seconds[each] for each in (way, "baseline") if each in seconds}
        if comparable:
            value, unit, what = seconds["baseline"] / seconds[way], "x", f"{what}, over the baseline"
        else:
            value, unit = seconds[way], "s"
        row = f"render/{named(name)}/{side}/{way}"
        rows.append(Row(row, what, unit, value, goal, equal=equal, note=note, details=kept))
    return rows


@torch.no_grad()
def _has_kernel(model: ImplicitModel, image: Tensor) -> bool:
    return runs_in_large_blocks(model.decoder, image, None)


def rate_rows(settings: Settings) -> list[Row]:
    """How much of the processor's own rate for 256-wide matrix products the decoders reach, the encoder left out."""
    rows = []
    best = {precision: matmul_rate(precision, settings) for precision in NARROW}
    for name in settings.models:
        model = settings.load(name)
        side = settings.sides[0]
        size = (side * settings.scale,) * 2
        for precision in NARROW:
            field = model.encode(picture(side).to(settings.device), precision=precision)
            macs = decoder_macs(field)
            seconds = race({"decoder": partial(field.render, size)}, settings.repeats, settings.device)
            flops = 2 * macs * math.prod(size) / seconds["decoder"]
            goals = dict.fromkeys(NARROW, GPU_RATE_GOAL) if settings.on_gpu else RATE_GOALS
            details = {**seconds, "flop_per_s": flops, "matmul_flop_per_s": best[precision], "macs_per_pixel": macs}
            if isinstance(model.decoder, (LIIF, LTE)):
                details["bytes_per_pixel"] = traffic(model, baseline=False, precision=precision)
            rows.append(
                Row(
                    f"rate/{named(name)}/{precision}",
                    f"{named(name)}, decoder alone, {precision}: of the rate of matrix products",
                    "%",
                    flops / best[precision],
                    goals[precision] if name in PUBLISHED else None,
                    note=f"{flops / 1e9:.0f} of {best[precision] / 1e9:.0f} GFLOP/s",
                    details=details,
                )
            )
        if isinstance(model.decoder, (LIIF, LTE)):
            rows.append(_baseline_rate(settings, name, model, size, best["float32"]))
    return rows


def _baseline_rate(settings: Settings, name: str, model: ImplicitModel, size: tuple[int, int], best: float) -> Row:
    """The same of the authors' way, for comparison."""
    from torch.utils.flop_counter import FlopCounterMode

    baseline, image = Baseline(model), picture(settings.sides[0]).to(settings.device)[None]

    def decode(points: tuple[int, int]) -> Tensor:
        return baseline.decode(maps, image, points)

    with torch.no_grad():
        maps = baseline.maps(image)
        with FlopCounterMode(display=False) as counter:
            decode((8, 8))
        seconds = race({"decoder": lambda: decode(size)}, settings.repeats, settings.device)
    macs = counter.get_total_flops() / 2 / 64
    flops = 2 * macs * math.prod(size) / seconds["decoder"]
    details = {**seconds, "flop_per_s": flops, "matmul_flop_per_s": best, "macs_per_pixel": macs}
    details["bytes_per_pixel"] = traffic(model, baseline=True)
    what = f"{named(name)}, the baseline's decoder alone, float32: of the same rate"
    note = f"{flops / 1e9:.0f} of {best / 1e9:.0f} GFLOP/s"
    return Row(f"rate/{named(name)}/baseline", what, "%", flops / best, note=note, details=details)


@torch.no_grad()
def matmul_rate(precision: str, settings: Settings) -> float:
    """Operations per second of ``(r, 256) @ (256, 256)``, the best over ``r``; a multiplication and an addition are
    two.

    On a CPU also the best of two libraries: what ``torch.mm`` calls in float32 may not use all that the processor has.
    On a GPU also of a square product, as those of 256 columns wait for its memory.
    """
    rates = [_square_rate(precision, settings)] if settings.on_gpu else []
    long_enough = 2e11 if settings.on_gpu else 2e9  # operations, for the clock
    weight = torch.randn(256, 256, device=settings.device).to(PRECISIONS[precision])
    products: dict[str, Callable[[Tensor], Tensor]] = {"mm": lambda x: torch.mm(x, weight)}
    if not settings.on_gpu and has_product(weight.dtype):
        products["onednn"] = lambda x: Product.apply(x, weight, None, False)
    for r in [2**k for k in range(13 if settings.on_gpu else 8, 20 if settings.on_gpu else 15)]:
        x = torch.randn(r, 256, device=settings.device).to(weight.dtype)
        flops = 2 * r * 256 * 256
        times = max(1, int(long_enough / flops))

        def repeated(product: Callable[[Tensor], Tensor], x: Tensor = x, times: int = times) -> None:
            for _ in range(times):
                product(x)

        calls = {name: partial(repeated, product) for name, product in products.items()}
        seconds = race(calls, settings.repeats, settings.device)
        rates.append(flops * times / min(seconds.values()))
    return float(max(rates))


def _square_rate(precision: str, settings: Settings, side: int = 8192) -> float:
    a, b = (torch.randn(side, side, device=settings.device).to(PRECISIONS[precision]) for _ in range(2))
    seconds = race({"mm": lambda: torch.mm(a, b)}, settings.repeats, settings.device)
    return 2 * float(side) ** 3 / seconds["mm"]


@torch.no_grad()
def bandwidth(settings: Settings) -> float:
    """Bytes per second between the processor and its main memory: a large copy reads and writes each once."""
    source = torch.ones(1 << 25, device=settings.device)
    target = torch.empty_like(source)
    return (
        2 * 4 * source.numel() / race({"copy": lambda: target.copy_(source)}, settings.repeats, settings.device)["copy"]
    )


def shape_rows(settings: Settings) -> list[Row]:
    """What a pixel costs at a scale that is not whole, differs between the axes, or shows a window alone."""
    rows = []
    side = settings.sides[0]
    whole = (side * settings.scale,) * 2
    odd = (round(whole[0] * 0.93) + 1, round(whole[1] * 1.09) + 1)
    box = (-0.31, -0.22, 0.17, 0.26)
    for name in settings.models:
        field = settings.load(name).encode(picture(side).to(settings.device), precision="float32")
        seconds = race(
            {
                "whole": partial(field.render, whole),
                "odd": partial(field.render, odd),
                "box": partial(field.render, whole, box),
            },
            settings.repeats,
            settings.device,
        )
        cost = {way: seconds[way] / math.prod(odd if way == "odd" else whole) for way in seconds}
        for way, what in (("odd", f"{side}²→{odd[0]}×{odd[1]}"), ("box", f"a box, to {whole[0]}²")):
            rows.append(
                Row(
                    f"shape/{named(name)}/{way}",
                    f"{named(name)}, {what}: a pixel, over one at ×{settings.scale}",
                    "x",
                    cost[way] / cost["whole"],
                    1.15,
                    at_most=True,
                    details=seconds,
                )
            )
    return rows


def decoder_rows(settings: Settings) -> list[Row]:
    """LIIF beside decoders with a better algorithm, all on EDSR-baseline: nanoseconds and multiplications per pixel.

    On a processor those with a goal fill a screen: what is done once per picture, however large, counts less.
    """
    side, rows = settings.sides[0], []
    for decoder in ("liif", "lte", "lmf", "ope", "gb_lsr", "thera"):
        torch.manual_seed(0)
        model = subject({"encoder": "edsr_baseline", "decoder": decoder}).to(settings.device)
        fills = decoder in DECODER_GOALS and not settings.on_gpu
        shown, size = (SCREEN_INPUT, SCREEN) if fills else ((side, side), (side * settings.scale,) * 2)
        image = picture(*shown).to(settings.device)
        field = model.encode(image)
        macs = decoder_macs(field)
        ways = {precision: model.encode(image, precision=precision) for precision in NARROW}
        calls = {precision: partial(field.render, size) for precision, field in ways.items()}
        seconds = race(calls, settings.repeats, settings.device)
        frame = f"{shown[1]}×{shown[0]}→{size[1]}×{size[0]}, " if fills else ""
        details = {
            "macs_per_pixel": macs,
            **{f"flop_per_s_{k}": 2 * macs * math.prod(size) / v for k, v in seconds.items()},
        }
        rows.append(
            Row(
                f"decoder/{decoder}",
                f"{decoder}, decoder alone, {frame}per output pixel, float32",
                "ns",
                seconds["float32"] / math.prod(size) * 1e9,
                DECODER_GOALS.get(decoder),
                at_most=True,
                note=f"{macs / 1e3:,.1f} thousand multiplications; bfloat16 "
                f"{seconds['bfloat16'] / math.prod(size) * 1e9:.{3 if settings.on_gpu else 0}f} ns",
                details={**details, **seconds},
            )
        )
    return rows


def screen_rows(settings: Settings) -> list[Row]:
    """The model ``fast`` on a processor, encoder included: nanoseconds per pixel of a screen."""
    if settings.on_gpu:
        return []  # benchmarks.gpu has larger frames
    model, image = settings.load("fast"), picture(*SCREEN_INPUT).to(settings.device)
    rows, pixels = [], math.prod(SCREEN)
    for precision in NARROW:
        field = model.encode(image, precision=precision)
        encode = partial(model.encode, image, precision=precision)
        calls: dict[str, Callable[[], object]] = {
            "whole": lambda encode=encode: encode().render(SCREEN),  # type: ignore[misc]
            "encoder": encode,
            "decoder": partial(field.render, SCREEN),
        }
        seconds = race(calls, settings.repeats, settings.device)
        cost = {part: value / pixels * 1e9 for part, value in seconds.items()}
        note = f"{1 / seconds['whole']:.1f} pictures a second; encoder {cost['encoder']:.0f} ns, decoder {cost['decoder']:.0f}"
        what = f"fast, {SCREEN_INPUT[1]}×{SCREEN_INPUT[0]}→{SCREEN[1]}×{SCREEN[0]}, encoder included, {precision}, per output pixel"
        rows.append(Row(f"fast/{precision}", what, "ns", cost["whole"], SCREEN_GOAL, True, note=note, details=seconds))
    return rows
