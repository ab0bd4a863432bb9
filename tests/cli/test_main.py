"""The command as a whole: its table, its help, its errors."""

from __future__ import annotations

import inspect
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from implicitkit.cli import main
from implicitkit.cli.main import Plain, _OneLineWarnings, app, at_home, explain
from implicitkit.errors import UserError
from implicitkit.registry.commands import COMMANDS
from oracles import ROOT

MOST_PARAMETERS = 12
ALTERNATIVES = (
    {"scale", "size", "width", "height"},
    {"fit", "crop", "stretch"},
    {"scales", "bins"},
)  # one choice, read as one


def test_the_table_is_what_the_command_offers(run) -> None:
    assert set(COMMANDS) == {c.name for c in app.registered_commands} | {g.name for g in app.registered_groups}
    for flag in ("-h", "--help"):
        printed = run(flag).out
        assert all(f"  {name} " in printed for name in COMMANDS)
    assert run("upscale", "-h").out == run("upscale", "--help").out


def test_summaries_fit_a_terminal(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = run("--help").out.partition("Commands:\n")[2].splitlines()
    assert len(lines) == len(COMMANDS) and not any("..." in line or len(line) > 80 for line in lines)


def test_help_and_version_may_be_words(run) -> None:
    assert run("help", "upscale").out == run("upscale", "--help").out
    assert run("version").out == run("--version").out == run("-V").out and run("help").out == run("--help").out


@pytest.mark.parametrize("command", app.registered_commands, ids=lambda command: command.name)
def test_no_command_has_more_options_than_can_be_read(command) -> None:
    parameters = set(inspect.signature(inspect.unwrap(command.callback)).parameters)  # a table is one
    choices = sum(max(len(parameters & group) - 1, 0) for group in ALTERNATIVES)
    assert len(parameters) - choices <= MOST_PARAMETERS
    assert command.callback.__doc__


def test_errors_are_one_line_and_say_whether_the_user_can_help_it() -> None:
    assert explain(UserError("a\nb")) == ("a b", 2)
    assert explain(FileNotFoundError(2, "No such file", "x.png")) == ("x.png: No such file", 2)
    assert explain(MemoryError("1 GB"))[0].startswith("not enough memory: 1 GB; try")
    assert explain(RuntimeError("CUDA out of memory"))[1] == 2
    assert explain(typer.Abort()) == ("aborted", 130)
    assert explain(KeyError("x")) == ("KeyError: 'x' (run again with --debug for the traceback)", 1)


def test_debug_keeps_the_exit_code(run) -> None:
    done = run("upscale", "nowhere.png", "--debug")
    assert done.code == 2
    assert "Traceback" in done.err and done.err.splitlines()[-1] == "error: there is no file nowhere.png"


def test_a_shell_is_told_how_to_complete(tmp_path) -> None:
    environment = {"_IMPLICITKIT_COMPLETE": "complete_bash", "COMP_WORDS": "implicitkit eval", "COMP_CWORD": "1"}
    script = "import sys; sys.argv = ['implicitkit']; from implicitkit.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env={**environment})
    assert done.stdout.split() == ["evaluate"], done.stderr


def test_without_arguments_the_help_is_shown(run) -> None:
    done = run()
    assert done.code == 0 and "upscale" in done.out and len(done.out.splitlines()) > 10


class MuteError(Exception):
    """What cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no")


class NumberError(Exception):
    """Whose text is no text."""

    def __str__(self) -> str:
        return 1  # type: ignore[return-value]


def test_whatever_is_raised_has_a_line() -> None:
    assert explain(MuteError())[0].startswith("MuteError (run again")
    assert explain(NumberError())[0].startswith("NumberError (run again")
    assert explain(GeneratorExit("x")) == ("GeneratorExit: x (run again with --debug for the traceback)", 1)
    assert explain(RecursionError("maximum"))[0].startswith("something is nested too deeply, or holds itself")
    assert explain(OverflowError("int too big to convert")) == ("a number is too large (int too big to convert)", 2)
    assert len(explain(UserError("x" * 100_000))[0]) < 2000


@pytest.mark.parametrize(
    ("raised", "line"),
    [
        ("GeneratorExit('x')", "error: GeneratorExit: x (run again with --debug for the traceback)"),
        ("KeyboardInterrupt()", "interrupted"),
        ("type('Mine', (KeyboardInterrupt,), {})('x')", "error: Mine: x (run again with --debug for the traceback)"),
    ],
)
def test_what_is_no_exception_is_one_line(raised: str, line: str, run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise eval(raised)

    monkeypatch.setattr(main, "app", fail)
    assert run("list").err.splitlines() == [line]


@pytest.mark.parametrize("words", [["nan"], ["-"], ["info", "--spec"], ["upscale", "x.png", "--scale", "x"], ["train"]])
def test_mistakes_in_the_arguments_have_no_traceback(words: list[str], run) -> None:
    done = run(*words, "--debug")
    assert done.code == 2 and len(done.err.splitlines()) == 1 and done.errors


def test_the_name_of_a_file_does_not_steer_the_terminal(run, folder: Path) -> None:
    name = folder / "\x1b]0;owned\x07\x9b2J\u202e.png"
    (folder / "a.png").rename(name)
    done = run("degrade", name, "-o", folder / "out.png", "--spec", "noise")
    assert done.code == 0 and "\\x1b]0;owned\\x07\\x9b2J\\u202e.png" in done.out
    name.write_bytes(b"x")
    refused = run("upscale", name)
    assert "\\x1b]0;owned\\x07\\x9b2J\\u202e.png is a text file" in refused.err
    assert all(c.isprintable() or c == "\n" for c in done.out + done.err + refused.err)


@pytest.mark.slow
def test_what_others_log_and_threads_that_fail_stay_off_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text(
        "import logging, threading, sys, warnings\n"
        "logging.getLogger('theirs').warning('a line of theirs')\n"
        "thread = threading.Thread(target=lambda: 1 / 0)\nthread.start()\nthread.join()\n"
        "warnings.simplefilter('error')\nsys.stderr.close()\nraise GeneratorExit('early')\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
    environment["IMPLICITKIT_PLUGINS"] = "none,noisy"
    command = [sys.executable, "-m", "implicitkit", "info", "nothing"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 2, done.stderr
    thread, plugin, error = done.stderr.splitlines()
    assert thread == "warning: a thread ended with ZeroDivisionError: division by zero"
    assert plugin == "warning: plugin noisy (no distribution) failed to load: GeneratorExit: early"
    assert error.startswith("error: unknown model 'nothing'")


def test_a_stream_keeps_lines_and_what_progress_bars_write() -> None:
    kept = io.StringIO()
    stream = main.Plain(kept)
    stream.writelines(["a\tb\n", "\r50 %", "c\rd\x1b[A"])
    stream.close()
    assert kept.getvalue() == "a\tb\n\r50 %c\\rd\\x1b[A"


def test_a_tilde_that_the_shell_leaves_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    words = ["--output=~/x", "~/x", "~", "-o~/x", "~x", "a=~/x"]
    home = str(tmp_path)
    assert list(map(at_home, words)) == [f"--output={home}/x", f"{home}/x", home, "-o~/x", "~x", "a=~/x"]


def test_signs_that_a_code_page_lacks_are_spelled_out() -> None:
    raw = io.BytesIO()
    stream = Plain(io.TextIOWrapper(raw, encoding="ascii"))
    stream.write("a.png 36×30 → b…, caf\udce9 ≥ ж")
    stream.flush()
    assert raw.getvalue() == b"a.png 36x30 -> b..., caf? >= ?"


def test_a_warning_is_said_once_in_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    show = _OneLineWarnings()
    for text in ("first", "second\nline", "first"):
        show(UserWarning(text), UserWarning)
    assert capsys.readouterr().err.splitlines() == ["warning: first", "warning: second line"]


@pytest.mark.parametrize(
    ("words", "what"),
    [(["-o", ""], "-o"), (["--output="], "--output"), (["--name", " "], "--name"), ([""], "an argument")],
)
def test_an_empty_word_is_no_path(run, folder: Path, words: list[str], what: str, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    before = sorted(folder.iterdir())
    done = run("upscale", "a.png", "--scale", 1, *words)
    assert (done.code, done.errors) == (
        2,
        [f"error: {what} is empty; leave it out or give a value"],
    )
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("raised", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (type("Mine", (KeyboardInterrupt,), {})("x"), 1, "error: Mine: x (run again with --debug for the traceback)"),
    ],
)
def test_ctrl_c_within_a_command_is_said(raised: BaseException, code: int, line: str, run, monkeypatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr("implicitkit.registry.kinds.plugins.load", stop)
    done = run("list")
    assert (done.code, done.err.splitlines()) == (code, [line])


def test_a_command_of_a_plugin_that_is_not_here_says_what_to_install(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(main.COMMANDS_OF_PLUGINS, "waves", ("implicitkit-waves", "pip install it"))
    done = run("waves", "a.png")
    assert done.code == 2
    assert done.errors == [
        "error: waves comes with implicitkit-waves, which is not here (pip install it; implicitkit plugins lists what is)"
    ]


def test_the_commands_of_the_plugins_in_this_repository_are_known() -> None:
    text = (ROOT / "plugins" / "sair" / "implicitkit_sair" / "cli" / "__init__.py").read_text(encoding="utf-8")
    added = set(re.findall(r'app\.command\("([a-z-]+)"', text))
    assert added == set(main.COMMANDS_OF_PLUGINS) and not added & set(main.COMMANDS)


def test_an_error_of_the_system_names_the_file() -> None:
    assert explain(FileNotFoundError(2, "No such file or directory", "/proc/x")) == (
        "/proc/x: No such file or directory",
        2,
    )


@pytest.mark.parametrize(
    ("output", "why"), [("s3://b/x", "received the address s3://b/x"), ("~nobody.here/x", "nobody's home")]
)
def test_an_output_elsewhere_makes_no_folder_of_that_name(
    run, tmp_path: Path, output: str, why: str, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (("-o", output), (f"--output={output}",)):
        done = run("upscale", "a.png", *words)
        assert done.code == 2 and why in done.err and not list(tmp_path.iterdir())
