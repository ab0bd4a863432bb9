"""Prototypes: k-means by the cosine against a literal version, and a file that a decoder's ``classes`` takes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from small_parts import EDSR

import implicitkit as ik
from implicitkit.degradations.base import seeded
from implicitkit.weights.native import read_metadata
from implicitkit_sair.semantic.class_embeddings import read_classes
from implicitkit_sair.training.prototypes import gather, spherical_kmeans

PHOTOS = Path(__file__).parents[4] / "examples" / "photos"
MAE = "{name: mae_small, patch: 4, width: 16, depth: 1, heads: 2}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pictures")
    for k, file in enumerate(sorted(PHOTOS.iterdir())):
        ik.write_image(made / f"{k}.png", ik.read_image(file)[:, 80:110, 110:152])
    return made


def literal(vectors: torch.Tensor, centres: torch.Tensor) -> tuple[torch.Tensor, list[int]]:
    """Lloyd's steps one vector at a time, to the end; in float64."""
    nearest: list[int] = []
    while True:
        cosines = [[sum(a * b for a, b in zip(v, c, strict=True)) for c in centres.tolist()] for v in vectors.tolist()]
        found = [max(range(len(row)), key=row.__getitem__) for row in cosines]
        if found == nearest:
            return centres, nearest
        nearest = found
        members = [[v for v, n in zip(vectors, nearest, strict=True) if n == k] for k in range(len(centres))]
        centres = torch.stack([sum(m) / torch.linalg.vector_norm(sum(m)) for m in members])


def start(vectors: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """What k-means begins with: it is asked for no step."""
    return spherical_kmeans(vectors, count, generator, iterations=0)[0]


@pytest.mark.parametrize("seed", range(4))
def test_kmeans_is_lloyds(seed: int) -> None:
    vectors = F.normalize(torch.randn(60, 3, generator=seeded(seed)), dim=1)
    centres, nearest = spherical_kmeans(vectors, 5, seeded(seed, 1))
    begun = start(vectors, 5, seeded(seed, 1))
    assert all((begun[k] == vectors).all(1).any() for k in range(5)) and len(begun.unique(dim=0)) == 5
    expected, assigned = literal(vectors.double(), begun.double())
    assert nearest.tolist() == assigned
    torch.testing.assert_close(centres, expected.float(), atol=1e-6, rtol=0)


def test_groups_that_lie_apart_are_found() -> None:
    """Whatever the start, as the likelier one lies far from those chosen: twenty seeds of twenty."""
    axes = torch.eye(6)
    vectors = F.normalize(axes.repeat_interleave(30, 0) + 0.02 * torch.randn(180, 6), dim=1)
    for seed in range(20):
        centres, nearest = spherical_kmeans(vectors, 6, seeded(seed))
        assert torch.equal((centres @ axes.t() > 0.99).sum(0), torch.ones(6, dtype=torch.long))
        assert torch.equal(nearest.bincount(), torch.full((6,), 30))
    again = spherical_kmeans(vectors, 6, seeded(19))
    assert torch.equal(again[0], centres) and torch.equal(again[1], nearest)


def test_no_centre_is_left_without_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two equal starts: the second has nothing, and moves to the vector that is farthest from its own."""
    monkeypatch.setattr(torch, "multinomial", lambda away, n, generator: torch.tensor([0]))
    monkeypatch.setattr(torch, "randint", lambda high, size, generator: torch.tensor([0]))
    vectors = F.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.9, 0.0], [0.0, 1.0]]), dim=1)
    centres, nearest = spherical_kmeans(vectors, 2, torch.Generator())
    assert nearest.tolist() == [0, 0, 0, 1]
    torch.testing.assert_close(centres[1], torch.tensor([0.0, 1.0]))


def test_too_few_different_vectors_are_refused() -> None:
    vectors = torch.eye(3).repeat(5, 1)
    assert spherical_kmeans(vectors, 3, seeded(0))[1].bincount().tolist() == [5, 5, 5]
    with pytest.raises(ValueError, match="there are 3 different features for 4 prototypes"):
        spherical_kmeans(vectors, 4, seeded(0))


class Means(ik.Encoder):
    """The mean colour of 2x2 pixels, of pictures padded to multiples of 8: some cells are padding alone."""

    out_channels, stride, size_multiple = 3, 2, 8

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def extract(self, x: torch.Tensor) -> torch.Tensor:
        return self.scale * F.avg_pool2d(x, 2)


def test_features_are_of_cells_that_show_the_picture(tmp_path: Path) -> None:
    """Of 11x20 pixels 6x10 cells, and not the 8x12 of the padding; 64 of the larger picture's, none twice."""
    pictures = [torch.rand(3, *size) for size in ((11, 20), (31, 24))]
    files = [tmp_path / f"{k}.png" for k in range(2)]
    for file, picture in zip(files, pictures, strict=True):
        ik.write_image(file, picture)
    encoder, done = Means().eval(), []
    found = gather(encoder, files, seed=3, progress=lambda k, name: done.append((k, name)))
    assert done == [(1, "0.png"), (2, "1.png")] and found.shape == (60 + 64, 3)
    for rows, picture, file in zip((found[:60], found[60:]), pictures, files, strict=True):
        height, width = picture.shape[1:]
        with torch.no_grad():
            map = encoder(ik.read_image(file)[None]).map[0, :, : -(-height // 2), : width // 2]
        cells = F.normalize(map.flatten(1).t(), dim=1)
        places = [(cells - row).abs().sum(1).lt(1e-6).nonzero().flatten().tolist() for row in rows]
        assert all(len(place) == 1 for place in places) and len({place[0] for place in places}) == len(rows)
    assert not torch.equal(gather(encoder, files, seed=4), found)


def test_the_command_makes_classes_for_a_decoder(folder: Path, tmp_path: Path, run) -> None:
    file = tmp_path / "runs" / "prototypes.safetensors"  # a folder that is not there yet
    arguments = ("make-prototypes", folder, "--encoder", MAE, "--count", 5, "--pictures", 2)
    done = run(*arguments, "-o", file)
    assert done.code == 0 and done.out.strip() == str(file)
    names, rows = read_classes(file, 16)
    assert names == [f"prototype {k}" for k in range(1, 6)]
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(5))
    made = json.loads(read_metadata(file)["made"])
    assert made["pictures"] == 2 and made["features"] == 2 * 64 and made["encoder"]["name"] == "mae_small"
    assert made["shares"] == sorted(made["shares"], reverse=True) and abs(sum(made["shares"]) - 1) < 1e-3
    run(*arguments, "-o", tmp_path / "again.safetensors")
    assert torch.equal(read_classes(tmp_path / "again.safetensors")[1], rows)
    spec = {
        "encoder": EDSR,
        "decoder": {"name": "air", "semantic_channels": 16, "hidden": [8], "semantics": "text", "classes": str(file)},
        "conditions": {"semantic": {"encoder": {"name": "mae_small", "patch": 4, "width": 16, "depth": 1, "heads": 2}}},
        "inputs": ["image", "mask"],
    }
    spec["conditions"]["semantic"] |= {"decoder": {"name": "sir", "hidden": [8]}, "inputs": ["image", "mask"]}
    model = ik.create_model(spec).eval()
    assert model.encode(torch.rand(3, 12, 16), torch.zeros(1, 12, 16)).render((12, 16)).isfinite().all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--encoder": "{name: mae_smal}"}, "encoder: unknown encoder 'mae_smal'"),
        ({"--encoder": "{name: mae_small, weights: none.safetensors}"}, "there is no file none.safetensors"),
        ({"--encoder": "[1, 2]"}, "--encoder is a name, or a mapping with a name"),
        ({"--encoder": "{name"}, "is not YAML"),
        ({"--count": 0}, "count and pictures are at least 1, .* received 0"),
        ({"--count": 1000}, r"there are 1\d\d different features for 1000 prototypes; give more pictures"),
        ({"-o": "prototypes.npy"}, "the output ends in .safetensors"),
        ({"-o": "taken.safetensors/prototypes.safetensors"}, "taken.safetensors is not a folder"),
        ({"-o": "taken.safetensors"}, "exists already"),
    ],
)
def test_mistakes(changes, message: str, folder: Path, tmp_path: Path, run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken.safetensors").write_bytes(b"mine")
    options = {"--encoder": MAE, "-o": "prototypes.safetensors", **changes}
    done = run("make-prototypes", folder, *(part for pair in options.items() for part in pair))
    assert done.code == 2 and len(done.errors) == 1
    assert re.search(message, done.errors[0]), done.errors
    assert [p.name for p in tmp_path.iterdir()] == ["taken.safetensors"]


def test_a_folder_that_is_not_there(run, tmp_path: Path) -> None:
    done = run("make-prototypes", tmp_path / "none", "-o", tmp_path / "p.safetensors", "--encoder", MAE)
    assert done.code == 2 and "there is no folder" in done.errors[0]
