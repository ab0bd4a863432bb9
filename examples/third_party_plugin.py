"""A plugin in one file, without installing anything.

    python examples/third_party_plugin.py
    cd examples && IMPLICITKIT_PLUGINS=third_party_plugin implicitkit list

It adds a decoder, a degradation, a loss and a sub-command. ``implicitkit plugins new NAME`` writes the same as a
project that others can install.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import torch
from torch import Tensor, nn

import implicitkit as ik
from implicitkit.degradations.base import Record, Step


class Affine(ik.LocalEnsembleDecoder):
    """Each cell holds a plane: a colour and its slope, blended between the nearest cells.

    Args:
        in_channels: features per cell.
        out_channels: values per point.
    """

    uses_cell = False
    reach = 1

    def __init__(self, in_channels: int = 64, out_channels: int = 3) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.planes = nn.Conv2d(in_channels, 3 * out_channels, 1)

    def prepare(self, features, inputs, conditions):
        """Once per picture: every cell's plane."""
        return self.to_latent(features, self.planes(features.map))

    def local(self, rows, offset, cell, point):
        """``rows (M, 3 * out)``, ``offset (M, 2)`` in cells -> ``(M, out)``."""
        colour, down, right = rows.chunk(3, dim=-1)
        return colour + down * offset[:, :1] + right * offset[:, 1:]


class Posterise(ik.Degradation):
    """Keep a drawn number of levels per channel.

    Args:
        levels: smallest and largest number of levels.
    """

    def __init__(self, levels: Sequence[int] = (4, 16)) -> None:
        self.levels = (int(levels[0]), int(levels[1]))

    def sample(self, shape: Sequence[int], generator: torch.Generator) -> Record:
        """The only random step; what it returns is written down and replays."""
        low, high = self.levels
        return {"name": "posterise", "levels": int(torch.randint(low, high + 1, (), generator=generator))}

    def degrade(self, image: Tensor, mask: Tensor, record: Record) -> Step:
        """``image (B, C, H, W)`` in [0, 1]; nothing goes missing."""
        steps = record["levels"] - 1
        return Step((image * steps).round() / steps, mask, tuple(image.shape[2:]))


class Huber:
    """Quadratic near zero, linear beyond ``delta``."""

    def __init__(self, delta: float = 0.01) -> None:
        self.delta = delta

    def __call__(self, prediction: ik.Prediction, batch: dict[str, Tensor]) -> Tensor:
        """A scalar, from what the model said and what is true."""
        return nn.functional.huber_loss(prediction.values, batch["target"], delta=self.delta)


@ik.hookimpl
def register_decoders(register):
    """``register(name, class or "module:attribute", summary=...)``."""
    register("affine", Affine, summary="a plane per cell")


@ik.hookimpl
def register_degradations(register):
    """The same for degradations."""
    register("posterise", Posterise, summary="few levels per channel")


@ik.hookimpl
def register_losses(register):
    """The same for losses: ``loss: huber`` in a training configuration."""
    register("huber", Huber, summary="quadratic, then linear")


@ik.hookimpl
def register_commands(app):
    """A sub-command: ``implicitkit count-levels PHOTO``."""

    @app.command()
    def count_levels(photo: str) -> None:
        """Count the distinct values of a photo's channels."""
        for name, channel in zip("RGB", ik.read_image(photo), strict=False):
            print(f"{name}: {len(channel.unique())}")


def main() -> None:
    """Register this very file, use what it adds by name, and hold it to the contract."""
    from implicitkit import testing

    print("provides:", ik.register_plugin(sys.modules[__name__]).provides)
    model = ik.create_model({"encoder": {"name": "edsr", "blocks": 2, "channels": 16}, "decoder": "affine"})
    picture = torch.rand(3, 24, 31)
    seen = ik.create_degradation(["posterise", {"name": "super_resolution", "scale": 2}])(picture)
    print("rendered:", tuple(model.encode(seen.image).render((50, 61)).shape))
    testing.check_decoder("affine")
    testing.check_degradation("posterise")
    print("keeps the contract")


if __name__ == "__main__":
    main()
