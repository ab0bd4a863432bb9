"""Models beside solvers on photographs: strokes and writing, in dB in the hole, with intervals over the pictures.

Pictures smaller than a size are left out there.

python plugins/sair/studies/photographs.py FOLDER [FOLDER ...] --models sair_small_scenes sair_faces --sizes 88 256 512
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from choosing import hole, middle
from scipy.stats import bootstrap
from solvers import open_cv

import implicitkit as ik
from implicitkit.images import picture_files
from implicitkit_sair import inpaint


def main() -> None:
    """Print a table for each size and kind of hole."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="+")
    parser.add_argument("--models", nargs="+", default=["sair_small_scenes"], help="names or files")
    parser.add_argument("--sizes", type=int, nargs="+", default=[88, 256, 512])
    parser.add_argument("--kinds", nargs="+", default=["5-20", "text"])
    parser.add_argument("--whole", action="store_true", help="shrink each picture to the size, not crop its middle")
    parser.add_argument("--save", type=Path, help="a folder for the pictures, the hole and the answers")
    arguments = parser.parse_args()
    models = {Path(name).stem: ik.load_model(name) for name in arguments.models}
    methods = {name: lambda x, m, name=name: inpaint(name, x, m) for name in ("harmonic", "biharmonic")}
    methods |= open_cv()
    methods |= {name: lambda x, m, model=model: inpaint(model, x, m) for name, model in models.items()}
    for size in arguments.sizes:
        for kind in arguments.kinds:
            scores: dict[str, list[float]] = {name: [] for name in methods}
            seconds = dict.fromkeys(methods, 0.0)
            for seed, file in enumerate(picture_files(arguments.folder)):
                picture = ik.read_image(file)
                if min(picture.shape[1:]) < size:
                    continue
                picture = middle(picture, size, arguments.whole)
                mask = hole(kind, tuple(picture.shape[1:]), seed)  # type: ignore[arg-type]
                if arguments.save:
                    arguments.save.mkdir(parents=True, exist_ok=True)
                    ik.write_image(arguments.save / f"{size}_{kind}_{seed}_0_hole.png", picture * (1 - mask))
                for name, method in methods.items():
                    start = time.process_time()
                    answer = method(picture, mask).clamp(0, 1) * mask + picture * (1 - mask)
                    seconds[name] += time.process_time() - start
                    error = (answer - picture)[:, mask[0] > 0.5].double().square().mean()
                    scores[name].append(-10 * float(error.clamp(min=1e-10).log10()))
                    if arguments.save:
                        ik.write_image(arguments.save / f"{size}_{kind}_{seed}_{name.split()[0]}.png", answer)
            pictures = len(scores["harmonic"])
            print(f"\n| {kind}, {size} px, {pictures} pictures | dB | s | minus biharmonic | minus the best solver |")
            print("|---|---|---|---|---|")
            best = max((name for name in methods if name not in models), key=lambda name: float(np.mean(scores[name])))
            for name, values in scores.items():
                gaps = (
                    [difference(values, scores[rival]) for rival in ("biharmonic", best)]
                    if name in models
                    else ["", ""]
                )
                cells = [name, f"{np.mean(values):.2f}", f"{seconds[name] / pictures:.2f}", *gaps]
                print(f"| {' | '.join(cells)} |", flush=True)


def difference(ours: list[float], theirs: list[float]) -> str:
    """The mean, its 95 % interval (BCa) over pictures, on how many ours is higher, and the most that one loses."""
    gaps = np.array(ours) - np.array(theirs)
    low, high = bootstrap((gaps,), np.mean, n_resamples=2000, random_state=0).confidence_interval
    return (
        f"{gaps.mean():+.2f} [{low:+.2f}, {high:+.2f}], {int((gaps > 0).sum())} of {len(gaps)}, worst {gaps.min():+.2f}"
    )


if __name__ == "__main__":
    main()
