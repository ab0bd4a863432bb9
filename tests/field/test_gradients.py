"""Derivatives of a field: the right ones with ``grad=True``, and one clear error without, never zeros."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap

import implicitkit as ik
from implicitkit.coordinates import cell_size, grid
from implicitkit.field.gradients import is_differentiated, refuse_transformed
from oracles.models import conditioned_model, small_model

pytestmark = pytest.mark.usefixtures("either_way")

STEP = 1e-6  # of central differences in float64: truncation and rounding are both below 1e-8 here
CLOSE = {"atol": 2e-4, "rtol": 1e-4}  # the field is float32; offsets in cells multiply by the grid's size
CELL = 0.11


def plain(model: ik.ImplicitModel, image: Tensor, point: Tensor, cell: float) -> Tensor:
    """LIIF's equation 4 at one point ``(2,)``, in float64 from the picture on, by loops."""
    decoder = model.decoder
    features = model.encoder(image[None]).map[0]
    height, width = features.shape[1:]
    predictions, areas = [], []
    for sides in product((-1, 1), repeat=2):
        index, offset = [], []
        for x, side, n in zip(point, sides, (height, width), strict=True):
            shifted = min(max(float(x) + side / n + 1e-6, -1 + 1e-6), 1 - 1e-6)
            index.append(round(((shifted + 1) * n - 1) / 2))
            offset.append((x - (-1 + (2 * index[-1] + 1) / n)) * n)
        size = torch.tensor([cell * height, cell * width], dtype=torch.float64)
        row = torch.cat([features[:, index[0], index[1]], torch.stack(offset), size])
        predictions.append(decoder.rest(decoder.first(row)))
        areas.append((offset[0] * offset[1]).abs())
    blended = sum(p * a for p, a in zip(predictions, areas[::-1], strict=True)) / sum(areas)
    return blended * model.std + model.mean


def differences(f: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """The Jacobian ``(out, *at.shape)`` of ``f`` by central differences."""
    columns = []
    for k in range(at.numel()):
        step = torch.zeros(at.numel(), dtype=at.dtype)
        step[k] = STEP
        step = step.reshape(at.shape)
        columns.append((f(at + step) - f(at - step)) / (2 * STEP))
    return torch.stack(columns, dim=-1).unflatten(-1, at.shape)


@pytest.fixture
def model() -> ik.ImplicitModel:
    return small_model(feat_unfold=False)


@pytest.fixture
def image() -> Tensor:
    return torch.rand(3, 7, 6)


@pytest.fixture
def points() -> Tensor:
    return torch.tensor([[0.21, -0.43], [-0.97, 0.31], [0.55, 0.98]])  # two near a border; none on a cell's edge


def test_the_jacobian_by_coords_is_that_of_the_formula(model: ik.ImplicitModel, image: Tensor, points: Tensor) -> None:
    double = copy.deepcopy(model).double()
    with torch.no_grad():
        expected = torch.stack(
            [differences(lambda p: plain(double, image.double(), p, CELL), point.double()) for point in points]
        ).float()
    assert expected.abs().max() > 0.01
    for tile in (None, 4):
        field = model.encode(image, grad=True, tile=tile)

        def at(point: Tensor, field: ik.Field = field) -> Tensor:
            return field(point[None], CELL)[0]

        leaf = points.clone().requires_grad_()
        values = field(leaf, CELL)
        plainly = torch.stack([torch.autograd.grad(v, leaf, retain_graph=True)[0] for v in values.sum(0)], dim=1)
        torch.testing.assert_close(plainly, expected, **CLOSE)
        for transform in (jacrev, jacfwd):
            torch.testing.assert_close(torch.stack([transform(at)(p) for p in points]), expected, **CLOSE)
        _, pull = vjp(lambda p, field=field: field(p, CELL), points)
        torch.testing.assert_close(pull(torch.ones(3, 3))[0], expected.sum(1), **CLOSE)
        push = jvp(lambda p, field=field: field(p, CELL), (points,), (torch.ones(3, 2),))[1]
        torch.testing.assert_close(push, expected.sum(2), **CLOSE)
    field = model.encode(image, grad=True)
    torch.testing.assert_close(vmap(jacrev(lambda p: field(p[None], CELL)[0]))(points), expected, **CLOSE)
    assert hessian(lambda p: field(p[None], CELL)[0])(points[0]).abs().max() > 0.01


def test_the_gradient_by_the_picture_is_that_of_the_formula(
    model: ik.ImplicitModel, image: Tensor, points: Tensor
) -> None:
    double = copy.deepcopy(model).double()
    with torch.no_grad():
        at_points = differences(lambda i: plain(double, i, points[0].double(), CELL).sum()[None], image.double())
    found = grad(lambda i: model.encode(i, grad=True)(points[:1], CELL).sum())(image)
    torch.testing.assert_close(found, at_points[0].float(), **CLOSE)
    size = (3, 2)
    cell = float(cell_size(size)[0]), float(cell_size(size)[1])
    rendered = grad(lambda i: model.encode(i, grad=True).render(size, clamp=False).sum())(image)
    listed = grad(lambda i: model.encode(i, grad=True)(grid(size), cell).sum())(image)
    torch.testing.assert_close(rendered, listed, **CLOSE)
    leaf = image.clone().requires_grad_()
    model.encode(leaf, grad=True).render(size, clamp=False).sum().backward()
    torch.testing.assert_close(leaf.grad, rendered, **CLOSE)
    tiled = grad(lambda i: model.encode(i, grad=True, tile=4).render(size, clamp=False).sum())(image)
    torch.testing.assert_close(tiled, rendered, **CLOSE)


def test_a_frozen_encoder_passes_on_the_gradient_by_the_picture(model: ik.ImplicitModel, image: Tensor) -> None:
    expected = grad(lambda i: model.encode(i, grad=True).render((5, 5), clamp=False).sum())(image)
    model.encoder.trainable = False
    model.encoder.requires_grad_(False)
    found = grad(lambda i: model.encode(i, grad=True).render((5, 5), clamp=False).sum())(image)
    torch.testing.assert_close(found, expected)


def test_gradients_run_through_conditions(image: Tensor) -> None:
    model = conditioned_model()
    points = torch.tensor([[0.21, -0.43]])
    found = jacrev(lambda p: model.encode(image, grad=True)(p)[0])(points)[:, 0]
    rows = torch.cat([points + torch.tensor(s) for s in ([1e-3, 0.0], [-1e-3, 0.0], [0.0, 1e-3], [0.0, -1e-3])])
    with torch.no_grad():
        values = model.encode(image)(rows)
    expected = torch.stack([values[0] - values[1], values[2] - values[3]], dim=1) / 2e-3
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0.0)  # float32 differences


class Rendering(nn.Module):
    def __init__(self, model: ik.ImplicitModel, **how: bool) -> None:
        super().__init__()
        self.model, self.how = model, how

    def forward(self, image: Tensor) -> Tensor:
        return self.model.encode(image, **self.how).render((4, 4)).sum()


ASKS: dict[str, Callable[[ik.ImplicitModel, ik.Field, Tensor, Tensor], object]] = {
    "jacrev by coords": lambda m, f, i, p: jacrev(lambda x: f(x, CELL))(p),
    "jacfwd by coords": lambda m, f, i, p: jacfwd(lambda x: f(x, CELL))(p),
    "vmap of jacrev": lambda m, f, i, p: vmap(jacrev(lambda x: f(x[None], CELL)))(p),
    "jacrev of vmap": lambda m, f, i, p: jacrev(vmap(lambda x: f(x[None], CELL)))(p),
    "vjp by coords": lambda m, f, i, p: vjp(lambda x: f(x, CELL), p),
    "jvp by coords": lambda m, f, i, p: jvp(lambda x: f(x, CELL), (p,), (p,)),
    "autograd by coords": lambda m, f, i, p: f(p.clone().requires_grad_(), CELL),
    "predict": lambda m, f, i, p: f.predict(p.clone().requires_grad_(), CELL),
    "what follows a layer": lambda m, f, i, p: f(nn.Linear(2, 2)(p), CELL),
    "grad by the cell": lambda m, f, i, p: grad(lambda c: f(p, c).sum())(torch.tensor(CELL)),
    "a cell of two tensors": lambda m, f, i, p: f(p, [torch.tensor(CELL, requires_grad=True), torch.tensor(CELL)]),
    "grad by render's cell": lambda m, f, i, p: grad(lambda c: f.render((3, 3), cell=c).sum())(torch.tensor(CELL)),
    "grad by the picture": lambda m, f, i, p: grad(lambda x: m.encode(x).render((3, 3)).sum())(i),
    "jvp by the picture": lambda m, f, i, p: jvp(lambda x: m.encode(x).render((3, 3)), (i,), (i,)),
    "autograd by the picture": lambda m, f, i, p: m.encode(i.clone().requires_grad_()),
    "grad by the weights": lambda m, f, i, p: grad(lambda w: functional_call(Rendering(m), w, (i,)))(
        dict(Rendering(m).named_parameters())
    ),
}


@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize("tile", [None, 4])
def test_without_grad_a_derivative_is_refused(
    ask: str, tile: int | None, model: ik.ImplicitModel, image: Tensor, points: Tensor
) -> None:
    field = model.encode(image, tile=tile)
    with pytest.raises(ValueError, match=r"derivatives by the \w+ are asked for.*encode\(image, grad=True\)"):
        ASKS[ask](model, field, image, points)


def test_what_needs_no_gradient_is_not_refused(model: ik.ImplicitModel, image: Tensor, points: Tensor) -> None:
    leaf = image.clone().requires_grad_()
    expected = model.encode(image)(points, CELL)
    with torch.no_grad():
        torch.testing.assert_close(model.encode(leaf)(points.clone().requires_grad_(), CELL), expected)
    torch.testing.assert_close(model.encode(leaf.detach())(points, CELL), expected)
    by_one = vmap(lambda p: model.encode(image)(p[None], CELL)[0])(points)  # no derivative: no graph is needed
    torch.testing.assert_close(by_one, expected)
    pictures = vmap(lambda i: model.encode(i)(points, CELL))(image[None])
    torch.testing.assert_close(pictures[0], expected)


def test_weights_of_torch_func(model: ik.ImplicitModel, image: Tensor) -> None:
    module = Rendering(model, grad=True)
    weights = dict(module.named_parameters())
    found = grad(lambda w: functional_call(module, w, (image,)))(weights)
    module(image).backward()
    for name, weight in weights.items():
        torch.testing.assert_close(found[name], weight.grad, atol=1e-5, rtol=1e-4)


def test_a_box_takes_no_gradient(model: ik.ImplicitModel, image: Tensor) -> None:
    box = torch.tensor([-0.5, -0.5, 0.5, 0.5], requires_grad=True)
    for given in (box, list(box)):
        with pytest.raises(ValueError, match="a box is plain numbers, without gradients"):
            model.encode(image, grad=True).render((4, 4), given)
    model.encode(image).render((4, 4), box.detach())


def test_fills_that_are_solved_refuse_gradients(image: Tensor) -> None:
    model = ik.create_model(
        {
            "encoder": {"name": "edsr", "blocks": 1, "channels": 4, "mask_channels": 1},
            "decoder": {"name": "liif", "hidden": [4]},
            "inputs": ["image", "mask"],
        }
    ).eval()
    hole = torch.zeros(1, 7, 6)
    hole[:, 2:4, 2:4] = 1
    leaf = image.clone().requires_grad_()
    for fill in ("harmonic", "biharmonic"):
        with pytest.raises(ValueError, match="harmonic and biharmonic fills have no gradient"):
            model.encode(leaf, hole, fill=fill, grad=True)
        model.encode(leaf, fill=fill, grad=True)  # nothing to fill
    model.encode(leaf, hole, fill="mean", grad=True).render((4, 4), clamp=False).sum().backward()
    assert leaf.grad is not None and leaf.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="derivatives by the mask"):
        model.encode(image, hole.clone().requires_grad_())


def test_forward_mode_is_seen() -> None:
    with forward_ad.dual_level():
        assert is_differentiated(forward_ad.make_dual(torch.zeros(2), torch.ones(2)))
    assert not is_differentiated(torch.zeros(2))
    refuse_transformed("the weights", [torch.zeros(2, requires_grad=True)])  # autograd's: every model's are
