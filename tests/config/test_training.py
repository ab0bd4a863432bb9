from pathlib import Path
from typing import Any

import pytest
import yaml

import implicitkit as ik
from implicitkit.config import TrainConfig, apply_settings, json_schema, load_yaml, validate
from oracles import ROOT

MINIMAL: dict[str, Any] = {
    "model": {"encoder": "edsr_baseline", "decoder": "liif"},
    "data": {"folders": ["x"]},
    "degradation": {"name": "super_resolution", "scale": [1, 4]},
    "output": "runs/x",
    "steps": 10,
}


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda p: p.name)
def test_every_shipped_config_is_valid(path: Path) -> None:
    config = validate(TrainConfig, load_yaml(path), path.name)
    again = validate(TrainConfig, yaml.safe_load(yaml.safe_dump(config.model_dump(mode="json"))), "again")
    assert again == config  # what a run directory stores reads back as it was


def test_the_papers_settings_are_the_defaults() -> None:
    config = validate(TrainConfig, MINIMAL, "c")
    assert (config.batch, config.data.patch, config.data.points) == (16, 48, 2304)
    assert (config.optimiser.lr, config.optimiser.gamma, config.optimiser.milestones) == (
        1e-4,
        0.5,
        [0.2, 0.4, 0.6, 0.8],
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["data.ptach=3"], r"data\.ptach: unknown key \(received 3\); did you mean 'patch'\?"),
        (["optimizer.lr=1"], r"optimizer: unknown key .*did you mean 'optimiser'"),
        (["steps=many"], r"steps: input should be a valid integer.*\(received 'many'\)"),
        (["steps=0"], r"steps: .*greater than or equal to 1 and at most 1,000,000,000 \(received 0\)"),
        (
            ["optimiser.schedule=linear"],
            r"optimiser\.schedule: unknown schedule 'linear'.*registered: constant, cosine",
        ),
        (["validation.scales=[0.5]"], r"validation\.scales: scales are at least 1"),
        (["model.encoder=null"], r"model\.encoder: "),
        (["steps"], "--set takes key.sub=value; received 'steps'"),
        (["steps.x=1"], "'steps' holds 10, which has no entries"),
        (["a..b=1"], "received 'a..b=1'"),
    ],
)
def test_mistakes_name_path_value_and_nearest_key(settings: list[str], message: str) -> None:
    with pytest.raises(ik.ConfigError, match=message):
        validate(TrainConfig, apply_settings(yaml.safe_load(yaml.safe_dump(MINIMAL)), settings), "c.yaml")


def test_settings_reach_into_parts_given_by_name() -> None:
    config = apply_settings(
        {"model": {"encoder": "edsr"}}, ["model.encoder.blocks=3", "optimiser.lr=1e-3", "a.b=[1, 2]"]
    )
    assert config == {
        "model": {"encoder": {"name": "edsr", "blocks": 3}},
        "optimiser": {"lr": 0.001},
        "a": {"b": [1, 2]},
    }


def test_a_full_stop_in_a_key_is_explained() -> None:
    with pytest.raises(
        ik.ConfigError, match=r"'data\.patch': a key cannot hold a full stop; write 'patch' as an entry inside 'data'"
    ):
        validate(TrainConfig, {**MINIMAL, "data.patch": 3}, "c")


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    with pytest.raises(ik.ConfigError, match="there is no file"):
        load_yaml(path)
    path.write_text("a: [1\nb: 2")
    with pytest.raises(ik.ConfigError, match="line 2.*is not YAML"):
        load_yaml(path)
    path.write_text("- 1")
    with pytest.raises(ik.ConfigError, match="received list"):
        load_yaml(path)
    path.write_text("!!python/object/apply:os.system ['echo no']")
    with pytest.raises(ik.ConfigError, match="is not YAML"):
        load_yaml(path)


def test_the_schema_describes_every_key() -> None:
    schema = json_schema()
    assert {"base", *TrainConfig.model_fields} == set(schema["properties"])
    assert schema["$defs"]["DataConfig"]["additionalProperties"] is False
