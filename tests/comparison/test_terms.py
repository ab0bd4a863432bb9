"""Whether methods are compared on equal terms, defaults included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import implicitkit as ik
from implicitkit.comparison.plan import make_plan
from implicitkit.comparison.terms import compare_terms
from implicitkit.config.terms import Terms
from oracles.comparisons import ENCODER, checked, tiny
from oracles.models import small_model


def terms(output: Path, models: dict[str, Any], **changes: Any) -> Terms:
    """Of methods that differ in their models alone, unless ``changes`` say more."""
    methods = {label: model if "weights_only" in model else {"model": model} for label, model in models.items()}
    return compare_terms(make_plan(checked(tiny(output, methods=methods, reference=[], **changes))).rows)


def bare(decoder: Any, **entries: Any) -> dict[str, Any]:
    return {"encoder": ENCODER, "decoder": decoder, **entries}


def test_plain_liif_and_lte_differ_in_their_skip_by_default(tmp_path: Path) -> None:
    found = terms(tmp_path, {"LIIF": bare("liif"), "LTE": bare({"name": "lte"})})
    assert found.compared == "decoder" and list(found.unequal) == ["decoder.skip", "decoder.hidden"]
    assert found.unequal["decoder.skip"] == {
        "values": {"LIIF": "none", "LTE": "bilinear"},
        "by_default": ["LIIF", "LTE"],
    }
    assert found.advice == "shared: {decoder: {skip: bilinear}}"
    line = found.line()
    assert line.startswith(
        "not on equal terms beyond the decoder: decoder.skip: none for LIIF (default), bilinear for "
    )
    assert line.endswith("to make it equal: shared: {decoder: {skip: bilinear}}") and "\n" not in line


def test_what_is_shared_is_equal(tmp_path: Path) -> None:
    shared = {"encoder": ENCODER, "decoder": {"skip": "bilinear", "hidden": [8]}, "inputs": ["image", "mask"]}
    settings = tiny(tmp_path, methods={n: {"model": {"decoder": n}} for n in ("liif", "lte")}, reference=[])
    plan = make_plan(checked({**settings, "shared": shared}))
    assert compare_terms(plan.rows) == Terms("decoder", {}, "") and compare_terms(plan.rows).line() == ""
    for name, row in plan.rows.items():
        assert row[0].config.model.decoder.as_dict() == {"name": name, "skip": "bilinear", "hidden": [8]}
        assert row[0].config.model.encoder.as_dict() == ENCODER and row[0].config.model.inputs == ["image", "mask"]


def test_a_named_models_entries_give_way_to_what_is_shared(tmp_path: Path) -> None:
    methods = {"LIIF": {"model": "liif_edsr_baseline"}, "LTE": {"model": "lte_edsr_baseline"}}
    plan = make_plan(checked(tiny(tmp_path, methods=methods, shared={"encoder": ENCODER, "decoder": {"hidden": [8]}})))
    assert [row[0].config.model.encoder.name for row in plan.rows.values()] == ["edsr", "edsr"]
    assert plan.rows["LTE"][0].config.model.decoder.as_dict()["hidden"] == [8]


@pytest.mark.parametrize(
    ("shared", "message"),
    [
        (
            {"decoder": {"skip": "bilinear"}, "encoder": {"channels": 8}},
            r"LIIF: model.encoder.channels is 4, and shared",
        ),
        (
            {"decoder": "lte"},
            r"LIIF: model.decoder.name is 'liif', and shared.decoder.name 'lte'; leave one of them out",
        ),
        ({"decoder": {"skp": "none"}}, r"shared.decoder.skp: decoder 'liif' takes no 'skp' \(it takes: .*skip"),
        ({"decoders": "lte"}, r"shared.decoders: unknown key .*did you mean 'decoder'\?"),
        ({"passes": 0}, r"shared.passes: .*greater than or equal to 1"),
        ({"fill": "mean"}, r"LIIF: model.fill is 0.5, and shared.fill 'mean'; leave one of them out"),
    ],
)
def test_what_cannot_be_shared_is_refused(tmp_path: Path, shared: dict[str, Any], message: str) -> None:
    settings = tiny(tmp_path, shared=shared)
    settings["methods"]["LIIF"]["model"]["fill"] = 0.5
    with pytest.raises(ik.ConfigError, match=message):
        make_plan(checked(settings))


def test_encoders_fills_passes_and_budgets_are_listed(tmp_path: Path) -> None:
    skip = {"skip": "bilinear", "hidden": [8]}
    models = {
        "A": bare({"name": "liif", **skip}),
        "B": {"encoder": {**ENCODER, "channels": 8}, "decoder": {"name": "lte", **skip}, "passes": 2, "fill": "mean"},
    }
    settings = tiny(tmp_path, methods={k: {"model": v} for k, v in models.items()}, reference=[])
    settings["methods"]["B"] |= {"steps": 40, "data": {"points": 64}}
    found = compare_terms(make_plan(checked(settings)).rows)
    values = {path: of["values"] for path, of in found.unequal.items()}
    assert values == {
        "passes": {"A": 1, "B": 2},
        "fill": {"A": None, "B": "mean"},
        "encoder.channels": {"A": 4, "B": 8},
        "data.points": {"A": 32, "B": 64},
        "steps": {"A": 20, "B": 40},
    }
    assert all(of["by_default"] == [] for of in found.unequal.values()) and found.advice == ""


def test_one_difference_is_what_is_compared(tmp_path: Path) -> None:
    found = terms(
        tmp_path, {"deep": bare({"name": "liif", "hidden": [8, 8]}), "flat": bare({"name": "liif", "hidden": [8]})}
    )
    assert found == Terms("decoder.hidden", {}, "")
    assert terms(tmp_path, {"alone": bare("liif")}).line() == ""


def test_conditions_that_one_has_are_one_line(tmp_path: Path) -> None:
    condition = {"encoder": ENCODER, "decoder": {"name": "liif", "skip": "none"}}
    found = terms(tmp_path, {"with": bare("liif", conditions={"other": condition}), "without": bare("liif")})
    assert found == Terms("conditions", {}, "")


def test_weights_from_elsewhere_say_what_they_are(tmp_path: Path) -> None:
    weights = small_model(skip="bilinear").save(tmp_path / "m.safetensors")
    found = terms(tmp_path, {"m": {"weights_only": str(weights)}, "no": {"weights_only": "no.pth"}, "LTE": bare("lte")})
    assert found.compared == "decoder" and "decoder.skip" not in found.unequal
    assert found.unequal["encoder.blocks"]["values"] == {"m": 2, "LTE": 1}
