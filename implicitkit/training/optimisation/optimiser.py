"""The optimiser of a configuration, by name, with learning rates for parts of the model."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import Parameter

from implicitkit.config import PART_SETTINGS, OptimiserConfig
from implicitkit.errors import ConfigError, nearest
from implicitkit.registry.arguments import check_arguments
from implicitkit.registry.kinds import optimisers


def build_optimiser(model: nn.Module, config: OptimiserConfig) -> torch.optim.Optimizer:
    """The optimiser of all parameters that require a gradient.

    Each group has a ``factor`` on the learning rate, or an ``own_lr`` (see ``optimiser.parts``; the longest matching
    name counts). Weight decay acts on tensors of two or more dimensions, not on biases and scales, as in timm and
    nanoGPT.

    Args:
        model: the model.
        config: the section ``optimiser``.

    Raises:
        UnknownNameError: no optimiser has this name.
        ConfigError: it does not take one of ``options``, or ``parts`` names a part that the model does not have.

    >>> model = nn.ModuleDict({"encoder": nn.Linear(2, 2), "decoder": nn.Linear(2, 2)})
    >>> optimiser = build_optimiser(model, OptimiserConfig(name="adamw", parts={"encoder": 0.1}))
    >>> [(group["factor"], group["weight_decay"], len(group["params"])) for group in optimiser.param_groups]
    [(0.1, 0.01, 1), (0.1, 0.0, 1), (1.0, 0.01, 1), (1.0, 0.0, 1)]
    """
    entry, first = optimisers.find(config.name)
    factory = optimisers.resolve(entry)
    takes = _defaults(factory, first)
    settings = dict(named_parts(config.parts))
    names = [name for name, _ in model.named_parameters()]
    for part in settings:
        if not any(belongs(name, part) for name in names):
            raise ConfigError(
                f"optimiser.parts: the model has no part {part!r} with weights; name one of its parts, such as "
                f"{', '.join(sorted({name.partition('.')[0] for name in names}))}"
            )
    decay = config.weight_decay if config.weight_decay is not None else float(takes.get("weight_decay") or 0.0)
    groups: dict[tuple[float, float | None, float], list[Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            longest = max((part for part in settings if belongs(name, part)), key=len, default="")
            own = settings.get(longest, 1.0)
            own = own if isinstance(own, Mapping) else {"factor": own}
            decayed = float(own.get("weight_decay", decay)) if parameter.ndim > 1 else 0.0
            groups.setdefault((own.get("factor", 1.0), own.get("lr"), decayed), []).append(parameter)
    described: list[dict[str, Any]] = [
        {
            "params": parameters,
            "factor": factor,
            **({} if own_lr is None else {"own_lr": own_lr}),
            "weight_decay": decay,
        }
        for (factor, own_lr, decay), parameters in groups.items()
    ]
    if takes and "weight_decay" not in takes and any(group["weight_decay"] for group in described):
        raise ConfigError(f"optimiser.weight_decay: {config.name} takes none; leave it out")
    options = dict(config.options)
    for key in ("lr", "betas", "weight_decay"):
        if key in options:
            raise ConfigError(f"optimiser.options: {key} is an entry of optimiser itself; write optimiser.{key}")
    if "betas" in takes:
        options["betas"] = config.betas
    elif takes and config.betas != OptimiserConfig.model_fields["betas"].default:
        raise ConfigError(f"optimiser.betas: {config.name} takes none; leave them out (options: {', '.join(takes)})")
    if not first:  # timm checks its own
        options = check_arguments(f"optimiser {config.name!r}", factory, (described,), options)
    built: torch.optim.Optimizer = optimisers.build(entry, *first, params=described, lr=config.lr, **options)
    return built


def timm_optimiser(name: str, params: Any, lr: float, **options: Any) -> torch.optim.Optimizer:
    """One of timm's optimisers by its name there.

    Raises:
        ConfigError: timm has none of this name, or it does not take an option.

    >>> type(timm_optimiser("lion", [Parameter(torch.zeros(2))], lr=1e-3)).__name__
    'Lion'
    """
    from timm.optim._optim_factory import create_optimizer_v2, list_optimizers

    if name not in (known := [str(optimiser) for optimiser in list_optimizers()]):
        near = nearest(name, known)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(f"timm has no optimiser {name!r}; {hint}(implicitkit list optimisers 'timm:*')")
    try:
        return create_optimizer_v2(params, opt=name, lr=lr, **options)
    except TypeError as error:
        raise ConfigError(f"optimiser timm:{name}: {error}") from None


def _defaults(factory: Callable[..., Any], first: tuple[str, ...]) -> dict[str, Any]:
    """What an optimiser takes besides parameters and learning rate, with its defaults; empty if it cannot be told."""
    if first:
        from timm.optim._optim_factory import get_optimizer_class, list_optimizers

        if first[0] not in list_optimizers():
            return {}
        factory = get_optimizer_class(first[0], bind_defaults=False)
    try:
        parameters = list(inspect.signature(factory).parameters.values())[1:]
    except (TypeError, ValueError):
        return {}
    return {p.name: p.default for p in parameters if p.name != "lr" and p.kind is not p.VAR_KEYWORD}


def set_rate(optimiser: torch.optim.Optimizer, rate: float, lr: float | None = None) -> None:
    """Set each group's learning rate: ``rate`` times its factor, or its own one times ``rate / lr``."""
    for group in optimiser.param_groups:
        if lr is not None and "own_lr" in group:
            group["lr"] = group["own_lr"] * (rate / lr)
        else:
            group["lr"] = rate * group.get("factor", 1.0)  # older checkpoints have no factors


def named_parts(parts: Mapping[str, Any], inside: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each part's full name, and its factor or settings.

    >>> dict(named_parts({"encoder": 0.1, "conditions": {"semantic": {"lr": 1e-4}}}))
    {'encoder': 0.1, 'conditions.semantic': {'lr': 0.0001}}
    """
    for name, value in parts.items():
        full = f"{inside}{name}"
        if not isinstance(value, Mapping):
            yield full, float(value)
        elif value.keys() <= set(PART_SETTINGS):
            yield full, dict(value)
        else:
            yield from named_parts(value, f"{full}.")


def belongs(name: str, part: str) -> bool:
    """Whether the parameter ``name`` is ``part`` or lies in it."""
    return name == part or name.startswith(f"{part}.")
