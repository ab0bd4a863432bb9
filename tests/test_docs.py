"""The documentation says what is so."""

import re

import pytest
from support import ROOT

import implicitkit as ik
from implicitkit.cli.main import app

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)


def test_ci_runs_exactly_the_readmes_test_command() -> None:
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert BLOCKS[1].strip() in ci


def test_the_first_command_names_a_photo_that_is_there() -> None:
    (photo,) = re.findall(r"upscale (\S+)", BLOCKS[0])
    assert (ROOT / photo).is_file()


def test_every_command_is_in_the_readme() -> None:
    names = {c.name for c in app.registered_commands} - {"config-schema"}
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


def test_the_examples_of_the_concepts_page_run() -> None:
    page = (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8")
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL):
        exec(compile(block, "docs/concepts.md", "exec"), names)
