"""The decoder ``example``: a local ensemble, like LIIF, of networks with sine activations, like SIREN."""

import torch
from torch import nn

import implicitkit as ik


class Example(ik.LocalEnsembleDecoder):
    """The nearest cells each make a prediction ``W sin(z + F offset)``; the ensemble blends them by opposite area.

    ``z`` is a linear map of the cell's features, made once per picture; ``F`` holds learned frequencies.

    Args:
        in_channels: features per cell.
        out_channels: values per point.
        hidden: number of sines.
    """

    uses_cell = False  # the size of the output pixel does not matter
    reach = 1  # a query reads cells at most one away

    def __init__(self, in_channels: int = 64, out_channels: int = 3, hidden: int = 64) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.phase = nn.Conv2d(in_channels, hidden, 1)
        self.frequency = nn.Linear(2, hidden, bias=False)
        self.amplitude = nn.Linear(hidden, out_channels)

    def prepare(self, features, inputs, conditions):
        """Compute what depends on the features alone, once per picture."""
        return self.to_latent(features, self.phase(features.map))

    def local(self, rows, offset, cell, point):
        """One cell's prediction for each query: ``rows (M, hidden)``, ``offset (M, 2)`` in cells -> ``(M, out)``."""
        return self.amplitude(torch.sin(rows + self.frequency(offset)))
