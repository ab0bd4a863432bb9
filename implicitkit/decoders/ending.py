"""The way from a decoder's values to those of a picture, which fields and kernels share."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from implicitkit.devices import constants


class Ending(NamedTuple):
    """From a decoder's values to what is returned: ``values * scale + shift``, limited to [0, 1] if ``limited``.

    >>> Ending(0.5, 0.5, limited=True)(torch.tensor([-2.0, 0.0, 0.5]))
    tensor([0.0000, 0.5000, 0.7500])
    """

    scale: float = 1.0
    shift: float = 0.0
    limited: bool = False

    def __call__(self, values: Tensor) -> Tensor:
        """Of ``values``, in a tensor of their own, float32."""
        if torch.is_grad_enabled():
            values = values.float() * self.scale + self.shift
            return values.clamp(0, 1) if self.limited else values
        shift = constants(self.shift, torch.float32, values.device)
        values = torch.add(shift, values.float(), alpha=self.scale)
        return values.clamp_(0, 1) if self.limited else values

    def into(self, out: Tensor | None, values: Tensor) -> Tensor:
        """The same of float32 values that nothing else reads: in ``out`` if that can hold them, else in place."""
        if out is None or (out.shape, out.dtype, out.device) != (values.shape, values.dtype, values.device):
            out = values
        torch.add(constants(self.shift, values.dtype, values.device), values, alpha=self.scale, out=out)
        return out.clamp_(0, 1) if self.limited else out
