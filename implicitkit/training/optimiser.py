"""The optimiser of a configuration: Adam or AdamW, with a learning rate per part of the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import Parameter

from implicitkit.config import OptimiserConfig
from implicitkit.errors import ConfigError

OPTIMISERS: dict[str, type[torch.optim.Optimizer]] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
WEIGHT_DECAY = {"adam": 0.0, "adamw": 0.01}
"""PyTorch's defaults."""


def build_optimiser(model: nn.Module, config: OptimiserConfig) -> torch.optim.Optimizer:
    """The optimiser of all parameters that require a gradient.

    Each group has a ``factor`` on the learning rate (see ``optimiser.parts``; the longest matching name counts). Weight
    decay acts on tensors of two or more dimensions, not on biases and scales, as in timm and nanoGPT.

    Args:
        model: the model.
        config: the section ``optimiser``.

    Raises:
        ConfigError: ``parts`` names a part that the model does not have.

    >>> model = nn.ModuleDict({"encoder": nn.Linear(2, 2), "decoder": nn.Linear(2, 2)})
    >>> optimiser = build_optimiser(model, OptimiserConfig(name="adamw", parts={"encoder": 0.1}))
    >>> [(group["factor"], group["weight_decay"], len(group["params"])) for group in optimiser.param_groups]
    [(0.1, 0.01, 1), (0.1, 0.0, 1), (1.0, 0.01, 1), (1.0, 0.0, 1)]
    """
    factors = dict(named_parts(config.parts))
    names = [name for name, _ in model.named_parameters()]
    for part in factors:
        if not any(belongs(name, part) for name in names):
            raise ConfigError(
                f"optimiser.parts: the model has no part {part!r} with weights; name one of its parts, such as "
                f"{', '.join(sorted({name.partition('.')[0] for name in names}))}"
            )
    decay = WEIGHT_DECAY[config.name] if config.weight_decay is None else config.weight_decay
    groups: dict[tuple[float, float], list[Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            longest = max((part for part in factors if belongs(name, part)), key=len, default="")
            key = (factors.get(longest, 1.0), decay if parameter.ndim > 1 else 0.0)
            groups.setdefault(key, []).append(parameter)
    described: list[dict[str, Any]] = [
        {"params": parameters, "factor": factor, "weight_decay": weight_decay}
        for (factor, weight_decay), parameters in groups.items()
    ]
    return OPTIMISERS[config.name](described, lr=config.lr, betas=config.betas)  # type: ignore[call-arg]


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set each group's learning rate to ``rate`` times its factor."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get("factor", 1.0)  # older checkpoints have no factors


def named_parts(parts: Mapping[str, Any], inside: str = "") -> Iterator[tuple[str, float]]:
    """Yield each part's full name and factor.

    >>> dict(named_parts({"encoder": 0.1, "conditions": {"semantic": 0.5}}))
    {'encoder': 0.1, 'conditions.semantic': 0.5}
    """
    for name, value in parts.items():
        full = f"{inside}{name}"
        if isinstance(value, Mapping):
            yield from named_parts(value, f"{full}.")
        else:
            yield full, float(value)


def belongs(name: str, part: str) -> bool:
    """Whether the parameter ``name`` is ``part`` or lies in it."""
    return name == part or name.startswith(f"{part}.")
