"""``implicitkit info``."""

from __future__ import annotations

import difflib
import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any

import typer

from implicitkit.cli.listing import KINDS, LOCAL_WEIGHTS, weights_of
from implicitkit.errors import UnknownNameError
from implicitkit.registry.origins import origins_of
from implicitkit.registry.registry import article, fold

if TYPE_CHECKING:
    from implicitkit.model import ImplicitModel
    from implicitkit.registry.registry import Registry

IN_SPECS = ("encoder", "neck", "decoder", "degradation", "loss")
MEANING_WIDTH = 100
LISTS = str.maketrans("()", "[]")  # tuples as YAML writes them
MARKUP = re.compile(r"``(.+?)``|:\w+:`~?(.+?)`")
ARGUMENT = re.compile(r"^ {4}(\w+): (.*(?:\n {6,}\S.*)*)", re.MULTILINE)  # of a docstring's "Args:"


def info(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Of `implicitkit list`: a model or any part; or a weight file.")
    ],
) -> None:
    """Describe a model, or any part with its options and defaults."""
    from implicitkit.create import create_model, load_model
    from implicitkit.registry import kinds

    is_name = not Path(name).is_file() and name in kinds.models
    owners = [] if is_name or Path(name).is_file() else [kind for kind in KINDS if name in getattr(kinds, kind)]
    for kind in owners:
        describe_part(getattr(kinds, kind), name)
    if owners:
        return
    if not is_name and not Path(name).exists() and (near := other_name(name)):
        raise UnknownNameError(f"nothing is called {name!r}; did you mean the {near}?")
    has_weights = not is_name or weights_of(kinds.models.find(name)[0]).startswith(LOCAL_WEIGHTS)
    built = load_model(name) if has_weights else create_model(name)
    print_rows(describe_model(built, has_weights, name if is_name else None))


def other_name(name: str) -> str:
    """The nearest registered name with its kind, unless it is a model's, about which :func:`load_model` speaks."""
    from implicitkit.registry import kinds

    names = {other: kind for kind in KINDS for other in getattr(kinds, kind).names()}
    near = difflib.get_close_matches(fold(name)[:100], names, n=1, cutoff=0.75)
    return f"{getattr(kinds, names[near[0]]).kind} {near[0]!r}" if near and names[near[0]] != "models" else ""


def describe_model(built: ImplicitModel, has_weights: bool, name: str | None) -> dict[str, str]:
    """What is printed of a model: its parts, its needs and its training."""
    from implicitkit.registry.kinds import models

    needs = built.needs
    scales = needs["trained_scales"]
    rows = {
        **parts(built),
        "inputs": f"{', '.join(built.inputs)}; {needs['input_channels']} channels in [0, 1]",
        "stride": str(needs["stride"]),
        "receptive field": receptive_field(built),
        "trained scales": f"×{scales[0]:g} to ×{scales[1]:g}" if scales else "not stated",
        "weights": "yes" if has_weights else "none (random)",
        "license": built.license or "not stated",
        "training": json.dumps(built.training_summary) if built.training_summary else "not stated",
    }
    if not has_weights and name is not None and "known" in models.find(name)[0].metadata:
        rows["weights"] += "; " + weights_of(models.find(name)[0]).removeprefix("WEIGHTS: ")
    if origins := origins_of(built.spec):
        rows["parts of others"] = ", ".join(f"{part} of {owner}" for part, owner in origins.items())
    if needs["mask"]:
        rows["mask"] = f"1 where a pixel is missing; holes are filled with {built.hole_fill}"
    if built.passes != 1:
        rows["passes"] = str(built.passes)
    return rows


def print_rows(rows: Mapping[str, str]) -> None:
    """Print a table of names and values."""
    width = max(16, *map(len, rows)) + 1
    for name, value in rows.items():
        typer.echo(f"{name + ':':<{width}} {value}")


def receptive_field(model: ImplicitModel) -> str:
    """In pixels; where a model that it reads sees further than its own encoder, both."""

    def words(pixels: int | str) -> str:
        return f"{pixels} pixels" if isinstance(pixels, int) else pixels

    widest, own = model.needs["receptive_field"], model.encoder.receptive_field
    return words(widest) if widest == own else f"{words(widest)} (its own encoder: {words(own)})"


def parts(model: ImplicitModel, within: str = "") -> dict[str, str]:
    """The parts of a model and of its conditions: spec, number of parameters, and whether they are frozen."""
    rows = {}
    for name in ("encoder", "decoder"):
        part = getattr(model, name)
        size = sum(p.numel() for p in part.parameters())
        frozen = "" if part.trainable else ", frozen"
        rows[within + name] = f"{json.dumps(model.spec[name])}  ({size:,} parameters{frozen})"
    for name, condition in model.conditions.items():
        rows |= parts(condition, f"{within}{name} ")
    return rows


def describe_part(registry: Registry[Any], name: str) -> None:
    """Print what a registered part is, and its options with their types, defaults and meanings."""
    entry, first = registry.find(name)
    factory = registry.resolve(entry)
    typer.echo(f"{entry.name}{''.join(first)} is {article(registry.kind)} of {entry.owner}: {entry.summary}")
    if text := summary(factory):
        typer.echo(f"  {text}")
    meanings = meanings_of(factory)
    rows = options(factory, len(first))
    typer.echo("options:" if rows else "it takes no options")
    for label, default, option in rows:
        typer.echo(f"  {label} {default}")
        meaning = meanings.get(option, "")
        if option == "in_channels" and registry.kind in ("decoder", "neck"):
            meaning = f"{meaning} A model's spec leaves it out.".strip()
        if meaning:
            typer.echo(fill(meaning, MEANING_WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6))
    if registry.kind in IN_SPECS:
        typer.echo(f"in a spec:  {registry.kind}: {example(entry.name + ''.join(first), rows)}")


def example(name: str, rows: Sequence[tuple[str, str, str]]) -> str:
    """A spec with the first option that is worth setting.

    >>> example("liif", [("in_channels: int", "= 64", "in_channels"), ("ndim: int", "= 2", "ndim")])
    '{name: liif, ndim: 2}'
    >>> example("mine", [("kind", "= None", "kind"), ("sizes", "= ((6, 4), (9, 2))", "sizes")])
    '{name: mine, sizes: [[6, 4], [9, 2]]}'
    """
    shown = [
        (option, default.removeprefix("= "))
        for _, default, option in rows
        if not option.endswith("_channels") and default not in ("= None", "(required)")
    ]
    settings = [f"{option}: {value.translate(LISTS) if value[:1] == '(' else value}" for option, value in shown]
    return "{" + ", ".join([f"name: {name}", *settings[:1]]) + "}"


def options(factory: Callable[..., Any], positional: int = 0) -> list[tuple[str, str, str]]:
    """The options of a factory: ``name: type``, ``= default`` or that it must be given, and the name.

    >>> def make(size: int, kind: str = "box"): ...
    >>> options(make)
    [('size: int', '(required)', 'size'), ('kind: str', "= 'box'", 'kind')]
    """
    try:
        parameters = list(inspect.signature(factory).parameters.values())[positional:]
    except (TypeError, ValueError):  # a builtin without a signature
        return []
    rows = []
    for parameter in parameters:
        if parameter.name.startswith("_") or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        given = parameter.annotation
        kind = "" if given is parameter.empty else given if isinstance(given, str) else inspect.formatannotation(given)
        default = "(required)" if parameter.default is parameter.empty else f"= {parameter.default!r}"
        rows.append((f"{parameter.name}: {kind}" if kind else parameter.name, default, parameter.name))
    return rows


def summary(factory: Callable[..., Any]) -> str:
    """The first paragraph of a factory's docstring, in one line."""
    return plain((inspect.getdoc(factory) or "").partition("\n\n")[0])


def plain(text: str) -> str:
    """Text of a docstring in one line, without its markup.

    >>> plain("see :mod:`implicitkit.losses`, or ``[]``")
    'see implicitkit.losses, or []'
    """
    return MARKUP.sub(lambda match: match[1] or match[2], " ".join(text.split()))


def meanings_of(factory: Callable[..., Any]) -> dict[str, str]:
    """The option's meanings in a docstring's ``Args:``, each in one line.

    >>> meanings_of(describe_model.__class__)
    {}
    """
    _, arguments, tail = (inspect.getdoc(factory) or "").partition("\nArgs:\n")
    section = re.split(r"\n\n\S|\n(?=\S)", tail, maxsplit=1)[0] if arguments else ""
    return {name: plain(text) for name, text in ARGUMENT.findall(section)}
