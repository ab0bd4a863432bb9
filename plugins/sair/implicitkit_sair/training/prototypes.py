"""Classes for a semantic encoder that has no words: what the features of a folder of pictures gather around.

    implicitkit make-prototypes pictures/ -o prototypes.safetensors --encoder '{name: mae_small, weights: FILE}'

They stand where embeddings of class names would, so that ``semantics: text`` runs with any encoder (``{name: air,
semantics: text, classes: prototypes.safetensors}``). They are **prototypes, not words**: nobody has named them, and no
language is aligned with them. What such a run tells is what the similarities to a few directions are worth; it tells
nothing of what a text tower knows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from implicitkit import Encoder

Progress = Callable[[int, str], Any]
CELLS = 64  # of a picture, at random: more would say the same again


def find_prototypes(
    folder: Path,
    output: Path,
    encoder: str | Mapping[str, Any],
    *,
    count: int = 16,
    pictures: int = 500,
    seed: int = 0,
    device: str = "auto",
    progress: Progress | None = None,
) -> Path:
    """Write the prototypes of an encoder's features as a file that ``classes`` of AIR and SemLTE takes.

    Args:
        folder: searched recursively; pictures are taken whole, at their own size.
        output: a ``.safetensors`` file that does not exist yet; its rows are named ``prototype 1`` and so on, the
            commonest first.
        encoder: its name or spec, without ``mask_channels``.
        count: how many prototypes.
        pictures: at most so many, spread evenly over the folder's sorted list; of each, 64 cells at random.
        seed: of the cells and of the start.
        device: as on the command line, ``"auto"`` or torch's name of one.
        progress: called with the number of pictures done and the one at hand.

    Raises:
        UserError: the output exists or has another ending, the encoder cannot be built, a picture cannot be used, or
            there are fewer different features than prototypes.
    """
    import torch

    from implicitkit import UserError, create_encoder
    from implicitkit.cli import check_target
    from implicitkit.config import naming
    from implicitkit.degradations import seeded
    from implicitkit.devices import choose_device
    from implicitkit.images import picture_files
    from implicitkit_sair.semantic.class_embeddings import write_classes

    output = Path(output)
    if output.suffix != ".safetensors":
        raise UserError(f"the output ends in .safetensors; received {output}")
    if output.exists():
        raise UserError(f"{output} exists already; choose another output")
    check_target(output, force=True)  # its folder is made when there is something to write
    if min(count, pictures) < 1 or seed < 0:
        raise UserError(f"count and pictures are at least 1, seed at least 0; received {count}, {pictures} and {seed}")
    with naming("encoder"):
        torch.manual_seed(seed)  # of one without weights
        built = create_encoder(encoder)
    files = picture_files([folder])
    chosen = [files[k * len(files) // pictures] for k in range(pictures)] if len(files) > pictures else files
    vectors = gather(built.to(choose_device(device)).eval(), chosen, seed, progress)
    try:
        found, nearest = spherical_kmeans(vectors, count, seeded(seed, -1))
    except ValueError as error:
        raise UserError(f"{folder}: {error}; give more pictures, or ask for fewer with --count") from None
    sizes = nearest.bincount(minlength=count)
    order = sizes.argsort(descending=True, stable=True)
    made = {
        "encoder": encoder if isinstance(encoder, str) else dict(encoder),
        "pictures": len(chosen),
        "features": len(vectors),
        "shares": [round(n / len(vectors), 4) for n in sizes[order].tolist()],
        "cosine": round(float((vectors * found[nearest]).sum(1).mean()), 4),
        "seed": seed,
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    write_classes(output, [f"prototype {k + 1}" for k in range(count)], found[order], {"made": json.dumps(made)})
    return output


def gather(encoder: Encoder, files: list[Path], seed: int, progress: Progress | None = None) -> Tensor:
    """Features of pictures, ``(M, out_channels)`` float32 of length 1 each, on the CPU: of each picture some cells at
    random, none of them on the padding alone.
    """
    import torch
    import torch.nn.functional as F

    from implicitkit import read_image
    from implicitkit.degradations import seeded

    rows = []
    where = next(encoder.parameters()).device
    for k, file in enumerate(files):
        picture = read_image(file)
        with torch.no_grad():
            features = encoder(picture[None].to(where))
        map = features.map[0].float().cpu()
        # cells that lie on the picture, if only in part
        height, width = (
            -(-n * cells // extent)
            for n, cells, extent in zip(picture.shape[1:], features.grid, features.extent, strict=True)
        )
        cells = map[:, :height, :width].flatten(1).t()
        rows.append(cells[torch.randperm(len(cells), generator=seeded(seed, k))[:CELLS]])
        if progress:
            progress(k + 1, file.name)
    vectors = torch.cat(rows)
    return F.normalize(vectors[vectors.any(dim=1)], dim=1)


def spherical_kmeans(
    vectors: Tensor, count: int, generator: torch.Generator, iterations: int = 100
) -> tuple[Tensor, Tensor]:
    """K-means by the cosine (Dhillon & Modha, 2001): what compares features with classes by dot products asks for it.

    The start is k-means++'s, a vector being the likelier chosen the farther it is from those chosen before. A centre
    that loses all its vectors moves to the vector that is farthest from its own.

    Args:
        vectors: ``(M, C)``, of length 1.
        count: number of centres.
        generator: of the start.
        iterations: at most; it ends where no vector changes its centre.

    Returns:
        Centres ``(count, C)`` of length 1, and the nearest one of each vector, ``(M,)`` int64.

    Raises:
        ValueError: there are fewer different vectors than centres.
    """
    import torch
    import torch.nn.functional as F

    centres = vectors[torch.randint(len(vectors), (1,), generator=generator)]
    while len(centres) < count:
        away = 1 - (vectors @ centres.t()).amax(1)
        away[away < 1e-6] = 0  # the same vector, but for rounding
        if not away.any():
            raise ValueError(f"there are {len(centres)} different features for {count} prototypes")
        centres = torch.cat([centres, vectors[torch.multinomial(away, 1, generator=generator)]])
    nearest = torch.full((len(vectors),), -1)
    for _ in range(iterations):
        cosine, assigned = (vectors @ centres.t()).max(1)
        for empty in (assigned.bincount(minlength=count) == 0).nonzero().flatten().tolist():
            far = int(cosine.argmin())
            assigned[far], cosine[far] = empty, 1
        if torch.equal(assigned, nearest):
            break
        nearest = assigned
        sums = torch.zeros_like(centres).index_add_(0, nearest, vectors)
        centres = F.normalize(sums, dim=1)
    return centres, nearest
