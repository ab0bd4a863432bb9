"""YAML files: limits, lines, and what they are not."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

import pytest

import implicitkit as ik
from implicitkit.config.documents import Document, apply_settings, check_command, load_yaml, located, parse, place
from implicitkit.config.validation import naming

LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, 12))
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{k}: &a{k} [*a{k - 1}]\n" for k in range(1, 99))
MERGED = "a0: &a0 {k: 1}\n" + "".join(f"a{k}: &a{k} {{<<: [{', '.join([f'*a{k - 1}'] * 9)}]}}\n" for k in range(1, 12))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: " + "[" * 5000 + "]" * 5000, "more than 60 levels inside each other"),
        ("a: " + "{b: " * 5000 + "}" * 5000, "more than 60 levels"),
        ("\n".join("  " * k + "a:" for k in range(200)), "line 60, column 119 .*more than 60 levels"),
        ("a: &a\n  b: *a", "line 1, column 4 .*holds itself"),
        ("&a [*a]", "holds itself"),
        (LAUGHS, "more than 50,000 entries"),
        (MERGED, "more than 50,000 entries"),
        (CHAIN, "more than 60 levels"),
        ("a: " + "x" * 600_000, "600,003 characters; a configuration has at most 500,000"),
        ("steps: 1\nbatch: 2\nsteps: 3", "line 3, column 1 .*'steps' is given twice, first in line 1"),
        ("a: !!set {b}", "line 1, column 4 .*could not determine a constructor"),
        ("a: " + "9" * 5000, "not YAML that can be used"),
    ],
)
def test_what_would_cost_much_is_refused_at_once(text: str, message: str) -> None:
    start = time.monotonic()
    with pytest.raises(ik.ConfigError, match=message) as error:
        parse(text, "c.yaml")
    assert "\n" not in str(error.value) and len(str(error.value)) < 300
    assert time.monotonic() - start < 20


def test_aliases_and_dates() -> None:
    value, places = parse("a: &a {b: 1}\nc:\n  <<: *a\n  d: 2020-01-01\ne: [*a, *a]", "c.yaml")
    assert value == {"a": {"b": 1}, "c": {"b": 1, "d": "2020-01-01"}, "e": [{"b": 1}, {"b": 1}]}
    assert places["c", "d"] == "line 4" and places["c", "b"] == "line 1"


def test_where_an_entry_stands() -> None:
    document = Document(*parse("data:\n  patch: 3\ndegradation:\n  name: blur", "c.yaml"))
    assert place(document, ("data", "patch")) == "line 2"
    assert place(document, ("data", "ptach")) == "line 1"
    assert place(document, ("degradation", 0, "name")) == "line 4"  # one is a list of one
    assert place(document, ("steps",)) == "" and place({}, ("data",)) == ""
    apply_settings(document, ["model.encoder.blocks=3"])
    assert place(document, ("model", "encoder", "blocks")) == "--set"


def test_an_error_of_a_part_names_file_and_line() -> None:
    document = Document(*parse("model:\n  encoder:\n    name: esdr", "c.yaml"))
    expected = pytest.raises(ik.ConfigError, match=r"^c.yaml, line 2: model.encoder: no$")
    with expected, located(document, "c.yaml"), naming("model.encoder"):
        raise ValueError("no")
    with pytest.raises(ik.ConfigError, match="^no$"), located(document, "c.yaml"):
        raise ik.ConfigError("no")


def test_a_configuration_says_which_command_it_is_of() -> None:
    train, comparison = {"model": 1, "degradation": 2}, {"base": 1, "methods": 2}
    check_command(train, "train", "c.yaml")
    check_command({"steps": 1}, "train", "c.yaml")
    with pytest.raises(ik.ConfigError, match="c.yaml is a configuration of `implicitkit compare`; run"):
        check_command(comparison, "train", "c.yaml")
    with pytest.raises(ik.ConfigError, match="c.yaml is a configuration of `implicitkit train`; run"):
        check_command(train, "compare", "c.yaml")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "c.yaml")
    for path in (tmp_path / "c.yaml", tmp_path, Path("/dev/zero")):
        with pytest.raises(ik.ConfigError, match="not a file|Is a directory|is a device"):
            load_yaml(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", "010"),  # 8 in YAML 1.1
        ("1:30", "1:30"),  # 90
        ("1:30.5", "1:30.5"),
        ("1.2.3", "1.2.3"),
        ("2.5D", "2.5D"),
        ("1e3x", "1e3x"),
        ("1_000", 1000),
        ("0x10", 16),
        ("-0", 0),
        ("1e-4", 1e-4),
        ("1_0.5", 10.5),
        ("-.inf", -math.inf),
    ],
)
def test_a_number_means_what_it_says(text: str, value: object) -> None:
    parsed = parse(text, "c.yaml")[0]
    assert parsed == value and type(parsed) is type(value)


@pytest.mark.parametrize(
    ("text", "what"),
    [("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"), ("<html>", "a web page")],
)
def test_a_file_that_stands_for_another_is_named(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ik.ConfigError, match=f"c.yaml is {what}, not the file itself"):
        load_yaml(tmp_path / "c.yaml")
