"""Measure ``implicitkit view``: views a second, what they wait for, and memory over many.

python -m benchmarks.views [--model fast] [--size 900x600] [--views 1000] [--threads 2]
"""

from __future__ import annotations

import argparse
import http.client
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import psutil
import torch

from benchmarks.rows import Row, markdown
from implicitkit.cli.inputs import parse_size
from implicitkit.create import load_model
from implicitkit.devices import describe_machine
from implicitkit.errors import UserError
from implicitkit.files import PHOTO
from implicitkit.viewer.darkroom import Darkroom, Named
from implicitkit.viewer.question import Box, Damage, Layer, Question
from implicitkit.viewer.running import listen, serve
from implicitkit.viewer.transfer import encode

GOAL = 15.0  # views a second
MAX_GROWTH = 0.05  # GB of resident memory from the 100th view on
WARM_UP = 100
FLIGHT = 40  # views of one flight over the picture, from all of it to 64 times that


class Taken(NamedTuple):
    """Medians of one kind of view, seconds."""

    wall: float
    processor: float


def flight(number: int) -> Box:
    """The window of the ``number``-th view: zooming in towards a point, then out again, over and over."""
    step = number % (2 * FLIGHT)
    half = 64.0 ** (-min(step, 2 * FLIGHT - step) / FLIGHT)
    y, x = 0.3 * (1 - half), -0.2 * (1 - half)
    return (max(-1.0, y - half), max(-1.0, x - half), min(1.0, y + half), min(1.0, x + half))


def timed(call: Callable[[int], object], repeats: int) -> Taken:
    """Wall and processor time of a call, the medians; the processor's of all threads."""
    walls, processors = [], []
    for k in range(-3, repeats):
        start, used = time.perf_counter(), time.process_time()
        call(k % (2 * FLIGHT))
        if k >= 0:
            walls.append(time.perf_counter() - start)
            processors.append(time.process_time() - used)
    return Taken(statistics.median(walls), statistics.median(processors))


def stages(model: str, size: tuple[int, int], repeats: int) -> list[Row]:
    """What a view waits for: rendering, and each way of making bytes of it."""
    room = Darkroom([PHOTO], [Named(model, load_model(model))])

    def question(k: int, side: int = 1, layer: str = "model") -> Question:
        return Question(0, Layer(layer), Damage(), flight(k), (size[0] // side, size[1] // side))

    canvas = room.render(question(8))
    parts: dict[str, Callable[[int], object]] = {
        "render and round to 8 bits": lambda k: room.render(question(k)),
        "render a quarter of the resolution": lambda k: room.render(question(k, 4)),
        "bicubic": lambda k: room.render(question(k, layer="bicubic")),
        "bytes as raw": lambda k: encode(canvas, "raw"),
        "bytes as png": lambda k: encode(canvas, "png"),
        "bytes as jpeg": lambda k: encode(canvas, "jpeg"),
    }
    rows = []
    for what, call in parts.items():
        taken = timed(call, repeats)
        note = f"{taken.wall * 1e3:.1f} ms, processor {taken.processor * 1e3:.1f} ms"
        rows.append(Row(f"views/{what}", what, "ms", taken.wall * 1e3, note=note, details=taken._asdict()))
    return rows


def served(model: str, size: tuple[int, int], views: int, threads: int) -> list[Row]:
    """Views of the real command over HTTP, one after the other, and the memory that it holds."""
    with listen("127.0.0.1", 0) as probe:
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "benchmarks.views",
        "--serve",
        str(port),
        "--model",
        model,
        "--threads",
        str(threads),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            path = "/" + address.split("/", 3)[3]
            watched, memory, walls = psutil.Process(process.pid), [], []
            used = 0.0
            for k in range(views):
                if k == WARM_UP:
                    used = sum(watched.cpu_times()[:2])
                box = ",".join(f"{end:.9f}" for end in flight(k))
                words = f"layer=model-0&box={box}&width={size[1]}&height={size[0]}&client=bench&turn={k + 1}"
                start = time.perf_counter()
                connection.request("GET", f"{path}view?{words}")
                answer = connection.getresponse()
                body = answer.read()
                walls.append(time.perf_counter() - start)
                if answer.status != 200 or len(body) != 4 * size[0] * size[1]:
                    raise UserError(f"view {k} was answered with {answer.status} and {len(body)} bytes")
                if k >= WARM_UP and k % 50 == 0:
                    memory.append(watched.memory_info().rss / 1e9)
            counted = walls[WARM_UP:]
            processor = (sum(watched.cpu_times()[:2]) - used) / len(counted)
            rate, busy = 1 / statistics.median(counted), processor * 1e3
            half = len(memory) // 2
            growth = statistics.median(memory[half:]) - statistics.median(memory[:half])
            note = f"median {statistics.median(counted) * 1e3:.0f} ms, processor {busy:.0f} ms a view over {threads} threads"
            what = f"{model}, {size[1]}×{size[0]}, over HTTP, raw"
            return [
                Row(
                    "views/rate",
                    f"views a second: {what}",
                    "/s",
                    rate,
                    GOAL,
                    note=note,
                    details={"processor": processor},
                ),
                Row(
                    "views/memory",
                    f"memory grown over {len(counted)} views",
                    "GB",
                    growth,
                    MAX_GROWTH,
                    at_most=True,
                    note=f"{min(memory):.2f} to {max(memory):.2f} GB",
                ),
            ]
        finally:
            connection.close()
            process.kill()


def serve_here(model: str, port: int) -> None:
    """What the command does, with the package's own picture, and a port that is known."""
    listener = listen("127.0.0.1", port)
    room = Darkroom([PHOTO], [Named(model, load_model(model))])
    serve(room, listener, "127.0.0.1", browse=False, say=partial(print, flush=True))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser("python -m benchmarks.views", description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="fast", help="a model's name, or a weight file")
    parser.add_argument("--size", default="900x600", help="of a view, WIDTHxHEIGHT")
    parser.add_argument("--views", type=int, default=1000, help=f"over HTTP, at least {2 * WARM_UP}")
    parser.add_argument("--repeats", type=int, default=40, help="of each stage")
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    if options.serve is not None:
        serve_here(options.model, options.serve)
        return
    size = parse_size(options.size)
    busy = psutil.cpu_percent(interval=1.0) / 100
    print(f"{describe_machine(torch.device('cpu'))}; {options.threads} threads; other programs take {busy:.0%}")
    rows = served(options.model, size, max(2 * WARM_UP, options.views), options.threads)
    print(markdown(rows + stages(options.model, size, options.repeats)))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
