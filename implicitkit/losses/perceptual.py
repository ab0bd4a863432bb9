"""LPIPS as a loss: the distance of two pictures' features in a classification network."""

from __future__ import annotations

from torch import Tensor

from implicitkit.losses.base import PictureLoss
from implicitkit.metrics.lpips import MIN_SIDES, NETS, Net, frozen_network


class Perceptual(PictureLoss):
    """LPIPS, version 0.1 (Zhang et al., CVPR 2018, equation 1), averaged over the batch.

    The network is frozen and computes in float32; gradients pass through it. For its weights see
    :class:`~implicitkit.metrics.lpips.LPIPS`.

    Args:
        net: ``"alex"``, ``"vgg"`` or ``"squeeze"``; score a model with another one than it was trained with.
        weights: a torchvision checkpoint of alexnet, vgg16 or squeezenet1_1, or its ``features.*`` alone.

    Raises:
        WeightsError: the weights are neither given nor cached and cannot be downloaded, or do not fit.
        ValueError: on a call, the window is too small for the network.

    >>> from implicitkit import list_losses
    >>> list_losses("lp*")
    ['lpips']
    """

    def __init__(self, net: Net = "alex", weights: str | None = None) -> None:
        if net not in NETS:
            raise ValueError(f"the net of lpips is one of {', '.join(NETS)}; received {net!r}")
        self.net = net
        self._network = frozen_network(net, weights)

    def of(self, prediction: Tensor, truth: Tensor) -> Tensor:
        height, width = truth.shape[2:]
        if min(height, width) < MIN_SIDES[self.net]:
            raise ValueError(
                f"lpips with {self.net} compares windows of at least {MIN_SIDES[self.net]} pixels a side; received "
                f"{width}×{height}; make data.window or data.patch larger"
            )
        network = self._network.to(truth.device)
        distance: Tensor = network(prediction, truth, normalize=True)  # from [0, 1] to [-1, 1]
        return distance.mean()
