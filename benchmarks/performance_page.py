"""Regenerate ``docs/performance.md`` and its figure from what ``python -m benchmarks`` measured.

    python -m benchmarks --long -o benchmarks/performance.json
    python -m benchmarks --device cuda --sizes 512 --rows "render rate decoder gpu" -o benchmarks/performance_gpu.json
    python -m benchmarks.performance_page [benchmarks/performance.json ...]

Several files make several tables, a GPU's in the section on GPUs; the counts and the figure are the first one's.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.rows import Row, markdown

ROOT = Path(__file__).parent.parent
RUNS = ("performance.json", "performance_faster.json", "performance_gpu.json")  # the first is the newest
MAX_BUSY = 0.2  # of the processors, by other programs
LABELS = {"float32": "float32", "bfloat16": "bfloat16", "baseline": "authors' way, float32"}
MARKS = {"liif": "o", "lte": "s"}
COLOURS = {"float32": "tab:blue", "bfloat16": "tab:orange", "baseline": "tab:gray"}

IDEAS = """## Two exact ideas

**The first layer is a convolution.** LIIF's MLP reads `[unfold(z), offset, cell]`: 576 features of the 3×3 neighbourhood and 4 numbers of
geometry. Its first layer is linear before its ReLU, so it splits: `W_z unfold(z) + W_g [offset, cell] + b`. The first term depends on the cell alone,
and applying one matrix to every 3×3 neighbourhood *is* a 3×3 convolution. It runs once per feature pixel in `prepare`; a query fetches one row of
256 numbers and adds a product with 4 columns. Nothing is approximated: sums are taken in another order, and the difference is rounding. LTE's amplitudes and
frequencies are convolutions already; its MLP begins with a product of waves that belongs to the point, so nothing of it can be moved.

**A grid is separable.** The neighbours of an output pixel, the offsets to them and the blending weights factor into those of its row and its column. `render`
computes them axis by axis (`H + W` of each, not `H · W`), and fetches rows of the latent by number. No list of coordinates, no `grid_sample`, and no
intermediate larger than a block; the result does not depend on the size of the block.

What remains is matrix products, with as little as possible between them.
A large picture is held once, as the samples it will have in its file.
"""

CPU = """## On a CPU

`liif` and `lte` have a kernel in C ([`ensemble.c`](../implicitkit/kernels/ensemble.c)) that does the whole local ensemble in one pass. A panel of 84 rows (neighbours of
queries) is fetched, goes through all layers and is blended before the next one begins, so that nothing but the latent and the result passes through main memory. A product keeps 14 rows × 32
columns of sums in registers, starts them at the bias and applies the ReLU before it stores them; the matrix is read in strips that fit the first-level cache. LTE's sines and cosines are
computed in the same registers. Panels are dealt to all threads. Sums are float32; bfloat16 needs AVX512-BF16, float32 AVX2, AVX-512 or ARM's NEON.

It is compiled when it is first needed, by `$CC`, `cc`, `gcc` or `clang`, in under two seconds, and kept in the user's cache folder (`~/.cache/implicitkit/kernels`). What came out is tried on a small
example, and not used where it disagrees. Fields that are asked with a graph, one cell per point, other decoders, layers that are hooked or of other kinds, and machines without a compiler take the
plain path; so does bfloat16 on processors with AMX, of which oneDNN makes more. `IMPLICITKIT_KERNELS=0` turns the kernel off; `python -m benchmarks` says whether it is there.

`lmf` and `lm_liif` go through the same kernel: a layer's sums are multiplied by the cell's scales, and its shifts added, while they are in registers. These
layers are 16 wide, so that their tiles are as narrow, with twice the rows; they are computed in float32 at any precision. The cells of the next queries are fetched ahead.

`thera`, `gb_lsr` and `ope` have one too ([`basis.c`](../implicitkit/kernels/basis.c)), for grids: they are sums of separable functions of the offset. A vector holds pixels. They read a group of as many columns of cells, and each picks the
numbers of its own cell. For Thera the cells are transposed, wave by wave, while the next are fetched, and the sines and cosines along x are turned to up to four lines at once. For the others a cell's coefficients are first summed with the
functions along y of up to four lines. The picture that Thera adds, the way back to [0, 1] and the clamp are part of the same pass, which writes to the canvas itself (`render(..., out=)`); results of 8 MB and more are written past the caches. It computes in float32 at any
precision, and reads rows as they are stored.

What bounds them: GB-LSR reads 768 numbers of a cell, 192 bytes for a pixel at ×4, which take 7 ns at the 27 GB/s that the first processor's memory gave, and its 490 multiply-adds take 4.7 ns at its rate of products. Thera's take 1.5 ns, its rows 1.2, and what
is computed per line and column by PyTorch about 1. LMF's multiply-adds are 54 ns.

Kernels run on PyTorch's own OpenMP threads: those wait in a loop for some milliseconds after each operation, so that threads beside them would share the cores with them. Where PyTorch brings no
OpenMP, and in a forked process, the kernel starts its own.

`fast` misses its goal of 36 ns: its encoder's 25.7 thousand multiply-adds per pixel are 119 ns at the rate of bfloat16 products on the first of the two processors above (its 157 ns are three quarters of that rate), and
51 ns on the second. The goal was set for 9.4 thousand.

The plain path does the same with PyTorch's operators, and every other decoder takes it. A block's points are evaluated so many at a time that one layer's values are still in the cache when
the next layer reads them, and each ReLU is applied while the product is still in registers (oneDNN's fused product). Every thread has queries of its own, rather than a share of every operation
([`pool.py`](../implicitkit/kernels/pool.py)). Convolutions read and write maps pixel by pixel, which is how they are
fastest there and how rows are fetched. What comes between SPAN's convolutions goes by strips of lines, whose values stay in the cache; and the
C library is made to keep freed maps, whose pages would otherwise be touched anew at each layer.

A training step takes oneDNN's products as well, forwards and for the gradient of what was read: in float32, PyTorch's own go to another library, which on some processors reaches less than half the rate.
Its points are evaluated in parts of at most 24 MiB per layer, because the C library gives blocks of more than 32 MiB back at once, and gets them anew page by page; all parts' rows of the latent are
fetched together, so that their gradients are added to the latent's once.

`--precision auto` does not believe the processor's flags: AVX512-BF16 without AMX can be slower than float32. Where a processor has instructions for bfloat16,
a matrix product and a convolution are timed once in both formats (some milliseconds), and the ratio is kept in `bfloat16.json` of the cache folder under the processor's
name, the number of threads and the versions. bfloat16 is taken where it is faster and the output has 8 bits; `upscale` says which and why.
"""

GPU = """## On a GPU

{table}
`liif`, `lte`, `lmf` and `lm_liif` have a kernel written in Triton ([`implicitkit/kernels`](../implicitkit/kernels)) that does the whole local ensemble in one pass: it fetches the four neighbours'
rows, adds the offset's part, runs every layer on the tensor cores with float32 sums and blends, and writes the result alone. The four neighbours of a query are rows of
one tile, so that a layer's matrix (128 KiB in bfloat16) is read once for all of them and then gives its shared memory to the next. Cells, offsets and areas come
from the plain path's own float32 geometry.

It serves where a field is rendered or asked without a graph, under bfloat16 or float16 autocast, or in TF32 where `torch.backends.cuda.matmul.allow_tf32` is set and the
layers fit, and in exact float32 where all layers are at most 32 wide (`lmf`). Full float32 of wide layers, other decoders, a cell for each point and training take the plain path, as does a
card on which the kernel does not compile or is wrong on a small example of its widths, on which it is tried before its first use (a warning says so; a CUDA graph's warm-up has tried it). Where several tile shapes are known to be right (`lmf`, `thera`), the first call
tries them and keeps the fastest on disk. `IMPLICITKIT_KERNELS=0` turns the kernels off.

`thera`, `gb_lsr` and `ope` have kernels for grids, the twins of `basis.c`; they compute in float32 and read rows in the precision in which they are stored. A program makes some lines of 32 pixels of
Thera: the sines and cosines of a cell's phases, turned to the pixel's column, stay in registers for all lines that read the same row of cells, and a pixel is two products and three sums per wave;
the picture is interpolated and added in the same pass. Of the others the sums over the functions along y are made once per line and column of cells, by a kernel of their own, and read by the pixels.

Nothing on the way from the picture to the rendered frame waits for the GPU: what a grid needs is computed there from numbers that travel with a launch, so that encoding and rendering can be captured as a CUDA graph.
In 16 bits, convolutions take maps pixel by pixel there as on a CPU.

**What cards have shown.** The kernels ran on NVIDIA H200 and H100 cards. Those of `thera`, `gb_lsr`, `ope`, `lmf` and `lm_liif` agree with the plain path (differences beside the times) and are
21 to 61 times as fast. `liif` and `lte` have two. At the published widths, in bfloat16, on a Hopper card with Triton 3.6, it is one written in Gluon, Triton's lower level
([`gpu_wide_source.py`](../implicitkit/kernels/gpu_wide_source.py)): a program goes through tiles of 128 rows, both factors of every product lie in shared memory, and the layers' matrices stream past in quarters while products run.
By itself, without what is launched around it, it takes 24.8 ms (LIIF) and 26.7 ms (LTE) for a frame, 70 % and 65 % of the rate of a large matrix product on that card (752 TFLOP/s), where the simpler kernel of before reached 21 % and 7 % on an H100. In the table, where a whole call from Python is timed
while the processor was busy with other work, that is 57 % and 46 %, and a frame of LIIF with its encoder 40 ms; the goal of 33 ms is missed by the encoder and the launches. It is within 3e-3 of float64 that rounds where it does, on grids and points, with and without the ensemble.
The file was shortened after that run, to the one shape that is kept, and has not run on a card since.
Elsewhere the simpler kernel serves, in one tile shape, 64 rows by 8 warps; other shapes gave values that were wrong by up to 3 % of the largest, or an illegal memory access, and are taken out. Every variant is tried on a small example before its first use.
Rows over the baseline were not measured with the new kernel.

Thera's kernel computes sines and cosines together by short polynomials now, and adds the picture to three channels at once: 0.56 ms of a frame where it took 0.80 (one run, one after the other, on the H200).

`fast` does not meet its goal of 4 ms: 4.6 ms at best on the H200 (5.5 on an H100, before Thera's kernel was shortened), as a CUDA graph with a compiled encoder. The encoder takes most of it: run by itself on the H200 (960×540, measured by hand), 9.9 ms in float32 and 7.5 in bfloat16 with maps plane
by plane, 8.8 and 5.4 pixel by pixel, 5.2 as a CUDA graph, and 3.1 compiled, all three in bfloat16. The decoder takes 0.9 ms in a graph (1.3 before); the 3.9 ms of the table include the launches from Python.

Elsewhere tests run the kernels in Triton's interpreter against the plain path, and compile them at the published sizes for compute capability 9.0.
There is no backward kernel: whether one wins could not be measured.
"""


def load(path: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    keys = set(Row.__dataclass_fields__)
    report["rows"] = [Row(**{k: v for k, v in row.items() if k in keys}) for row in report["rows"]]
    return report


def named(report: dict[str, Any]) -> dict[str, Row]:
    return {row.name: row for row in report["rows"]}


def machine(report: dict[str, Any]) -> str:
    busy = ""
    if report.get("busy", 0) > MAX_BUSY:
        busy = f" The machine was {report['busy']:.0%} busy with other work before the run, so the times are not to be relied on."
    about = f" {report['remark']}" if "remark" in report else ""
    return f"{report['machine']}.{about} Median of {report['repeats']} runs of each side, taking turns after a warm-up.{busy}"


DECODERS = ("liif", "lte", "lmf", "ope", "gb_lsr", "thera")


def counts(rows: dict[str, Row]) -> str:
    """Why a LIIF pixel costs what it costs, and what a better algorithm buys."""
    found = {name: rows[f"decoder/{name}"] for name in DECODERS if f"decoder/{name}" in rows}
    if not found:
        return ""
    lines = [
        f"| `{name}` | {row.details['macs_per_pixel'] / 1e3:,.1f} | {row.value:,.0f} | "
        f"{row.details['bfloat16'] / row.details['float32'] * row.value:,.0f} |"
        for name, row in found.items()
        if row.value is not None
    ]
    baseline = rows.get("rate/liif_edsr_baseline/baseline")
    theirs = f" The authors' way takes {baseline.details['macs_per_pixel'] / 1e3:,.0f} thousand." if baseline else ""
    return f"""## What is inherent

LIIF blends the predictions of the four nearest cells, and each prediction is a different point of a nonlinear network: four evaluations per pixel, of
4·256 + 3·256·256 + 256·3 = 198,400 multiplications each once the first layer is hoisted, 793,600 in all.{theirs} No exact
rearrangement removes them: a ReLU stands between every two of the remaining layers. Fewer multiplications need another decoder. `lmf` modulates a 16-wide network per cell, `thera`
sums damped waves of the nearest cell alone; both render through the same machinery, on the same encoder:

| decoder | thousand multiplications per pixel | ns per pixel, float32 | ns per pixel, bfloat16 |
|---|---|---|---|
{chr(10).join(lines)}
"""


def bound(rows: dict[str, Row]) -> str:
    """How far the ratio over the baseline could go on this processor."""
    said = []
    for name in ("liif", "lte"):
        baseline = rows.get(f"rate/{name}_edsr_baseline/baseline")
        for precision in ("float32", "bfloat16"):
            ours = rows.get(f"rate/{name}_edsr_baseline/{precision}")
            if baseline is None or ours is None or ours.value is None:
                continue
            ratio = baseline.details["decoder"] / ours.details["decoder"]
            said.append(f"| {name}, {precision} | ×{ratio:.2f} | ×{ratio / ours.value:.2f} |")
    if not said:
        return ""
    return f"""## How far it could go

The decoders alone (no encoder), over the authors' way, and what the ratio would be if every multiplication ran at the rate of this processor's own
256-wide matrix products, the faster of `torch.mm`'s and oneDNN's (the authors' way gets what PyTorch gives a linear layer). The kernel's own products may be a little faster than either:

| decoder | now | at the full rate |
|---|---|---|
{chr(10).join(said)}
"""


def roofline(report: dict[str, Any], target: Path) -> None:
    """Operations per second against operations per byte of main memory, with the machine's two limits."""
    rows = named(report)
    figure = Figure(figsize=(7.5, 5), layout="constrained")
    axes = figure.add_subplot()
    intensity = [2**k for k in range(0, 13)]
    peaks = {}
    for row in rows.values():
        kind, _, which = row.name.partition("/")
        model, _, way = which.rpartition("/")
        if kind != "rate" or "bytes_per_pixel" not in row.details:
            continue
        x = 2 * row.details["macs_per_pixel"] / row.details["bytes_per_pixel"]
        y = row.details["flop_per_s"] / 1e9
        short = model.partition("_")[0]
        axes.plot(
            x, y, MARKS.get(short, "^"), color=COLOURS[way], markersize=9, label=f"{short.upper()}, {LABELS[way]}"
        )
        if way != "baseline":
            peaks[way] = row.details["matmul_flop_per_s"] / 1e9
    for way, peak in peaks.items():
        slope = report["bytes_per_s"] / 1e9
        across = sorted([*intensity, peak / slope])
        axes.plot(across, [min(peak, x * slope) for x in across], color=COLOURS[way], linewidth=1)
        axes.annotate(f"{way}: {peak:,.0f} GFLOP/s", (intensity[-1], peak), ha="right", va="bottom", fontsize=8)
    axes.set(xscale="log", yscale="log", xlabel="operations per byte of main memory", ylabel="GFLOP/s")
    axes.grid(which="both", alpha=0.25)
    axes.legend(fontsize=8, loc="lower right")
    figure.savefig(target)


def published() -> list[Path]:
    """The runs that are committed: a CPU's, and a GPU's where there is one."""
    return [path for path in (ROOT / "benchmarks" / name for name in RUNS) if path.is_file()]


def table(report: dict[str, Any], *, elsewhere: bool = False) -> str:
    """A run's machine and rows; ``elsewhere``: without those that another run has measured on a GPU."""
    rows = [row for row in report["rows"] if not (elsewhere and row.value is None)]
    return f"{machine(report)}\n\n{markdown(rows)}\n"


def page(reports: list[dict[str, Any]]) -> str:
    on_gpu = [report for report in reports if report.get("device") == "cuda"]
    others = [report for report in reports if report not in on_gpu] or on_gpu
    tables = "\n".join(table(report, elsewhere=bool(on_gpu)) for report in others).rstrip()
    gpu = "\n".join(table(report) for report in on_gpu if report not in others)
    gpu = gpu or 'Without a GPU the rows above that need one say "not measured".\n'
    rows = named(reports[0])
    return f"""# Performance

*Generated by `python -m benchmarks.performance_page` from `python -m benchmarks --long -o benchmarks/performance.json`; do not edit by hand.*

The baseline is the authors' way, plainly written ([`benchmarks/baseline.py`](../benchmarks/baseline.py)): unfold, four `grid_sample`s, the
whole MLP on every query, chunks of 30,000, float32; tests hold it to the authors' own outputs (1e-5). `liif_edsr_baseline` and `lte_edsr_baseline`
have random weights, the last layer scaled so that the values spread as a photograph's do, and see a photograph; "dB from float32" is the PSNR of the bfloat16
output against the float32 one. Ratios include the encoder unless a row says otherwise. The authors' way waits for memory most of the time, the kernel hardly ever, so that
the ratios, unlike the kernel's own times, differ with what else uses the machine's memory.

{tables}

{IDEAS}
{CPU}
{GPU.format(table=gpu)}
{counts(rows)}
{bound(rows)}
## Where the time goes

![roofline](images/roofline.png)

Each point is a decoder without its encoder: its rate against how many operations it does per byte that has to come from main memory, by count. The authors' way
writes every intermediate of 30,000 queries and reads it back, ours fetches four rows of the latent per pixel and writes the result. The lines are the
machine's limits: a large copy on the slope, the best 256-wide matrix product on the flat (`torch.mm` or oneDNN's; the former, through which the authors' linear layers go in float32,
does not use all instructions of every processor).

## Measure it yourself

```bash
python -m benchmarks                               # in a clone: the table, without the large picture
python -m benchmarks --long -o bench.json          # all of it
python -m benchmarks --model liif_small --sizes '64 256' --rows 'render rate'
python -m benchmarks --device cuda --sizes 512 --rows 'render rate decoder gpu' -o gpu.json
```
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", type=Path, nargs="*", default=published())
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs" / "performance.md")
    arguments = parser.parse_args()
    missing = [] if arguments.reports else ["benchmarks/performance.json"]
    missing += [str(path) for path in arguments.reports if not path.is_file()]
    if missing:
        sys.exit(f"error: there is no {', '.join(missing)}; write it with python -m benchmarks -o")
    reports = [load(path) for path in arguments.reports]
    figure = arguments.output.parent / "images" / "roofline.png"
    figure.parent.mkdir(exist_ok=True)
    roofline(reports[0], figure)
    arguments.output.write_text(page(reports), encoding="utf-8")
    print(f"wrote {arguments.output} and {figure}")


if __name__ == "__main__":
    main()
