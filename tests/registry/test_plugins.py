"""The plugin door: what gets in, what does not, and that nothing else is harmed."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import time
import types
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import implicitkit as ik
from implicitkit.registry.plugins import HOOKS, STRICT_VARIABLE, VARIABLE, Plugins, find_plugins
from implicitkit.registry.registry import Registry

PARTS = ("encoder", "decoder", "degradation", "model", "loss", "metric", "neck", "protocol")
KINDS = (*PARTS, "dataset", "optimiser", "schedule", "callback")
HOOK_OF = {kind: f"register_{kind}es" if kind == "loss" else f"register_{kind}s" for kind in KINDS}


def plugin(name: str = "theirs", version: str = "2.1", **hooks: Callable[..., None]) -> types.ModuleType:
    """A module with the given hooks, as a plugin's author writes it."""
    module = types.ModuleType(name)
    module.__version__ = version  # type: ignore[attr-defined]
    for hook, function in hooks.items():
        function.__name__ = hook
        setattr(module, hook, ik.hookimpl(function))
    return module


def registering(*names: str) -> Callable[..., None]:
    def hook(register: Any) -> None:
        for name in names:
            register(name, dict, summary="a test's")

    return hook


def host() -> Plugins:
    """Registries of one's own, whose built-ins are the encoder ``ours``."""
    made: dict[str, Registry[Any]] = {}
    plugins = Plugins(made, lambda: plugin("built_in", register_encoders=registering("ours")))
    for kind in KINDS:
        made[HOOK_OF[kind]] = Registry(kind, plugins.load, plugins.where)
    return plugins


def names(plugins: Plugins, kind: str = "encoder") -> list[str]:
    return plugins.registries[HOOK_OF[kind]].names()


def importable(monkeypatch: pytest.MonkeyPatch, **modules: types.ModuleType) -> None:
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setenv(VARIABLE, ",".join(["none", *modules]))


def test_every_registry_has_a_hook() -> None:
    assert set(HOOKS) == {*HOOK_OF.values(), "register_tabs", "register_weights", "register_commands"}


def test_a_plugin_provides() -> None:
    plugins = host()
    done = plugins.add(
        plugin(register_encoders=registering("b", "a"), register_losses=registering("c")), name="their-dist"
    )
    assert names(plugins) == ["a", "b", "ours"] and names(plugins, "loss") == ["c"]
    assert done.provides == {"encoder": ["a", "b"], "loss": ["c"]}
    assert str(plugins.registries["register_losses"].entries()[0].owner) == "their-dist 2.1"


def test_objects_are_plugins_too() -> None:
    class Theirs:
        @ik.hookimpl
        def register_encoders(self, register: Any) -> None:
            register("x", dict)

    plugins = host()
    assert plugins.add(Theirs()).name == "Theirs"
    assert names(plugins) == ["ours", "x"]


def test_what_fails_half_way_leaves_nothing() -> None:
    def half(register: Any) -> None:
        register("first", dict)
        raise RuntimeError("the rest went wrong")

    plugins = host()
    with pytest.raises(RuntimeError, match="went wrong"):
        plugins.add(plugin(register_encoders=registering("fine"), register_losses=half))
    assert names(plugins) == ["ours"] and names(plugins, "loss") == []


def test_a_broken_plugin_is_recorded_and_the_others_load(monkeypatch: pytest.MonkeyPatch) -> None:
    def quits(register: Any) -> None:
        sys.exit("no licence")

    importable(
        monkeypatch,
        good_a=plugin(register_encoders=registering("a")),
        quitter=plugin(register_encoders=quits),
        good_b=plugin(register_encoders=registering("b")),
    )
    monkeypatch.setenv(VARIABLE, "none,good_a,quitter,not_there,good_b:missing,good_b")
    plugins = host()
    with pytest.warns(ik.PluginWarning) as warned:
        assert names(plugins) == ["a", "b", "ours"]
    assert [p.name for p in plugins.failed] == ["quitter", "not_there", "good_b:missing"]
    assert len(warned) == 3
    assert plugins.failed[0].error == "SystemExit: no licence"
    assert "No module named 'not_there'" in plugins.failed[1].traceback
    with pytest.raises(
        ik.UnknownNameError, match=r"unknown encoder 'c' \(registered: a, b, ours; looked in .*quitter.*no licence"
    ):
        plugins.registries["register_encoders"].find("c")


def test_the_distribution_of_a_named_module_is_found() -> None:
    owners = [source.owner for source in find_plugins("none,yaml,importlib.metadata,implicitkitt")]
    assert [owner.distribution for owner in owners] == ["PyYAML", "importlib.metadata", "implicitkitt"]
    assert owners[0].version == importlib.metadata.version("PyYAML")
    assert {owner.version for owner in owners[1:]} == {"(no distribution)"}


def test_two_that_claim_one_name_are_both_named(monkeypatch: pytest.MonkeyPatch) -> None:
    importable(
        monkeypatch,
        one=plugin(register_encoders=registering("x")),
        two=plugin(register_decoders=registering("fine"), register_encoders=registering("x")),
    )
    plugins = host()
    with pytest.warns(ik.PluginWarning, match=r"encoder 'x' of two .* is already registered by one"):
        assert names(plugins) == ["ours", "x"]
    assert names(plugins, "decoder") == []
    with pytest.raises(ik.DuplicateNameError, match="already registered by implicitkit"):
        plugins.add(plugin(register_encoders=registering("ours")))


def test_a_slow_plugin_is_seen() -> None:
    def slow(register: Any) -> None:
        time.sleep(0.05)
        register("x", dict)

    assert host().add(plugin(register_encoders=slow)).seconds >= 0.05


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (plugin(register_encodrs=registering("x")), "no hook register_encodrs; did you mean register_encoders"),
        (plugin(), "implements no hook"),
        (types.SimpleNamespace(register_losses=registering("x")), "not marked with @implicitkit.hookimpl"),
        (plugin(register_encoders=lambda registre: None), r"takes \(register\); received one that takes \(registre\)"),
        (plugin(register_encoders=lambda: None), r"takes \(register\); received one that takes \(\)"),
        (types.SimpleNamespace(register_encoder=registering("x")), "no hook register_encoder; did you mean"),
        (Registry, "received the class Registry"),
        ("a string", "received 'a string'"),
        (None, "received None"),
    ],
)
def test_a_hook_that_would_never_be_called_is_refused(made: Any, message: str) -> None:
    plugins = host()
    with pytest.raises(Exception, match=message):
        plugins.add(made)
    assert names(plugins) == ["ours"]


def test_a_bad_registration_is_refused_with_its_plugin() -> None:
    plugins = host()
    with pytest.raises(ValueError, match="snake_case"):
        plugins.add(plugin(register_encoders=registering("fine", "Not This")))
    assert names(plugins) == ["ours"]


def test_strict_mode_raises_at_every_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "none,not_there")
    monkeypatch.setenv(STRICT_VARIABLE, "1")
    plugins = host()
    for _ in range(2):
        with pytest.raises(ik.PluginError, match="not_there"):
            names(plugins)


def test_a_plugin_may_look_things_up_while_it_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    plugins = host()

    def curious(register: Any) -> None:
        assert "ours" in plugins.registries["register_encoders"]
        register("x", dict)

    importable(monkeypatch, curious=plugin(register_encoders=curious))
    assert names(plugins) == ["ours", "x"]


def test_threads_load_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def slow(register: Any) -> None:
        calls.append(1)
        time.sleep(0.02)
        register("x", dict)

    importable(monkeypatch, slow=plugin(register_encoders=slow))
    plugins = host()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: names(plugins), range(8))) == [["ours", "x"]] * 8
    assert calls == [1]


def test_a_load_that_is_interrupted_starts_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupts = iter([KeyboardInterrupt()])

    def interrupted(register: Any) -> None:
        for error in interrupts:
            raise error
        register("x", dict)

    importable(monkeypatch, theirs=plugin(register_encoders=interrupted))
    plugins = host()
    with pytest.raises(KeyboardInterrupt):
        names(plugins)
    assert names(plugins) == ["ours", "x"]


def test_commands_come_along() -> None:
    def add(app: Any) -> None:
        @app.command()
        def say_hello() -> None: ...

    assert host().add(plugin(register_commands=add)).provides == {"command": ["say-hello"]}


def test_a_command_that_is_taken_is_refused_naming_both(monkeypatch: pytest.MonkeyPatch) -> None:
    def add(name: str) -> Callable[..., None]:
        return lambda app: app.command(name)(lambda: None)

    importable(
        monkeypatch,
        one=plugin(register_commands=add("hello")),
        two=plugin(register_commands=add("hello"), register_encoders=registering("x")),
        three=plugin(register_commands=add("train")),
    )
    plugins = host()
    with pytest.warns(ik.PluginWarning) as warned:
        assert names(plugins) == ["ours"]
    messages = [str(w.message) for w in warned]
    assert "command 'hello' of two (no distribution) is already registered by one (no distribution)" in messages[0]
    assert "command 'train' of three (no distribution) is already registered by implicitkit" in messages[1]


def test_a_plugin_that_is_found_twice_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    importable(monkeypatch, one=plugin(register_encoders=registering("x")))
    monkeypatch.setenv(VARIABLE, "NONE,one,one")
    plugins = host()
    assert names(plugins) == ["ours", "x"] and len(plugins.loaded) == 2


def test_none_leaves_the_entry_points_out() -> None:
    assert list(find_plugins("none")) == []
    assert [(f.name, f.source) for f in find_plugins("none, json , json:dumps")] == [
        ("json", VARIABLE),
        ("json:dumps", VARIABLE),
    ]


@pytest.mark.slow
def test_importing_the_library_loads_no_plugin_and_what_one_does_stays_its_own(tmp_path: Any) -> None:
    (tmp_path / "noisy.py").write_text(
        "print('loaded')\nimport torch\nimport implicitkit as ik\n"
        "torch.set_default_dtype(torch.float64)\ntorch.set_grad_enabled(False)\ntorch.set_default_device('meta')\n"
        "torch.use_deterministic_algorithms(True)\ntorch.set_float32_matmul_precision('medium')\n"
        "import os\nos.chdir('/')\n"
        "@ik.hookimpl\ndef register_losses(register): register('x', dict)\n"
    )
    code = (
        "import implicitkit as ik\nprint('imported')\nfrom implicitkit.registry.kinds import losses\n"
        "print('x' in losses)\nimport torch\nprint(torch.get_default_dtype(), torch.is_grad_enabled())\n"
        "print(torch.get_default_device(), torch.are_deterministic_algorithms_enabled())\n"
        "print(torch.get_float32_matmul_precision(), __import__('os').getcwd())"
    )
    environment = {"PYTHONPATH": str(tmp_path), VARIABLE: "none,noisy", "PATH": ""}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == [
        "imported",
        "True",
        "torch.float32",
        "True",
        "cpu",
        "False",
        "highest",
        str(Path.cwd()),
    ]
    assert "loaded" in ran.stderr


def test_what_was_registered_by_hand_can_be_taken_back() -> None:
    plugins = host()
    theirs = plugin(register_encoders=registering("x"))
    done = plugins.add(theirs)
    with pytest.raises(ik.PluginError, match="is registered already"):
        plugins.add(theirs)
    plugins.remove(done)
    assert names(plugins) == ["ours"]
    assert plugins.add(theirs).provides == {"encoder": ["x"]}
    for other in (done, plugins.loaded[0]):
        with pytest.raises(ik.PluginError, match="cannot be unregistered"):
            plugins.remove(other)


def test_a_notebook_cell_runs_again() -> None:
    def cell(name: str) -> object:
        class Cell:
            @ik.hookimpl
            def register_decoders(self, register):
                register(name, "implicitkit.decoders.liif:LIIF", summary="an example")

        return Cell()

    first = ik.register_plugin(cell("cell_one"), replace=True)  # there is nothing to replace yet
    with pytest.raises(ik.DuplicateNameError, match="cell_one"):
        ik.register_plugin(cell("cell_one"))
    second = ik.register_plugin(cell("cell_two"), replace=True)
    assert "cell_two" in ik.list_decoders() and "cell_one" not in ik.list_decoders()
    with pytest.raises(ik.DuplicateNameError):
        ik.register_plugin(cell("liif"), replace=True)
    assert "cell_two" in ik.list_decoders()  # what was there stays
    with pytest.raises(ik.PluginError):
        ik.unregister_plugin(first)
    third = ik.register_plugin(cell("cell_two"), replace=True)
    ik.unregister_plugin(third)
    assert "cell_two" not in ik.list_decoders() and second is not third
