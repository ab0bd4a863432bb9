"""The command as a whole: its table, its help, its errors."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest
import typer

from implicitkit.cli.main import app, explain
from implicitkit.errors import UserError
from implicitkit.registry.commands import COMMANDS

MOST_PARAMETERS = 12


def test_the_table_is_what_the_command_offers(run) -> None:
    assert set(COMMANDS) == {c.name for c in app.registered_commands} | {g.name for g in app.registered_groups}
    for flag in ("-h", "--help"):
        printed = run(flag).out
        assert all(f"  {name} " in printed for name in COMMANDS)
    assert run("upscale", "-h").out == run("upscale", "--help").out


@pytest.mark.parametrize("command", app.registered_commands, ids=lambda command: command.name)
def test_no_command_has_more_options_than_can_be_read(command) -> None:
    assert len(inspect.signature(command.callback).parameters) <= MOST_PARAMETERS
    assert command.callback.__doc__


def test_errors_are_one_line_and_say_whether_the_user_can_help_it() -> None:
    assert explain(UserError("a\nb")) == ("a b", 2)
    assert explain(FileNotFoundError(2, "No such file", "x.png")) == ("[Errno 2] No such file: 'x.png'", 2)
    assert explain(MemoryError("1 GB"))[0].startswith("not enough memory: 1 GB; try")
    assert explain(RuntimeError("CUDA out of memory"))[1] == 2
    assert explain(typer.Abort()) == ("aborted", 130)
    assert explain(KeyError("x")) == ("KeyError: 'x' (run again with --debug for the traceback)", 1)


def test_debug_keeps_the_exit_code() -> None:
    command = [sys.executable, "-m", "implicitkit", "upscale", "nowhere.png", "--debug"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "Traceback" in done.stderr and done.stderr.splitlines()[-1] == "error: there is no file nowhere.png"


def test_a_shell_is_told_how_to_complete(tmp_path) -> None:
    environment = {"_IMPLICITKIT_COMPLETE": "complete_bash", "COMP_WORDS": "implicitkit eval", "COMP_CWORD": "1"}
    script = "import sys; sys.argv = ['implicitkit']; from implicitkit.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env={**environment})
    assert done.stdout.split() == ["evaluate"], done.stderr


def test_without_arguments_the_help_is_shown(run) -> None:
    done = run()
    assert done.code == 0 and "upscale" in done.out and len(done.out.splitlines()) > 10
