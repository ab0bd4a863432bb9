"""The decoders that the kernels compute: a table from exact types to functions that give a decoder's form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from implicitkit.decoders.base import Decoder
from implicitkit.decoders.basis.gb_lsr import GBLSR
from implicitkit.decoders.basis.ope import OPE
from implicitkit.decoders.basis.thera import Thera
from implicitkit.decoders.liif import LIIF
from implicitkit.decoders.lmf import LMF, LMLIIF
from implicitkit.decoders.lte import LTE, LTEPlus
from implicitkit.decoders.mlp import is_hooked
from implicitkit.kernels.basis import Separable


@dataclass(frozen=True)
class Placed:
    """What the forms share whose first sums move with the place: a product with the offset and the cell is in them.

    Attributes:
        layers: the linear layers of the MLP, with ReLUs between them.
        geometry: ``(K, 2)``, or ``(K, 4)`` where the decoder uses the cell.
    """

    layers: Sequence[nn.Linear]
    geometry: Tensor

    @property
    def width(self) -> int:
        """How many sums there are."""
        return len(self.geometry)

    @property
    def row(self) -> int:
        """Numbers of a cell's row."""
        return self.width


@dataclass(frozen=True)
class Sums(Placed):
    """LIIF's form: a neighbour at ``offset`` predicts ``MLP(relu(row + geometry @ [offset, cell] + point))``.

    ``point`` is what :meth:`~implicitkit.decoders.local_ensemble.LocalEnsembleDecoder.at_point` returns, or nothing.
    The attributes are :class:`Placed`'s.
    """


@dataclass(frozen=True)
class Waves:
    """LTE's form: ``MLP(A * [cos a, sin a])``, ``a = F_y d_y + F_x d_x + phase``, for the row ``[A, F_y, F_x]``.

    ``at_point`` returns the phases, ``(1 or M, K / 2)``, in radians. Further columns are added to the sums of the first
    layer, before its ReLU.

    Attributes:
        layers: the linear layers of the MLP, with ReLUs between them.
    """

    layers: Sequence[nn.Linear]

    @property
    def width(self) -> int:
        """Half the input width of the MLP: its cosines, or its sines."""
        return self.layers[0].in_features // 2


@dataclass(frozen=True)
class Modulated(Placed):
    """LMF's form: a narrow MLP whose hidden sums a cell's row scales and shifts.

    ``h = relu(shift_0 + scale_0 * (geometry @ [offset, cell]))``, then ``h = relu(shift_i + scale_i * layer_i(h))``,
    and the last layer. A row holds the scales of all hidden layers, then the shifts.

    The attributes are :class:`Placed`'s; ``layers`` are those behind the first ReLU.
    """

    @property
    def row(self) -> int:
        return 2 * len(self.layers) * self.width


Networks = Sums | Waves | Modulated
Form = Networks | Separable
Way = Callable[[Any], Form | None]
"""A function that gives a decoder's form, or None where the kernels do not support its settings."""


def sums(decoder: LIIF) -> Sums | None:
    """The form of LIIF, and of a decoder whose ``at_point`` is added to LIIF's first sums."""
    layers = linears(nn.ReLU, decoder.rest)
    return None if layers is None or decoder.ndim != 2 else Sums(layers, decoder.first.weight[:, decoder.read :])


def waves(decoder: LTE, *rest: nn.Sequential) -> Waves | None:
    """The form of LTE, and of a decoder whose MLP continues with ``rest``."""
    layers = linears(nn.Linear, decoder.mlp, *rest)
    return None if layers is None else Waves(layers)


def modulated(decoder: LMF) -> Modulated | None:
    """The form of LMF."""
    layers = [*decoder.rest, decoder.last]
    usual = decoder.ndim == 2 and not any(map(is_hooked, (decoder.first, *layers)))
    return Modulated(layers, decoder.first.weight[:, decoder.hidden :]) if usual else None


def damped_waves(decoder: Thera) -> Separable:
    """The form of Thera: angles that add up over the axes, damped by the size of the output pixel."""
    frequencies = decoder.frequencies.float()

    def along(axis: int, offset: Tensor) -> Tensor:
        return offset[..., None] / 2 * frequencies[:, axis]

    return Separable(True, along, decoder.damping, decoder.shift)


def series(decoder: GBLSR | OPE) -> Separable:
    """The form of GB-LSR and OPE: products of functions of either axis."""
    return Separable(False, lambda axis, offset: decoder.functions(offset))


WAYS: dict[type[Decoder], Way] = {
    LIIF: sums,
    LTE: waves,
    LTEPlus: waves,
    LMF: modulated,
    LMLIIF: modulated,
    Thera: damped_waves,
    GBLSR: series,
    OPE: series,
}


def register_way(decoder: type[Decoder], way: Way) -> None:
    """Let the kernels evaluate decoders of exactly this type; a subclass needs its own line.

    The decoder is a :class:`~implicitkit.decoders.local_ensemble.LocalEnsembleDecoder` whose ``local`` computes its
    form; ``at_point`` and ``finish`` are called as on the plain path.

    Raises:
        ValueError: the type is registered already.

    >>> from implicitkit.decoders.liif import LIIF
    >>> from implicitkit.kernels import register_way, sums
    >>> class Mine(LIIF):
    ...     "LIIF with its own prepare(), say; local() is LIIF's."
    >>> register_way(Mine, sums)
    """
    if decoder in WAYS:
        raise ValueError(f"{decoder.__name__} has a way already; received another")
    WAYS[decoder] = way


def form_of(decoder: Decoder) -> Form | None:
    """A decoder's form; None: take the plain path."""
    way = WAYS.get(type(decoder))
    return None if way is None else way(decoder)


def linears(first: type[nn.Module], *networks: nn.Sequential) -> list[nn.Linear] | None:
    """The linear layers of consecutive networks in which ReLUs and linear layers alternate, from a module of type
    ``first`` to a linear layer. None for other networks, and where a module has hooks.
    """
    modules = [module for network in networks for module in network]
    kinds = (nn.ReLU, nn.Linear) if first is nn.ReLU else (nn.Linear, nn.ReLU)
    alternate = all(type(module) is kinds[k % 2] for k, module in enumerate(modules))
    if not alternate or not modules or type(modules[-1]) is not nn.Linear or any(map(is_hooked, (*networks, *modules))):
        return None
    return [module for module in modules if isinstance(module, nn.Linear)]
