"""Running out of memory is answered by trying less at a time; the result is the same."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

import implicitkit as ik
from implicitkit import devices, kernels
from implicitkit.devices import explain_precision, free_memory, is_out_of_memory, unless_out_of_memory
from implicitkit.field import latents, sampler
from implicitkit.images import upscale
from implicitkit.images.io import Picture
from implicitkit.images.upscale import choose_tile, upscale_picture
from oracles.models import conditioned_model, small_model

pytestmark = pytest.mark.usefixtures("either_way")

EXACT = {"atol": 2e-6, "rtol": 0.0}
ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to allocate"
    ),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
    RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
    MemoryError(),
]


class Limited:
    """Stands for a method that fails for more than ``most`` elements, as an allocation would."""

    def __init__(self, method, measure, most: int, error: BaseException = ERRORS[0]) -> None:
        self.method, self.measure, self.most, self.error = method, measure, most, error
        self.failed, self.sizes = 0, []

    def __call__(self, *arguments):
        size = self.measure(*arguments)
        if size > self.most:
            self.failed += 1
            raise self.error
        self.sizes.append(size)
        return self.method(*arguments)


def grid_points(decoder, latent, axes, cell, conditions) -> int:
    return math.prod(len(axis) for axis in axes)


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
def test_every_way_of_saying_so_is_understood(error: BaseException) -> None:
    def fail() -> None:
        raise error

    assert is_out_of_memory(error) and unless_out_of_memory(fail) is None


def test_a_real_failure_is_understood() -> None:
    assert unless_out_of_memory(lambda: torch.empty(1 << 60, dtype=torch.uint8)) is None


def test_other_errors_pass() -> None:
    def fail() -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        unless_out_of_memory(fail)
    assert not is_out_of_memory(ValueError("out of memory"))


@pytest.mark.parametrize("tile", [None, 9])
@pytest.mark.parametrize("most", [1, 7, 100])
def test_blocks_shrink_until_they_fit(tile: int | None, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, picture = small_model(), torch.rand(2, 3, 13, 17)
    field = model.encode(picture, tile=tile)
    expected = field.render((31, 29), clamp=False)
    limited = Limited(kernels.query_grid, grid_points, most)
    monkeypatch.setattr(kernels, "query_grid", limited)
    torch.testing.assert_close(field.render((31, 29), clamp=False), expected, **EXACT)
    assert limited.failed and limited.failed <= 12  # what failed once is not tried again
    windows = [window for window, _ in field.blocks((31, 29))]
    seen = torch.zeros(31, 29)
    for window in windows:
        seen[window] += 1
    assert bool((seen == 1).all())


@pytest.mark.parametrize("tile", [None, 9])
def test_lists_of_points_shrink_too(tile: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    model, picture = small_model(), torch.rand(2, 3, 13, 17)
    field = model.encode(picture, tile=tile)
    points, cells = torch.rand(2, 300, 2) * 2 - 1, torch.rand(2, 300, 2) * 0.1
    expected = field(points, cells), field(points, 0.1)
    limited = Limited(kernels.query, lambda decoder, latent, coords, *_: coords.shape[1], 11)
    monkeypatch.setattr(kernels, "query", limited)
    torch.testing.assert_close(field(points, cells), expected[0], **EXACT)
    torch.testing.assert_close(field(points, 0.1), expected[1], **EXACT)
    assert limited.failed


def test_a_picture_too_large_to_encode_is_encoded_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    model, picture = small_model(blocks=1), torch.rand(1, 3, 130, 140)
    expected = model.encode(picture).render((150, 160), clamp=False)
    limited = Limited(model.encoder.extract, lambda x: x.shape[2] * x.shape[3], 50 * 50)
    monkeypatch.setattr(model.encoder, "extract", limited)
    for tile in (None, 120):
        field = model.encode(picture, tile=tile)
        torch.testing.assert_close(field.render((150, 160), clamp=False), expected, **EXACT)
        assert field._latents.tiling.tile < latents.MIN_TILE + 8
        points = torch.rand(1, 40, 2) * 2 - 1
        again = model.encode(picture, tile=tile)  # asked at points first
        values = again(points, 0.1)
        torch.testing.assert_close(values, field(points, 0.1), **EXACT)
    assert limited.failed


def test_what_cannot_be_made_smaller_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    model, picture = small_model(), torch.rand(3, 70, 70)
    field = model.encode(picture)
    monkeypatch.setattr(kernels, "query_grid", Limited(kernels.query_grid, grid_points, 0))
    with pytest.raises(torch.OutOfMemoryError):
        field.render((9, 9))
    monkeypatch.setattr(model.encoder, "extract", Limited(model.encoder.extract, lambda x: x.numel(), 0))
    with pytest.raises(torch.OutOfMemoryError):
        model.encode(picture).render((9, 9))
    with pytest.raises(torch.OutOfMemoryError):  # a graph is wanted: nothing can be tried again behind one's back
        model.encode(picture, grad=True)


def test_conditions_shrink_on_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    model, picture = conditioned_model(), torch.rand(1, 3, 90, 80)
    expected = model.encode(picture).render((40, 50), clamp=False)
    encoder = model.conditions["semantic"].encoder
    monkeypatch.setattr(encoder, "extract", Limited(encoder.extract, lambda x: x.shape[2] * x.shape[3], 60 * 60))
    torch.testing.assert_close(model.encode(picture).render((40, 50), clamp=False), expected, **EXACT)


def test_blocks_and_tiles_follow_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model()
    one, batch = model.encode(torch.rand(3, 8, 8))._sampler, model.encode(torch.rand(4, 3, 8, 8))._sampler
    each = torch.rand(1, 9, 2)  # a cell for each point: no kernel
    assert one.block(each) == sampler.CPU_BLOCK
    assert choose_tile(model, (500, 700)) is None and choose_tile(model, (500, 900)) == upscale.AUTO_TILE
    monkeypatch.setattr(sampler, "free_memory", lambda device: 100 * sampler.QUERY_BYTES)
    assert one.block(each) == one.block(None) == 100 and batch.block(each) == batch.block(None) == 25
    monkeypatch.setattr(sampler, "free_memory", lambda device: 0)
    assert one.block(each) == one.block(None) == 1
    monkeypatch.setattr(upscale, "free_memory", lambda device: 2 * 300**2 * upscale.PIXEL_BYTES)
    assert choose_tile(model, (300, 300)) is None and choose_tile(model, (300, 301)) == 256
    monkeypatch.setattr(upscale, "free_memory", lambda device: 0)
    assert choose_tile(model, (300, 300)) == upscale.LEAST_TILE
    model.encoder.radius = None
    assert choose_tile(model, (5000, 5000)) is None


def test_a_containers_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit, used = tmp_path / "max", tmp_path / "current"
    limit.write_text("5000\n")
    used.write_text("2000\n")
    monkeypatch.setattr(devices, "LIMITS", ((limit, used), (tmp_path / "no", tmp_path / "such")))
    assert free_memory(torch.device("cpu")) == 3000
    limit.write_text("max\n")
    assert free_memory(torch.device("cpu")) > 10**6


def test_a_file_comes_out_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model(blocks=1)
    picture = Picture(np.random.default_rng(0).integers(0, 256, (90, 75, 3), dtype=np.uint8))
    expected = upscale_picture(model, picture, (100, 120))
    monkeypatch.setattr(
        model.encoder, "extract", Limited(model.encoder.extract, lambda x: x.shape[2] * x.shape[3], 3000)
    )
    monkeypatch.setattr(kernels, "query_grid", Limited(kernels.query_grid, grid_points, 1000))
    done: list[int] = []
    result = upscale_picture(model, picture, (100, 120), progress=done.append)
    assert np.abs(result.pixels.astype(int) - expected.pixels).max() <= 1 and done[-1] == 12000


def test_auto_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    assert explain_precision("float32", cpu) == ("float32", "")
    assert explain_precision("auto", cpu, bits=16) == (
        "float32",
        "bfloat16 keeps 8 bits of a value, the picture has 16",
    )
    for amx, avx, expected in (
        (True, True, ("bfloat16", "the processor has AMX")),
        (False, True, ("bfloat16", "the processor has AVX512-BF16")),
        (False, False, ("float32", "the processor has no instructions for bfloat16")),
    ):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda amx=amx: amx, raising=False)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda avx=avx: avx, raising=False)
        assert explain_precision("auto", cpu) == expected
    cuda = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert explain_precision("auto", cuda) == ("bfloat16", "the GPU multiplies it")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert explain_precision("auto", cuda)[0] == "float32"
    assert explain_precision("auto", torch.device("mps"))[0] == "float32"
    with pytest.raises(ik.UserError, match="the precision is auto"):
        explain_precision("half", cpu)
