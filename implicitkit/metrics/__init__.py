"""Scores. Pictures are ``(..., C, H, W)`` in [0, 1]; results are floats.

:func:`implicitkit.create_metric` creates one by name; those without weights are functions too. One file per idea:
:mod:`~implicitkit.metrics.psnr`, :mod:`~implicitkit.metrics.ssim`, :mod:`~implicitkit.metrics.l1`,
:mod:`~implicitkit.metrics.lpips`.
"""

from implicitkit.metrics.base import Metric
from implicitkit.metrics.l1 import L1, l1
from implicitkit.metrics.lpips import LPIPS
from implicitkit.metrics.psnr import PSNR, LumaPSNR, psnr, psnr_y
from implicitkit.metrics.ssim import SSIM, ssim

__all__ = ["L1", "LPIPS", "PSNR", "SSIM", "LumaPSNR", "Metric", "l1", "psnr", "psnr_y", "ssim"]
