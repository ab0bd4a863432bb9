"""Ten photographs before, what was selected, and after: `implicitkit edit`, with DINOv2.

The first six may be passed on, and make docs/images/editing.jpg; the others are looked for in a folder. It prints the
commands as it runs them. Fetch the weights first: `implicitkit weights get dinov2_vits14`.

python plugins/sair/studies/editing.py WORK [--photographs FOLDER] [--sheet docs/images/editing.jpg]
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH = 250  # pixels of a picture on the sheet
FREE = {
    "rocket": "rocket.png --like 320,250 --connected true",
    "astronaut": "astronaut.png --like 420,145 --unlike 330,60 --unlike 490,120 --connected true",
    "hopper": "hopper.png --like 257,100 --connected true",
    "coffee": "coffee.png --like 364,279 --like 110,170 --connected true",
    "spoon": "coffee.png --like 364,279 --unlike 300,60 --unlike 290,180 --unlike 130,260 --unlike 430,310 --grow 6",
    "face": "hopper_face.png --like 44,50 --as astronaut_face.png --grow 2",
}
"""Name of a row -> the picture and the options; their pictures come with scikit-image and matplotlib."""
OTHERS = {
    "ladybird": "LadyBird.jpg --like 632,287 --connected true",
    "dogs": "friends_by_Aitzol_Berasategi.jpg --like 257,278 --like 342,471",
    "boats": "EveningGlow.jpg --like 110,290 --connected true",
    "sky": "ADE_val_00000001.jpg --like 197,143 --connected true",
}
"""Likewise, of photographs that are not passed on, shrunk to 900 pixels."""


def free_pictures(folder: Path) -> None:
    """Write the pictures: of NASA (astronaut) and the US Navy (hopper), public domain; CC0: coffee and rocket."""
    import matplotlib
    from skimage import data

    made = {name: Image.fromarray(getattr(data, name)()) for name in ("rocket", "astronaut", "coffee")}
    made["hopper"] = Image.open(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg").convert("RGB")
    made["hopper_face"] = made["hopper"].crop((146, 100, 396, 350)).resize((88, 88), Image.Resampling.LANCZOS)
    made["astronaut_face"] = made["astronaut"].crop((145, 20, 305, 180)).resize((88, 88), Image.Resampling.LANCZOS)
    for name, picture in made.items():
        picture.save(folder / f"{name}.png")


def edit(folder: Path, name: str, asked: str, run: bool) -> list[Image.Image]:
    """Run the command in ``folder``, or take what it left; the picture, the selection over it, and the result."""
    words = ["implicitkit", "edit", *shlex.split(asked)]
    words += ["-o", f"{name}_after.png", "--mask", f"{name}_selected.png", "--force"]
    print(shlex.join(words), flush=True)
    if run:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", *words], check=True, cwd=folder)
        print(f"  {time.perf_counter() - start:.0f} s", flush=True)
    before, after = (Image.open(folder / file).convert("RGB") for file in (words[2], f"{name}_after.png"))
    mask = Image.open(folder / f"{name}_selected.png").convert("L")
    red = Image.blend(before, Image.new("RGB", before.size, (230, 0, 60)), 0.55)
    return [before, Image.composite(red, before, mask), after]


def sheet(rows: list[list[Image.Image]], file: Path) -> None:
    """Two rows of three beside each other."""
    blocks = []
    for row in rows:
        height = round(WIDTH * row[0].height / row[0].width)
        blocks.append(np.hstack([np.asarray(picture.resize((WIDTH, height))) for picture in row]))
    lines = []
    for pair in (blocks[k : k + 2] for k in range(0, len(blocks), 2)):
        height = max(len(block) for block in pair)
        padded = [np.pad(b, ((0, height - len(b)), (0, 8), (0, 0)), constant_values=255) for b in pair]
        lines.append(np.pad(np.hstack(padded), ((0, 8), (0, 0), (0, 0)), constant_values=255))
    width = max(line.shape[1] for line in lines)
    lines = [np.pad(line, ((0, 0), (0, width - line.shape[1]), (0, 0)), constant_values=255) for line in lines]
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.vstack(lines)).save(file, quality=85)


def main() -> None:
    """Edit, and write the sheets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="a folder for the pictures")
    parser.add_argument("--photographs", type=Path, help="the folder of the others")
    parser.add_argument("--sheet", type=Path, help="the sheet of the pictures that may be passed on")
    parser.add_argument("--only", nargs="+", help="run these rows; of the others, take what lies in WORK")
    arguments = parser.parse_args()
    work: Path = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    free_pictures(work)
    wanted = set(arguments.only or [*FREE, *OTHERS])
    rows = [edit(work, name, asked, name in wanted) for name, asked in FREE.items()]
    sheet(rows, arguments.sheet or work / "free.jpg")
    if arguments.photographs:
        rows = []
        for name, asked in OTHERS.items():
            with Image.open(arguments.photographs / asked.split()[0]) as photograph:
                photograph.thumbnail((900, 900))
                photograph.convert("RGB").save(work / asked.split()[0], quality=95)
            rows.append(edit(work, name, asked, name in wanted))
        sheet(rows, work / "others.jpg")


if __name__ == "__main__":
    main()
