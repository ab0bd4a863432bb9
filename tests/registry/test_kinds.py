"""Weights that a plugin ships in its own package."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import implicitkit as ik
from implicitkit.registry.kinds import plugins as all_plugins
from oracles.models import small_model


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An importable package ``a_tests_package`` with ``weights/tiny.safetensors``."""
    folder = tmp_path / "a_tests_package"
    (folder / "weights").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    small_model().save(folder / "weights" / "tiny.safetensors", license="CC0-1.0")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    sys.modules.pop("a_tests_package", None)


def registered(**metadata: Any) -> Any:
    class Shipping:
        @ik.hookimpl
        def register_models(self, register: Any) -> None:
            register("a_tests_tiny", lambda: small_model().spec, summary="a test's", metadata=metadata)

    return ik.register_plugin(Shipping())


@pytest.fixture
def shipping():
    plugins: list[Any] = []
    yield lambda **metadata: plugins.append(registered(**metadata))
    for plugin in plugins:
        ik.unregister_plugin(plugin)


def test_a_plugins_weights_are_found_by_name(package: Path, shipping: Any, photo: torch.Tensor) -> None:
    shipping(pretrained="a_tests_package:weights/tiny.safetensors")
    assert ik.list_models(pretrained=True) == ["a_tests_tiny", "fast", "fast_real", "liif_small"]
    assert "a_tests_tiny" not in ik.list_models(pretrained=False)
    expected = ik.load_model(package / "weights" / "tiny.safetensors").encode(photo).render((40, 50))
    for model in (ik.create_model("a_tests_tiny", pretrained=True), ik.load_model("a_tests_tiny")):
        assert torch.equal(model.encode(photo).render((40, 50)), expected)
        assert model.license == "CC0-1.0" and not model.training
    assert not torch.equal(ik.create_model("a_tests_tiny").eval().encode(photo).render((40, 50)), expected)


def test_a_file_that_is_gone_is_its_owners_fault(package: Path, shipping: Any) -> None:
    shipping(pretrained="a_tests_package:weights/tiny.safetensors")
    (package / "weights" / "tiny.safetensors").unlink()
    with pytest.raises(ik.WeightsError, match=r"a_tests_tiny are missing .*tiny\.safetensors\); reinstall Shipping"):
        ik.load_model("a_tests_tiny")


@pytest.mark.parametrize("stored", [True, "weights/tiny.safetensors", "a_tests_package:", ":tiny"])
def test_metadata_that_names_no_file(stored: Any, shipping: Any) -> None:
    shipping(pretrained=stored)
    with pytest.raises(ik.PluginError, match=r"'a_tests_tiny' of Shipping .* says that its weights are .*package:path"):
        ik.load_model("a_tests_tiny")


def test_a_package_that_is_not_there(shipping: Any) -> None:
    shipping(pretrained="no_such_package:weights/tiny.safetensors")
    with pytest.raises(ik.PluginError, match=r"weights of model 'a_tests_tiny' .* No module named 'no_such_package'"):
        ik.load_model("a_tests_tiny")


def test_a_model_without_weights_says_how_to_get_some(shipping: Any) -> None:
    shipping(advice="make them with `a-tests-command`")
    with pytest.raises(ik.WeightsError) as raised:
        ik.load_model("a_tests_tiny")
    assert str(raised.value) == (
        "a_tests_tiny comes without weights; make them with `a-tests-command` (models that come with weights: "
        "fast, fast_real, liif_small)"
    )


def test_by_default_the_advice_is_to_train(shipping: Any) -> None:
    shipping()
    with pytest.raises(ik.WeightsError, match="comes without weights; train it with `implicitkit train`, or load a"):
        ik.create_model("a_tests_tiny", pretrained=True)


@pytest.fixture
def forgetting() -> Iterator[None]:
    """What a test registers is gone after it."""
    all_plugins.load()
    before = {registry: dict(registry._entries) for registry in all_plugins.registries.values()}
    yield
    for registry, entries in before.items():
        registry._entries = entries


class Mute(BaseException):
    """What cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "error", [GeneratorExit("x"), SystemExit(3), asyncio.CancelledError("x"), Mute(), AssertionError(), KeyError("x")]
)
@pytest.mark.parametrize("kind", ["encoder", "decoder", "degradation", "loss", "metric", "protocol"])
def test_a_factory_may_raise_anything(kind: str, error: BaseException, forgetting: None) -> None:
    def fail() -> None:
        raise error

    getattr(ik, f"register_{kind}")("a_tests_trap", fail, replace=True)
    with pytest.raises(ik.PluginError, match=f"{kind} 'a_tests_trap' of .* cannot be built: {type(error).__name__}"):
        getattr(ik, f"create_{kind}")("a_tests_trap")


def test_a_user_a_full_memory_and_ctrl_c_stay_what_they_are(forgetting: None) -> None:
    for error in (
        ValueError("x"),
        ik.UserError("x"),
        MemoryError(),
        KeyboardInterrupt(),
        RuntimeError("out of memory"),
    ):

        def fail(error: BaseException = error) -> None:
            raise error

        ik.register_metric("a_tests_trap", lambda fail=fail: fail(), replace=True)
        with pytest.raises(type(error)):
            ik.create_metric("a_tests_trap")


def test_a_model_that_is_no_spec_and_one_that_raises(forgetting: None) -> None:
    ik.register_model("a_tests_trap", lambda: 1, replace=True)
    with pytest.raises(ik.PluginError, match="model 'a_tests_trap' of .* gave int; its factory must return a spec"):
        ik.create_model("a_tests_trap")
    ik.register_model("a_tests_trap", lambda: 1 / 0, replace=True)
    with pytest.raises(ik.PluginError, match="cannot be built: ZeroDivisionError: division by zero"):
        ik.create_model("a_tests_trap")


def test_weights_of_a_module_that_is_no_package(shipping: Any) -> None:
    shipping(pretrained="os:weights.safetensors")
    with pytest.raises(ik.PluginError, match="weights of model 'a_tests_tiny' .* 'os' is not a package"):
        ik.load_model("a_tests_tiny")
