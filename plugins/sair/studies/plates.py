"""Holes filled by the thin plate, made ahead of a training: the plate is the slow part, and a processor's work.

python plugins/sair/studies/plates.py PICTURES POOL --kind strokes --ratio 0.02 0.6 --side 88 --files 64 --processes 8

POOL fills up with files of 512 examples each: ``truth`` and ``hole`` (uint8), ``plate`` (float16). One hole serves
eight pictures, whose plates then cost little more than one. With ``--endless`` the oldest files are replaced for ever.
``--test MASKS`` writes instead POOL/test.npz: the examples of the protocol ``inpainting``, one file for all.
``resident.py`` trains on such a pool.
"""

from __future__ import annotations

import argparse
import os
from multiprocessing import Process
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import implicitkit as ik
from implicitkit.degradations.base import seeded
from implicitkit.evaluation.inpainting import InpaintingProtocol
from implicitkit.files import replacing
from implicitkit.images import biharmonic_fill, picture_files

SHARED = 8  # pictures per hole
EXAMPLES = 512  # per file

Pictures = list[NDArray[np.uint8]]
"""Each ``(3, H, W)``."""


def main() -> None:
    """Write the pool, or the test examples."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("pool", type=Path)
    parser.add_argument("--kind", nargs="+", default=["strokes"])
    parser.add_argument("--masks", help="a folder of masks, for the kind folder")
    parser.add_argument("--ratio", nargs=2, type=float, default=[0.02, 0.6])
    parser.add_argument("--side", type=int, default=88, help="pixels")
    parser.add_argument("--centred", type=float, default=0.5, help="share of crops from the middle, not from anywhere")
    parser.add_argument("--files", type=int, default=64, help="files in the pool")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--endless", action="store_true", help="replace old files for ever")
    parser.add_argument("--skip", type=int, default=0, help="leave out this many pictures, spread over the folder")
    parser.add_argument("--test", type=Path, metavar="MASKS", help="write the test's examples, with these masks")
    arguments = parser.parse_args()
    arguments.pool.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    if arguments.test:
        write_test(arguments)
        return
    files = picture_files([arguments.pictures])
    if arguments.skip:
        step = len(files) / arguments.skip
        left_out = {int((k + 0.5) * step) for k in range(arguments.skip)}
        files = [file for k, file in enumerate(files) if k not in left_out]
    pictures = [(ik.read_image(file)[:3] * 255).round().to(torch.uint8).numpy() for file in files]
    pictures = [picture for picture in pictures if min(picture.shape[1:]) >= arguments.side]
    workers = [Process(target=produce, args=(k, arguments, pictures)) for k in range(arguments.processes)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def produce(worker: int, arguments: Any, pictures: Pictures) -> None:
    """Write every ``processes``-th file, and again if ``endless``."""
    spec = {"name": "inpainting", "kind": arguments.kind, "ratio": arguments.ratio, "folder": arguments.masks}
    degradation = ik.create_degradation(spec)
    round_ = 0
    while round_ == 0 or arguments.endless:
        for number in range(worker, arguments.files, arguments.processes):
            generator = seeded(round_, number)
            made = [examples(degradation, pictures, arguments, generator) for _ in range(EXAMPLES // SHARED)]
            truth, hole, plate = (np.concatenate(parts) for parts in zip(*made, strict=True))
            with replacing(arguments.pool / f"{number:04}.npz") as temporary, temporary.open("wb") as file:
                np.savez(file, truth=truth, hole=hole, plate=plate)
        round_ += 1


def examples(degradation: Any, pictures: Pictures, arguments: Any, generator: torch.Generator) -> tuple[Any, ...]:
    """Eight crops with one hole: clean, the hole, and filled."""
    side = arguments.side
    record = degradation.sample((3, side, side), generator)
    hole = torch.from_numpy(degradation.draw_mask((side, side), record)).to(torch.uint8)[None]
    crops = []
    for k in torch.randint(len(pictures), (SHARED,), generator=generator).tolist():
        middle = float(torch.rand((), generator=generator)) < arguments.centred
        ends = [n - side for n in pictures[k].shape[1:]]
        top, left = (e // 2 if middle else int(torch.randint(e + 1, (), generator=generator)) for e in ends)
        crops.append(torch.from_numpy(pictures[k][:, top : top + side, left : left + side].copy()))
    truth = torch.stack(crops)
    channels = truth.float().div(255).flatten(0, 1)  # the plate of a channel does not read the others
    plate = biharmonic_fill(channels[None], hole[None].float())[0].reshape(truth.shape)
    return truth.numpy(), hole.expand(SHARED, -1, -1, -1).numpy(), plate.half().numpy()


def write_test(arguments: Any) -> None:
    """The protocol's examples with their plates."""
    protocol = InpaintingProtocol(masks=str(arguments.test), size=arguments.side, solvers=False)
    found = list(protocol.examples(arguments.pictures))
    truth, hole, plate, setting, name = [], [], [], [], []
    for example in found:
        assert example.mask is not None
        truth.append((example.truth * 255).round().to(torch.uint8).numpy())
        hole.append(example.mask.to(torch.uint8).numpy())
        plate.append(biharmonic_fill(example.image[None], example.mask[None])[0].half().numpy())
        setting.append(example.setting)
        name.append(example.name)
    with replacing(arguments.pool / "test.npz") as temporary, temporary.open("wb") as file:
        np.savez(file, truth=truth, hole=hole, plate=plate, setting=setting, name=name)
    print(f"{len(found)} examples, process {os.getpid()}")


if __name__ == "__main__":
    main()
