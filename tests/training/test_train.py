"""Training in one call from Python."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

import implicitkit as ik
from implicitkit.config import TrainConfig, validate
from oracles.runs import identical, settings, weights


def test_a_file_a_dict_and_a_config_are_one_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entries = settings(tmp_path / "dict", steps=2)
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(entries))
    result = ik.train(entries)
    assert "training 3,259 parameters on" in capsys.readouterr().err
    others = [
        ik.train(tmp_path / "c.yaml", output=tmp_path / "file", show=False),
        ik.train(validate(TrainConfig, entries, ""), output=tmp_path / "config", show=False),
    ]
    assert all(identical(weights(result.folder), weights(other.folder)) for other in others)
    assert result.best.is_file() and result.scores.keys() == {"psnr", "psnr_x2"} and result.curve.steps == [2]
    assert isinstance(result.load(), ik.ImplicitModel)
    assert repr(result).startswith(f"TrainingResult({result.folder}, 2 steps, psnr ")
    with pytest.raises(ValueError, match="which is 'best' or 'last'"):
        result.load("first")


def test_settings_replace_entries(tmp_path: Path) -> None:
    entries = settings(tmp_path / "run", steps=2)
    result = ik.train(entries, settings={"optimiser.lr": 1e-30, "model.decoder.hidden": [4]}, show=False)
    assert result.config.optimiser.lr == 1e-30 and entries["optimiser"]["lr"] == 1e-3
    assert result.load("last").decoder.spec["hidden"] == [4]


def test_any_torch_dataset_may_be_trained_on(tmp_path: Path) -> None:
    class Noise(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 3

        def __getitem__(self, k: int) -> torch.Tensor:
            return torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(k))

    entries = settings(tmp_path / "run", steps=2)
    result = ik.train(entries, dataset=Noise(), show=False)
    assert result.history[0]["pictures"] == 2  # one is held out
    with pytest.raises(ik.UserError, match="this run's dataset was given in Python; pass it again"):
        ik.train(result.folder / "config.yaml", settings={"steps": 3}, resume=True, show=False)
    longer = ik.train(result.folder / "config.yaml", settings={"steps": 3}, dataset=Noise(), resume=True, show=False)
    assert longer.steps == 3


def test_what_is_no_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ik.ConfigError, match="a configuration is a file, a mapping or a TrainConfig; received int"):
        ik.train(5)  # type: ignore[arg-type]
    with pytest.raises(ik.ConfigError, match=r"config: data\.folders: required, but not given"):
        ik.train(settings(tmp_path / "run", data={"folders": []}))
    with pytest.raises(ik.ConfigError, match="holds numbers, texts, lists and mappings; received Tensor"):
        ik.train({"model": torch.zeros(1)})
