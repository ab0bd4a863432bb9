"""LPIPS as a loss: the distance of two pictures' features in a network that was trained to recognise things."""

from __future__ import annotations

from torch import Tensor

from implicitkit.losses.base import PictureLoss
from implicitkit.metrics.lpips import NETS, SMALLEST, Net, frozen_network


class Perceptual(PictureLoss):
    """LPIPS, version 0.1 (Zhang et al., CVPR 2018, equation 1), averaged over the batch.

    The network is frozen; its gradient reaches the prediction. It computes in float32. Its weights are found as the
    metric's are: see :class:`~implicitkit.metrics.lpips.LPIPS`.

    Args:
        net: ``"alex"``, ``"vgg"`` or ``"squeeze"``; a model should be scored with another one than it was trained with.
        weights: a torchvision checkpoint of alexnet, vgg16 or squeezenet1_1, or its ``features.*`` alone.

    Raises:
        WeightsError: the weights are neither given nor cached and cannot be downloaded, or do not fit.
        ValueError: on a call, the window is smaller than the network's last pooling leaves anything of.

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
        if min(height, width) < SMALLEST[self.net]:
            raise ValueError(
                f"lpips with {self.net} compares windows of at least {SMALLEST[self.net]} pixels a side; received "
                f"{height}×{width}; make data.window or data.patch larger"
            )
        network = self._network.to(truth.device)  # where the model is; nothing moves the second time
        distance: Tensor = network(prediction, truth, normalize=True)  # from [0, 1] to [-1, 1]
        return distance.mean()
