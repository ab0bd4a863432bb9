"""The documentation says what is so."""

import inspect
import re
import runpy
from pathlib import Path

import pytest
import yaml

import implicitkit as ik
from implicitkit import testing
from implicitkit.cli.main import app
from implicitkit.config import OptimiserConfig, TrainConfig, as_training, load_yaml, validate
from implicitkit.config.comparison import CompareConfig, with_training_base
from implicitkit.registry.kinds import plugins
from implicitkit.registry.plugins import HOOKS, STRICT_VARIABLE, VARIABLE
from oracles import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)


def test_ci_runs_exactly_the_readmes_test_command() -> None:
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert BLOCKS[1].strip() in ci


def test_the_first_command_names_a_photo_that_is_there() -> None:
    (photo,) = re.findall(r"upscale (\S+)", BLOCKS[0])
    assert (ROOT / photo).is_file()


def test_every_command_is_in_the_readme() -> None:
    names = {c.name for c in app.registered_commands} | {g.name for g in app.registered_groups}
    names.remove("config-schema")
    assert names <= set(re.findall(r"implicitkit (\w+)", README))
    assert "config-schema" in README


@pytest.mark.parametrize("kind", ["encoders", "decoders", "degradations"])
def test_every_built_in_part_is_in_the_readme(kind: str) -> None:
    for name in getattr(ik, f"list_{kind}")():
        assert f"`{name}`" in README


def test_python_examples_use_promised_names_only() -> None:
    code = "".join(re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL))
    assert set(re.findall(r"\bik\.(\w+)", code)) <= set(ik.__all__)


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert link.startswith("https://") or (ROOT / link).exists(), link


@pytest.mark.parametrize(
    "page",
    [
        *("compose.md", "concepts.md", "degradations.md", "evaluate.md", "inpaint.md", "losses.md", "metrics.md"),
        *("pictures.md", "quickstart.md", "training.md", "video.md", "volumes.md"),
    ],
)
def test_the_examples_of_a_page_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    names: dict[str, object] = {}
    plugins.load()
    before = {hook: registry.names() for hook, registry in plugins.registries.items()}
    try:
        for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
            exec(compile(block, page, "exec"), names)
    finally:
        for hook, registry in plugins.registries.items():
            registry.discard(set(registry.names()) - set(before[hook]))


def test_the_commands_of_the_quickstart_are_what_there_is() -> None:
    text = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
    names = {c.name for c in app.registered_commands} | {g.name for g in app.registered_groups}
    used = re.findall(r"^implicitkit ([\w-]+)", text, flags=re.MULTILINE)
    assert len(used) >= 6 and set(used) <= names


def test_the_keys_and_losses_of_training_are_documented(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    for key in (*OptimiserConfig.model_fields, "accumulate", "ema", "window", "points"):
        assert re.search(rf"[`.]{key}[`:]", page), key
    for name in set(ik.list_losses()) - {"l1", "l2", "charbonnier"}:
        assert f"| `{name}` |" in page
    base = load_yaml(ROOT / "configs" / "liif_small.yaml")
    blocks = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    plain = [block for block in blocks if not block.startswith("base:")]
    assert len(plain) == 3 and len(blocks) == 5
    for block in plain:
        validate(TrainConfig, {**base, **yaml.safe_load(block)}, "docs/training.md")
    (tmp_path / "mine.yaml").write_text(plain[0])
    child, comparison = (block for block in blocks if block.startswith("base:"))
    (tmp_path / "child.yaml").write_text(child)
    assert as_training(tmp_path / "child.yaml").model.decoder.name == "lte"
    begun = with_training_base(yaml.safe_load(comparison), tmp_path, "docs/training.md")
    rows = {**begun, "evaluation": {"protocol": "plain", "data": "x"}, "output": str(tmp_path)}
    assert list(validate(CompareConfig, rows, "docs/training.md").methods) == ["LIIF lr=0.0001", "LIIF lr=0.001"]


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == ik.__version__


def test_every_public_name_has_an_example() -> None:
    names = {f"ik.{name}": getattr(ik, name) for name in ik.__all__ if name not in ("__version__", "hookimpl")}
    names |= {f"testing.{name}": getattr(testing, name) for name in testing.__all__}
    assert not [name for name, thing in names.items() if ">>> " not in (inspect.getdoc(thing) or "")]


def test_every_public_name_is_documented() -> None:
    make_api = runpy.run_path(str(ROOT / "docs" / "make_api.py"))
    assert (ROOT / "docs" / "api.md").read_text(encoding="utf-8") == make_api["page"]()


def test_no_public_name_and_no_argument_changes_unseen() -> None:
    now = runpy.run_path(str(ROOT / "docs" / "make_api.py"))["snapshot"]().splitlines()
    promised = (ROOT / "docs" / "public_api.txt").read_text(encoding="utf-8").splitlines()
    changes = [f"+ {line}" for line in now if line not in promised] + [
        f"- {line}" for line in promised if line not in now
    ]
    assert not changes, "the public names differ from docs/public_api.txt; if that is meant, run docs/make_api.py"


def test_changes_are_of_a_kind_that_the_changelog_has() -> None:
    for file in (ROOT / "changes").iterdir():
        assert file.name == "README.md" or file.suffixes[-2] in (".added", ".changed", ".fixed", ".removed"), file.name
        assert file.read_text(encoding="utf-8").strip(), file.name


def test_every_hook_and_registry_is_in_the_plugins_page() -> None:
    page = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    for hook in HOOKS:
        assert f"`{hook}(" in page
    for hook in plugins.registries:
        assert f"`{hook.removeprefix('register_')}`" in page
    for name in (VARIABLE, STRICT_VARIABLE, *(f"{check}(" for check in testing.__all__)):
        assert f"`{name}" in page


def test_the_page_of_keys_is_current_and_every_key_has_a_meaning() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "make_config.py"))
    page = (ROOT / "docs" / "config.md").read_text(encoding="utf-8")
    assert page == made["page"](), "run python docs/make_config.py"
    for key, takes, default, meaning in made["rows_of"](TrainConfig):
        assert meaning and default and takes, key
