"""How many processes run the tests; examples in docstrings leave no registered names behind for other tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

MAX_FILES_WITHOUT_WORKERS = 8  # a worker takes seconds to import torch
MAX_WORKERS = 8


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """A worker per core; none for a few files that are named, nor where tests are listed only."""
    if os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS"):
        return None  # as xdist does
    named = config.args_source is pytest.Config.ArgsSource.ARGS
    few = named and len(config.args) <= MAX_FILES_WITHOUT_WORKERS and all(".py" in name for name in config.args)
    cores = min(os.cpu_count() or 1, MAX_WORKERS)
    return 0 if few or config.option.collectonly or cores == 1 else cores


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
