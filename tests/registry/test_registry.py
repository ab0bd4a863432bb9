import time

import pytest

import implicitkit as ik
from implicitkit.registry.registry import Owner, Registry

THEIRS = Owner("other-dist", "2.1")


def registry() -> Registry[object]:
    made: Registry[object] = Registry("encoder")
    made.register("edsr_baseline", lambda blocks=3: ("edsr", blocks), summary="a", metadata={"pretrained": True})
    made.register("rdn", dict, owner=THEIRS)
    made.register("timm:", lambda name, pretrained=False: (name, pretrained))
    return made


@pytest.mark.parametrize("name", ["edsr_baseline", "EDSR-baseline", "Edsr_Baseline"])
def test_case_and_dashes_fold(name: str) -> None:
    assert registry().create(name, blocks=5) == ("edsr", 5)


def test_what_follows_a_colon_is_verbatim() -> None:
    assert registry().create("TIMM:hf-hub:Org/Name-x", pretrained=True) == ("hf-hub:Org/Name-x", True)
    with pytest.raises(ik.UnknownNameError, match="'timm:' needs a name behind its colon"):
        registry().create("timm:")


def test_an_unknown_name_lists_near_ones() -> None:
    with pytest.raises(ik.UnknownNameError, match="unknown encoder 'edsr_basline'; did you mean 'edsr_baseline'"):
        registry().find("edsr_basline")


def test_a_duplicate_names_both_owners_and_changes_nothing() -> None:
    made = registry()
    with pytest.raises(ik.DuplicateNameError, match=r"'rdn' of mine 1\.0 is already registered by other-dist 2\.1"):
        made.register("rdn", list, owner=Owner("mine", "1.0"))
    assert made.create("rdn") == {}


@pytest.mark.parametrize("name", ["Edsr", "a b", "", "x-y", "é"])
def test_names_are_snake_case(name: str) -> None:
    with pytest.raises(ValueError, match="snake_case"):
        registry().register(name, dict)


def test_filters() -> None:
    assert registry().names() == ["edsr_baseline", "rdn", "timm:"]
    assert registry().names("*EDSR*") == ["edsr_baseline"]
    assert registry().names(pretrained=True) == ["edsr_baseline"]
    assert registry().names(pretrained=False) == ["rdn", "timm:"]
    assert "rdn" in registry() and "nothing" not in registry()


def test_wrong_arguments_name_the_right_ones() -> None:
    with pytest.raises(ik.ArgumentError, match=r"takes no 'block'; did you mean 'blocks'\? \(it takes: blocks\)"):
        registry().create("edsr_baseline", block=3)
    with pytest.raises(ik.ArgumentError, match="it takes: pretrained"):
        registry().create("timm:x", name="y")


def test_factories_may_be_named_and_are_imported_at_use() -> None:
    made: Registry[object] = Registry("decoder")
    made.register("late", "collections:OrderedDict")
    made.register("broken", "no_such_module:x")
    assert made.create("late") == {}
    with pytest.raises(ik.PluginError, match="decoder 'broken' of .* cannot be loaded: ModuleNotFoundError"):
        made.create("broken")


def test_a_name_of_the_built_ins_is_refused_to_who_wants_it() -> None:
    def load() -> None:
        staged = made.staged()
        if not staged.names():
            staged.register("edsr", dict, owner=Owner("implicitkit", "1"))
        made.commit(staged)

    made: Registry[object] = Registry("encoder", load)
    with pytest.raises(ik.DuplicateNameError, match=r"the running program .* already registered by implicitkit 1"):
        made.register("edsr", list)
    assert made.create("edsr") == {}


def test_a_failed_load_is_tried_again() -> None:
    attempts = []

    def load() -> None:
        attempts.append(1)
        if len(attempts) == 1:
            raise RuntimeError("first")
        staged = made.staged()
        if not staged.names():
            staged.register("x", dict)
        made.commit(staged)

    made: Registry[object] = Registry("loss", load)
    with pytest.raises(RuntimeError):
        made.names()
    assert made.names() == ["x"]


def test_threads_that_look_up_first_all_find_it() -> None:
    from concurrent.futures import ThreadPoolExecutor

    def load() -> None:
        staged = made.staged()
        if not staged.names():
            time.sleep(0.05)
            staged.register("x", dict)
        made.commit(staged)

    made: Registry[object] = Registry("loss", load)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: made.create("x"), range(8))) == [{}] * 8
