"""From a configuration to runs, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

import implicitkit as ik
from implicitkit.comparison.plan import make_plan
from implicitkit.files import ASSETS
from implicitkit.nested import fill_in
from oracles.comparisons import checked, tiny


def test_every_method_and_seed_is_a_whole_run(tmp_path: Path) -> None:
    plan = make_plan(checked(tiny(tmp_path)))
    assert [run.name for run in plan.ordered()] == ["LIIF/seed-0", "LTE/seed-0", "LIIF/seed-1", "LTE/seed-1"]
    run = plan.rows["LTE"][1]
    assert run.config.seed == 1 and run.config.output == tmp_path / "runs" / "LTE" / "seed-1"
    assert run.config.data.folders == [tmp_path / "pictures" / "train"]
    assert run.config.optimiser.lr == 2e-3 and run.config.optimiser.schedule.name == "constant"  # merged
    assert run.config.model.decoder.as_dict() == {"name": "lte", "hidden": [8, 8]}
    assert run.weights == run.folder / "best.safetensors"  # a picture is held out
    nothing_held_out = tiny(tmp_path)
    nothing_held_out["base"]["data"]["held_out"] = 0
    assert make_plan(checked(nothing_held_out)).rows["LTE"][0].weights.name == "last.safetensors"


def test_a_loss_and_a_degradation_replace_those_of_base(tmp_path: Path) -> None:
    settings = tiny(tmp_path)
    settings["methods"]["LTE"]["loss"] = [{"name": "l2"}]
    settings["methods"]["LTE"]["degradation"] = {"name": "noise", "sigma": 10}
    config = make_plan(checked(settings)).rows["LTE"][0].config
    assert [term.name for term in config.loss] == ["l2"] and config.degradation_spec == {"name": "noise", "sigma": 10}


def test_a_model_may_be_named(tmp_path: Path) -> None:
    settings = tiny(tmp_path)
    settings["methods"]["LTE"]["model"] = "lte_edsr_baseline"
    assert make_plan(checked(settings)).rows["LTE"][0].config.model.decoder.name == "lte"
    settings["methods"]["LTE"]["model"] = "lte_edsr_basline"
    with pytest.raises(ik.UnknownNameError, match="lte_edsr_baseline"):
        make_plan(checked(settings))


def test_a_stage_comes_first_and_is_trained_once_for_all(tmp_path: Path) -> None:
    settings = tiny(tmp_path)
    settings["stages"] = {"begin": {"model": settings["methods"]["LIIF"]["model"], "steps": 5}}
    for method in settings["methods"].values():
        method |= {"first": "begin", "weights": {"encoder": "{first}"}}
    plan = make_plan(checked(settings))
    names = [run.name for run in plan.ordered()]
    assert names.count("begin/seed-0") == 1 and names.index("begin/seed-0") < names.index("LTE/seed-0")
    run = plan.rows["LTE"][1]
    assert run.after is not None and run.after.config.steps == 5
    assert run.config.weights == {"encoder": str(tmp_path / "runs" / "begin" / "seed-1" / "best.safetensors")}


def test_a_stage_of_one_method_is_written_inside_it(tmp_path: Path) -> None:
    settings = tiny(tmp_path)
    own = settings["methods"]["LIIF"]
    own |= {"first": {"model": own["model"], "steps": 7}, "weights": "{first}", "seeds": [3]}
    plan = make_plan(checked(settings))
    (run,) = plan.rows["LIIF"]
    assert (
        run.after is not None and run.after.name == "LIIF first/seed-3" and run.config.weights == str(run.after.weights)
    )
    assert [r.name for r in plan.ordered(["LIIF/seed-3"])] == ["LIIF first/seed-3", "LIIF/seed-3"]
    assert [r.name for r in plan.ordered(["LTE"])] == ["LTE/seed-0", "LTE/seed-1"]


def test_what_was_trained_elsewhere_has_no_runs(tmp_path: Path) -> None:
    settings = tiny(tmp_path)
    settings["methods"]["given"] = {"weights_only": "{output}/mine.safetensors"}
    plan = make_plan(checked(settings))
    (given,) = plan.rows["given"]
    assert given.weights == f"{tmp_path}/mine.safetensors" and list(plan.rows) == ["LIIF", "LTE", "given"]
    settings["methods"]["given"]["steps"] = 3
    with pytest.raises(ik.ConfigError, match="weights_only stands alone"):
        checked(settings)


def test_the_weights_of_another_methods_run(tmp_path: Path) -> None:
    settings = tiny(tmp_path)
    settings["methods"] = {"twice": {"weights_only": "LTE/seed-1", "passes": 2}, **settings["methods"]}
    plan = make_plan(checked(settings))
    (given,), run = plan.rows["twice"], plan.rows["LTE"][1]
    assert given.run == run and given.weights == run.weights and given.passes == 2 and not given.finished
    assert given.missing == "takes the weights of LTE/seed-1, which is not trained yet"
    assert list(plan.rows) == ["twice", "LIIF", "LTE"]
    settings["methods"]["twice"]["weights_only"] = "LTE/seed-7"
    with pytest.raises(
        ik.ConfigError, match=r"twice: weights_only: there is neither a file nor a run 'LTE/seed-7'; .*"
    ):
        make_plan(checked(settings))


def test_another_folder_moves_everything(tmp_path: Path) -> None:
    plan = make_plan(checked(tiny(tmp_path / "b")))
    assert plan.config.output == tmp_path / "b" and plan.config.prepare[0].makes == f"{tmp_path}/b/pictures"
    assert plan.config.evaluation["inpainting"].data == f"{tmp_path}/b/pictures/test"
    assert plan.rows["LIIF"][0].folder.is_relative_to(tmp_path / "b")


def test_texts_are_filled_in_anywhere() -> None:
    names = {"output": "o", "assets": "a"}
    assert fill_in({"x": ["{output}/{assets}", 3, {"y": "{output}"}], "z": None}, names) == {
        "x": ["o/a", 3, {"y": "o"}],
        "z": None,
    }
    assert make_plan(checked(tiny(Path("o"), notes="{assets}"))).config.notes == str(ASSETS)


def test_a_run_that_does_not_hold_names_its_method(tmp_path: Path) -> None:
    settings = tiny(tmp_path)
    settings["methods"]["LTE"]["optimiser"] = {"lr": -1}
    with pytest.raises(
        ik.ConfigError, match=r"methods.LTE.optimiser.lr: should be a number from 0 to 1,000 .received -1."
    ):
        make_plan(checked(settings))


def test_only_names_what_is_there(tmp_path: Path) -> None:
    plan = make_plan(checked(tiny(tmp_path)))
    assert [run.name for run in plan.ordered(["LTE", "LIIF/seed-1"])] == ["LTE/seed-0", "LIIF/seed-1", "LTE/seed-1"]
    with pytest.raises(ik.ConfigError, match=r"no method or run 'LTE/seed-5'; did you mean 'LTE/seed-"):
        plan.ordered(["LTE/seed-5"])


def test_options_of_a_method_are_those_of_its_validation_too(tmp_path: Path) -> None:
    settings = tiny(tmp_path)
    settings["methods"]["LTE"]["options"] = {"temperature": 0.5}
    plan = make_plan(checked(settings))
    assert plan.rows["LTE"][0].options == {"temperature": 0.5} == plan.rows["LTE"][0].config.validation.options
    assert plan.rows["LIIF"][0].options == {} == plan.rows["LIIF"][0].config.validation.options
