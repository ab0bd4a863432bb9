"""``implicitkit list``."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

import implicitkit as ik


def test_list_names_everything_with_its_owner(run) -> None:
    done = run("list")
    assert done.code == 0
    for name in (*ik.list_encoders(), *ik.list_decoders(), *ik.list_degradations(), *ik.list_models()):
        assert name in done.out
    assert "[implicitkit 0.1.0]" in done.out
    assert "edsr" not in run("list", "decoders").out
    assert run("list", "--pretrained").out.split()[1] == "fast"
    assert run("list", "encoder").out == run("list", "encoders").out


def test_configurations_are_listed_as_the_command_that_runs_them(run) -> None:
    done = run("list", "configs")
    assert done.code == 0 and done.out.splitlines()[0] == "configs:"
    assert "  compare quick_liif_lte " in done.out and "  train liif_small " in done.out
    assert run("list", "configs", "quick*").out.count("\n") == 2
    assert "compare quick_liif_lte" in run("list").out


def test_models_say_where_their_weights_are(run, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("IMPLICITKIT_CACHE", str(tmp_path))
    lines = {line.split()[0]: line for line in run("list", "models").out.splitlines()}
    assert "; WEIGHTS: in the box  [" in lines["liif_small"] and "; no weights  [" in lines["lte_rdn"]
    assert "; WEIGHTS: implicitkit weights get liif_edsr_baseline  [" in lines["liif_edsr_baseline"]
    summaries = {line.index(" LIIF with ") for line in lines.values() if " LIIF with " in line}
    assert len(summaries) == 1  # in one column, however long the names are


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["decoders", "lte"], ["lm_lte", "lte", "lte_plus", "sinc_lte"]),
        (["decoder", "LTE-p"], ["lte_plus"]),
        (["lmf"], ["lmf"]),
        (["*blur*"], ["blur"]),
        (["timm:skresnet1"], ["timm:skresnet18"]),
    ],
)
def test_a_part_of_a_name_is_enough(run, words: list[str], names: list[str]) -> None:
    done = run("list", *words)
    assert [line.split()[0] for line in done.out.splitlines() if line.startswith("  ")] == names


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["models", "nonsense"], "nothing in models matches 'nonsense' (implicitkit list models shows all)"),
        (["decoders", "metsr"], "nothing in decoders matches 'metsr'; did you mean 'metasr'?"),
        (["encodrs"], "nothing in what is registered matches 'encodrs'; did you mean 'encoders'?"),
        (["things", "lte"], "unknown kind 'things'; it is one of encoders, "),
    ],
)
def test_what_matches_nothing_is_said(run, words: list[str], message: str) -> None:
    done = run("list", *words)
    assert done.code == 2 and done.out == "" and message in done.err


def test_on_a_terminal_summaries_are_folded(run, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run("list", "models").out
    assert max(map(len, whole.splitlines())) > 80  # a line each, for what reads lines
    monkeypatch.setattr("implicitkit.cli.listing.sys", SimpleNamespace(stdout=SimpleNamespace(isatty=lambda: True)))
    for columns in (80, 60):
        monkeypatch.setenv("COLUMNS", str(columns))
        folded = run("list", "models").out
        assert max(map(len, folded.splitlines())) <= columns and folded.split() == whole.split()
    monkeypatch.setenv("COLUMNS", "20")
    assert run("list", "models").out == whole
