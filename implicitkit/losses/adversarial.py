"""An adversarial loss: a discriminator learns to tell predictions from clean pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import is_parametrized

from implicitkit.losses.base import Batch, Loss, pictures
from implicitkit.losses.pointwise import missing_at

if TYPE_CHECKING:
    from implicitkit.field.field import Prediction
    from implicitkit.model import ImplicitModel


class PatchDiscriminator(nn.Module):
    """The PatchGAN discriminator (Isola et al., CVPR 2017): a score per patch of a picture, higher for real ones.

    4×4 convolutions: ``layers`` of stride 2, which double the channels up to eightfold, then two of stride 1; three
    layers see 70×70 pixels. Spectral normalisation (Miyato et al., ICLR 2018) replaces batch normalisation.

    Args:
        in_channels: of the picture and its mask.
        channels: of the first layer.
        layers: of stride 2.
        spectral: whether weights are normalised.

    >>> PatchDiscriminator(layers=2)(torch.rand(1, 3, 48, 48)).shape
    torch.Size([1, 1, 10, 10])
    """

    def __init__(self, in_channels: int = 3, channels: int = 64, layers: int = 3, spectral: bool = True) -> None:
        super().__init__()
        widths = [in_channels, *(channels * min(2**k, 8) for k in range(layers + 1))]
        steps: list[nn.Module] = []
        for k, (before, after) in enumerate(pairwise(widths)):
            convolution = nn.Conv2d(before, after, 4, stride=2 if k < layers else 1, padding=1)
            steps += [spectral_norm(convolution) if spectral else convolution, nn.LeakyReLU(0.2)]
        last = nn.Conv2d(widths[-1], 1, 4, padding=1)
        self.steps = nn.Sequential(*steps, spectral_norm(last) if spectral else last)

    def forward(self, picture: Tensor) -> Tensor:
        """Scores ``(B, 1, h, w)`` of pictures ``(B, C, H, W)``, about [-1, 1]."""
        scores: Tensor = self.steps(picture)
        return scores

    @torch.no_grad()
    def estimate_norms(self) -> None:
        """Take one step of the weights' power iteration, which eval mode does not."""
        self.train()
        for step in self.steps:
            if is_parametrized(step):
                _ = step.weight
        self.eval()


class Adversarial(Loss):
    """The discriminator's score of the prediction, negated: ``-mean(D(prediction))``.

    After each step of the model the discriminator takes one of its own, with Adam and the hinge loss
    ``mean(max(0, 1 + D(prediction))) + mean(max(0, 1 - D(truth)))`` (Lim and Ye, 2017), on the windows of that step.
    Every ``every`` steps it adds the lazy R1 penalty ``every * r1 / 2 * mean(|∂ΣD(truth) / ∂truth|²)`` (Mescheder et
    al., ICML 2018; Karras et al., CVPR 2020, appendix B), where ``Σ`` sums a picture's patches. Checkpoints hold its
    parameters, normalisation and optimiser; gradients are averaged over processes. It computes in float32.

    Args:
        channels: of the discriminator's first layer.
        layers: of stride 2; a window has at least ``3 * 2**layers`` pixels a side.
        spectral: spectral normalisation of its weights.
        mask: give it the mask of missing pixels as a fourth channel.
        lr: its learning rate, constant.
        betas: of its Adam.
        r1: the weight of the penalty; 0: none.
        every: steps between penalties.
        start: the first step, from 0; before, the loss is 0 and the discriminator does not learn.

    Raises:
        ValueError: an argument is out of its range, or, on a call, the window is too small.

    >>> from implicitkit import Prediction, create_loss
    >>> loss = create_loss("adversarial", channels=8, layers=2)
    >>> batch = {"target": torch.rand(1, 576, 3), "window": (24, 24)}
    >>> values = torch.rand(1, 576, 3, requires_grad=True)
    >>> loss(Prediction(values, {}), batch).backward()  # the model's part
    >>> loss.learn(lambda tensor: tensor)  # the discriminator's
    >>> sorted(loss.notes())
    ['fake', 'penalty', 'real']
    """

    wants_window: ClassVar[bool] = True
    learns: ClassVar[bool] = True
    reads = ()

    def __init__(
        self,
        channels: int = 64,
        layers: int = 3,
        spectral: bool = True,
        mask: bool = False,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.0, 0.99),
        r1: float = 0.002,
        every: int = 16,
        start: int = 0,
    ) -> None:
        for name, value, least in (("channels", channels, 1), ("layers", layers, 1), ("every", every, 1)):
            if value < least:
                raise ValueError(f"{name} of adversarial is at least {least}; received {value}")
        for name, number in (("lr", lr), ("r1", r1), ("start", start)):
            if not (number >= 0 and math.isfinite(number)):
                raise ValueError(f"{name} of adversarial is a finite number of at least 0; received {number}")
        self.mask, self.r1, self.every, self.start = mask, r1, every, start
        self.smallest = 3 * 2**layers
        with torch.random.fork_rng(devices=[]):  # the model's initial weights must not depend on the losses
            self.discriminator = PatchDiscriminator(3 + mask, channels, layers, spectral)
        self.optimiser = torch.optim.Adam(self.discriminator.parameters(), lr=lr, betas=(betas[0], betas[1]))
        self.updates = 0
        self._step = start  # without begin(), it is active
        self._shown: list[tuple[Tensor, Tensor]] = []  # predictions and truths of this step, for learn()
        self._notes: dict[str, float | Tensor] = {}
        self._rest()

    def attach(self, model: ImplicitModel) -> None:
        self.discriminator.to(next(model.parameters()).device)

    def begin(self, step: int) -> None:
        self._step = step
        self._shown.clear()

    def __call__(self, prediction: Prediction, batch: Batch) -> Tensor:
        if self._step < self.start:
            return prediction.values.sum() * 0
        fake, real = pictures(prediction, batch, "adversarial")
        height, width = real.shape[2:]
        if min(height, width) < self.smallest:
            raise ValueError(
                f"adversarial looks at windows of at least {self.smallest} pixels a side; received {width}×{height}; "
                "make data.window or data.patch larger, or its layers fewer"
            )
        fake, real = 2 * fake - 1, 2 * real - 1
        if self.mask:
            missing = missing_at(batch["mask"], batch["coords"])
            missing = rearrange(missing.to(real), "b (h w) c -> b c h w", h=height, w=width)
            fake, real = torch.cat([fake, missing], 1), torch.cat([real, missing], 1)
        if torch.is_grad_enabled():
            self._shown.append((fake.detach(), real))
        score: Tensor = self.discriminator(fake)
        return -score.mean()

    def learn(self, mean: Callable[[Tensor], Tensor]) -> None:
        if not self._shown:
            return
        self.discriminator.requires_grad_(True)
        self.discriminator.estimate_norms()  # once per step, not per part
        self.optimiser.zero_grad()
        penalised = self.r1 > 0 and self.updates % self.every == 0
        for fake, real in self._shown:
            scores = self.discriminator(fake), self.discriminator(real)
            hinge = F.relu(1 + scores[0]).mean() + F.relu(1 - scores[1]).mean()
            (hinge / len(self._shown)).backward()
            self._notes |= {"fake": scores[0].detach().mean(), "real": scores[1].detach().mean()}
            if penalised:
                penalty = self.penalty(real)
                (self.every * self.r1 / 2 * penalty / len(self._shown)).backward()
                self._notes["penalty"] = penalty.detach()
        _average([p.grad for p in self.discriminator.parameters() if p.grad is not None], mean)
        self.optimiser.step()
        self.updates += 1
        self._shown.clear()
        self._rest()

    def penalty(self, real: Tensor) -> Tensor:
        """The mean squared norm of the gradient of a picture's summed scores by its pixels, with a graph."""
        real = real.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self.discriminator(real).sum(), real, create_graph=True)
        return gradient[:, :3].square().sum((1, 2, 3)).mean()  # without the mask

    def notes(self) -> dict[str, float]:
        return {name: float(value) for name, value in self._notes.items()}

    def state_dict(self) -> dict[str, Any]:
        parts = {"discriminator": self.discriminator.state_dict(), "optimiser": self.optimiser.state_dict()}
        return {**parts, "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.discriminator.load_state_dict(state["discriminator"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.updates = int(state["updates"])

    def _rest(self) -> None:
        """Freeze the discriminator while the model's gradient passes through it."""
        self.optimiser.zero_grad()
        self.discriminator.eval().requires_grad_(False)


def _average(gradients: list[Tensor], mean: Callable[[Tensor], Tensor]) -> None:
    """Average gradients over processes, in one message."""
    averaged = mean(torch.cat([g.flatten() for g in gradients]))
    for gradient, own in zip(gradients, averaged.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(own.view_as(gradient))
