"""Examples in docstrings leave no registered names behind for other tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _restore_registries(request: pytest.FixtureRequest) -> Iterator[None]:
    if not hasattr(request.node, "dtest"):  # not a doctest
        yield
        return
    from implicitkit.registry.kinds import plugins

    plugins.load()
    before = {registry: dict(registry._entries) for registry in plugins.registries.values()}
    yield
    for registry, entries in before.items():
        registry._entries = entries
