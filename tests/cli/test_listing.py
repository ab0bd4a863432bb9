"""``implicitkit list``."""

from __future__ import annotations

import implicitkit as ik


def test_list_names_everything_with_its_owner(run) -> None:
    done = run("list")
    assert done.code == 0
    for name in (*ik.list_encoders(), *ik.list_decoders(), *ik.list_degradations(), *ik.list_models()):
        assert name in done.out
    assert "[implicitkit 0.1.0]" in done.out
    assert "edsr" not in run("list", "decoders").out
    assert run("list", "--pretrained").out.split()[1] == "liif_small"
    assert run("list", "encoder").code == 2


def test_configurations_are_listed_as_the_command_that_runs_them(run) -> None:
    done = run("list", "configs")
    assert done.code == 0 and done.out.splitlines()[0] == "configs:"
    assert "  compare quick_liif_lte " in done.out and "  train liif_small " in done.out
    assert run("list", "configs", "quick*").out.count("\n") == 2
    assert "compare quick_liif_lte" in run("list").out
