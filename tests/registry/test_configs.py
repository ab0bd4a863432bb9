"""Configurations are found by name, in a clone and in what is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

import implicitkit as ik
from implicitkit.files import shipped_folder
from implicitkit.registry import configs
from implicitkit.registry.configs import find_config, shipped_configs
from implicitkit.registry.registry import Owner
from oracles import ROOT


def test_every_file_has_a_name_a_command_and_a_summary() -> None:
    shipped = {(config.command, config.name): config for config in shipped_configs()}
    files = {("train", p.stem): p for p in (ROOT / "configs").glob("*.yaml")}
    files |= {("compare", p.stem): p for p in (ROOT / "configs" / "compare").glob("*.yaml")}
    assert {key: config.file for key, config in shipped.items()} == files
    assert all(config.summary and str(config.owner).startswith("implicitkit") for config in shipped.values())


def test_a_file_is_itself_and_a_name_is_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_config("liif_small", "train") == ROOT / "configs" / "liif_small.yaml"
    monkeypatch.chdir(tmp_path)
    Path("liif_small").write_text("a: 1")
    assert find_config("liif_small", "train") == Path("liif_small")
    assert find_config("none.yaml", "train") == Path("none.yaml")  # load_yaml says that it is not there
    with pytest.raises(ik.ConfigError, match=r"no configuration of that name; did you mean 'liif_small'\?"):
        find_config("liif_smal", "train")
    with pytest.raises(ik.ConfigError, match="is a configuration for `implicitkit compare`"):
        find_config("quick_liif_lte", "train")


def test_two_of_one_name_are_told_apart_by_their_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel has its configurations inside the package."""
    packages = {}
    for name in ("one", "two"):
        (tmp_path / name / "configs").mkdir(parents=True)
        (tmp_path / name / "configs" / "mine.yaml").write_text("# Of a wheel.\nsteps: 1\n")
        packages[tmp_path / name] = Owner(name, "1")
    monkeypatch.setattr(configs.plugins, "packages", lambda: packages)
    assert [config.summary for config in shipped_configs()] == ["Of a wheel", "Of a wheel"]
    with pytest.raises(ik.ConfigError, match="several configurations are called mine"):
        find_config("mine", "train")


def test_a_folder_beside_a_package_counts_in_a_clone_alone(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (tmp_path / "configs").mkdir()
    assert shipped_folder("configs", package) == package / "configs"  # site-packages/configs is someone else's
    (tmp_path / "pyproject.toml").touch()
    assert shipped_folder("configs", package) == tmp_path / "configs"
