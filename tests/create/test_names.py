"""Names registered from the running program: one line, a decorator, a cell that runs twice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import implicitkit as ik
from implicitkit.registry import kinds

KINDS = ("encoder", "neck", "decoder", "degradation", "model", "loss", "metric", "protocol")


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    kinds.plugins.load()  # else what is there before is nothing
    registries = [getattr(kinds, f"{kind}es" if kind == "loss" else f"{kind}s") for kind in KINDS]
    before = [dict(registry._entries) for registry in registries]
    yield
    for registry, entries in zip(registries, before, strict=True):
        registry._entries.clear()
        registry._entries.update(entries)


class Mine(ik.Encoder):
    """Grey. And more."""

    out_channels = 1

    def extract(self, x: object) -> object:
        return x.mean(1, keepdim=True)  # type: ignore[attr-defined]


def test_one_line_makes_a_name() -> None:
    assert ik.register_encoder("mine_test", Mine) is Mine
    assert "mine_test" in ik.list_encoders() and isinstance(ik.create_encoder("mine-test"), Mine)
    model = ik.create_model({"encoder": "mine_test", "decoder": "nearest"})
    assert model.spec["encoder"] == {"name": "mine_test"}
    entry, _ = kinds.encoders.find("mine_test")
    assert entry.summary == "Grey. And more." and str(entry.owner).startswith(__name__)


def test_a_decorator_makes_a_name() -> None:
    @ik.register_decoder("mine_test", summary="as it is")
    class Own(ik.create_decoder("nearest").__class__):  # type: ignore[misc]
        pass

    assert isinstance(ik.create_decoder("mine_test", in_channels=2), Own)
    assert kinds.decoders.find("mine_test")[0].summary == "as it is"


@pytest.mark.parametrize("kind", KINDS)
def test_a_taken_name_is_refused_unless_the_same_owner_replaces_it(kind: str) -> None:
    register, names = getattr(ik, f"register_{kind}"), getattr(ik, f"list_{kind}{'es' if kind == 'loss' else 's'}")
    register("mine_test", dict)
    with pytest.raises(ik.DuplicateNameError, match="mine_test.*replace=True registers the new one"):
        register("mine_test", list)
    register("mine_test", list, replace=True)
    assert "mine_test" in names()
    taken = next(name for name in names() if name != "mine_test" and not name.endswith(":"))
    with pytest.raises(ik.DuplicateNameError, match="already registered by implicitkit"):
        register(taken, dict, replace=True)
