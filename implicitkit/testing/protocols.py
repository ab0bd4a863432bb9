"""The contract of protocols."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from implicitkit.create import create_model, create_protocol
from implicitkit.errors import UserError
from implicitkit.evaluation.protocol import Protocol
from implicitkit.evaluation.scores import Scores
from implicitkit.images.io import write_image
from implicitkit.model import ImplicitModel

Spec = str | Mapping[str, Any]

PICTURE_SIZES = ((64, 72), (81, 60))


def check_protocol(
    spec: Spec, data: str | Path | None = None, models: Mapping[str, ImplicitModel] | None = None
) -> None:
    """Assert that a protocol keeps its contract of rows, tables, steps and reports.

    The trivial methods come first, then the models in order, all with the same settings, metrics and items. Scores
    depend neither on other models nor on torch's random state, and are the same when rebuilt from the spec.

    Args:
        spec: a name or a spec, best with options for small pictures.
        data: a test set (default: a folder of two pictures of about 70 pixels a side).
        models: at least two models that it can score (default: two small ones, one of which takes a mask).

    >>> check_protocol({"name": "plain", "scales": [2]})
    """
    models = _small_models() if models is None else models
    assert len(models) >= 2, "the check compares models: give at least two"
    with _test_set(data) as folder:
        protocol = create_protocol(spec)
        for model in models.values():
            protocol.check(model)
        before = {name: {k: v.clone() for k, v in m.state_dict().items()} for name, m in models.items()}
        scores = check_steps(protocol, models, folder)
        check_layout(protocol, scores, list(models))
        check_independence(protocol, scores, models, folder)
        check_rebuilt(protocol, scores, models, folder)
        check_refusals(protocol, models, folder)
        for name, model in models.items():
            changed = [k for k, v in model.state_dict().items() if not torch.equal(v, before[name][k])]
            assert not changed, f"evaluating changed the model's {', '.join(changed)}"


def check_steps(protocol: Protocol, models: Mapping[str, ImplicitModel], folder: Path) -> Scores:
    """``progress`` is called for every step up to ``count``, for any number of models."""
    count = protocol.count(folder)
    done: list[int] = []
    for some in (dict(list(models.items())[:1]), models):
        done.clear()
        scores = protocol.evaluate(some, folder, progress=lambda step, note: done.append(step))
        assert done == list(range(1, count + 1)), f"count says {count} steps; with {len(some)} models they are {done}"
    return scores


def check_layout(protocol: Protocol, scores: Scores, models: list[str]) -> None:
    """The trivial methods are the first rows; every row has the same settings and metrics; tables show all metrics."""
    trivial = protocol.trivial_rows
    assert list(scores.values) == [*trivial, *models], (
        f"the rows are {list(scores.values)}, not the trivial methods {trivial} and the models {models}"
    )
    first = scores.values[protocol.trivial]
    assert first and scores.units, "nothing was measured"
    for method, settings in scores.values.items():
        assert list(settings) == list(first), f"{method} has the settings {list(settings)}, not {list(first)}"
        for setting, metrics in settings.items():
            assert set(metrics) == set(scores.units), (
                f"{method}, {setting}: the metrics are {sorted(metrics)}, the units' {sorted(scores.units)}"
            )
            values = [value for items in metrics.values() for value in items.values()]
            assert values and all(isinstance(value, float) for value in values), f"{method}, {setting}: no numbers"
            if scores.item == "picture":  # a class may be in one model's answers alone
                assert all(set(i) == set(first[setting][m]) for m, i in metrics.items()), f"{method} lacks pictures"
    tables = protocol.tables(scores)
    shown = [metric for metrics in tables.values() for metric in metrics]
    assert sorted(shown) == sorted(scores.units), f"the tables show {shown}; measured was {list(scores.units)}"
    assert set(scores.records) <= set(first), f"there are records of {set(scores.records) - set(first)}, no settings"
    for content in (scores.records, protocol.settings()):
        assert json.loads(json.dumps(content)) == content, f"a report cannot hold this as JSON: {content}"


def check_independence(protocol: Protocol, scores: Scores, models: Mapping[str, ImplicitModel], folder: Path) -> None:
    """A model alone, at any random state, has the same scores and examples as among others."""
    name, model = list(models.items())[-1]
    torch.manual_seed(1234)
    state = torch.get_rng_state()
    alone = protocol.evaluate({name: model}, folder)
    assert torch.equal(torch.get_rng_state(), state), "torch's global random state was used"
    assert alone.values[name] == scores.values[name], f"alone, {name} has other scores than among others"
    assert alone.records == scores.records, "examples depend on the models or on torch's random state"


def check_rebuilt(protocol: Protocol, scores: Scores, models: Mapping[str, ImplicitModel], folder: Path) -> None:
    """Rebuilt from its spec, through JSON, it has the same settings and scores."""
    again = create_protocol(json.loads(json.dumps(protocol.spec)))
    assert again.settings() == protocol.settings(), f"rebuilt from {protocol.spec}, its settings differ"
    assert again.evaluate(models, folder).values == scores.values, f"rebuilt from {protocol.spec}, its scores differ"


def check_refusals(protocol: Protocol, models: Mapping[str, ImplicitModel], folder: Path) -> None:
    """A missing folder, and a model with the trivial method's name, raise a ``UserError``."""
    model = next(iter(models.values()))
    for mistake, some, data in (
        ("a missing folder", models, folder / "not there"),
        (f"a model called {protocol.trivial!r}", {protocol.trivial: model}, folder),
    ):
        try:
            protocol.evaluate(some, data)
        except UserError:
            continue
        raise AssertionError(f"{mistake} is not refused")


def _small_models() -> dict[str, ImplicitModel]:
    encoder = {"name": "edsr", "blocks": 1, "channels": 4, "res_scale": 1.0}
    decoder = {"name": "liif", "hidden": [8], "skip": "bilinear"}
    masked = {"encoder": {**encoder, "mask_channels": 1}, "decoder": decoder, "inputs": ["image", "mask"]}
    specs = {"without mask": {"encoder": encoder, "decoder": decoder}, "with mask": masked}
    return {name: create_model(spec).eval() for name, spec in specs.items()}


@contextmanager
def _test_set(data: str | Path | None) -> Iterator[Path]:
    """``data``, or a temporary folder of pictures."""
    if data is not None:
        yield Path(data)
        return
    generator = torch.Generator().manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        for k, (height, width) in enumerate(PICTURE_SIZES):
            coarse = torch.rand(1, 3, height // 6, width // 6, generator=generator)
            picture = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")[0]
            write_image(Path(folder) / f"{k}.png", picture)
        yield Path(folder)
