"""Losses of points, and of pictures where the points are those of a window."""

from implicitkit.losses.adversarial import Adversarial, PatchDiscriminator
from implicitkit.losses.base import Batch, Loss, PictureLoss, pictures
from implicitkit.losses.frequency import FocalFrequency
from implicitkit.losses.perceptual import Perceptual
from implicitkit.losses.pointwise import L1, L2, PSNR, Charbonnier, Pointwise, luma_of, missing_at
from implicitkit.losses.total import Total, WeightedLoss

__all__ = [
    "L1",
    "L2",
    "PSNR",
    "Adversarial",
    "Batch",
    "Charbonnier",
    "FocalFrequency",
    "Loss",
    "PatchDiscriminator",
    "Perceptual",
    "PictureLoss",
    "Pointwise",
    "Total",
    "WeightedLoss",
    "luma_of",
    "missing_at",
    "pictures",
]
