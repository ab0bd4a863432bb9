"""The ``implicitkit`` command: one module per sub-command, imported without torch."""

from __future__ import annotations

import codecs
import importlib
import io
import logging
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr, redirect_stdout
from itertools import pairwise
from pathlib import Path
from typing import IO, Annotated, Any, cast

import typer
from typer.core import TyperGroup

from implicitkit.errors import UserError, describe, one_line, text_of, without_controls
from implicitkit.files import ADDRESS, home
from implicitkit.registry.commands import COMMANDS, COMMANDS_OF_PLUGINS
from implicitkit.version import __version__


class Interrupted(BaseException):
    """Carries a ``KeyboardInterrupt``, its cause, past typer, which would end with code 130 and say nothing."""


class Commands(TyperGroup):
    """All commands."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that the words name."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stopped:
            raise Interrupted from stopped


app = typer.Typer(
    name="implicitkit",
    cls=Commands,
    help="Pictures as continuous functions: upscale to any size, train, evaluate. Any command takes --debug.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
OPTION = re.compile(r"--[a-z][a-z-]*=")
SPELLED_OUT = "implicitkit.spelled_out"
"""The way of encoding what a stream's code page lacks: ``×`` as ``x``, other signs as ``?``."""
SPELLINGS = {"×": "x", "…": "...", "→": "->", "–": "-", "—": "-", "≤": "<=", "≥": ">=", "·": "*"}
PLUGIN_APPS: list[typer.Typer] = []  # added to ours


def _add_commands() -> None:
    """Add the commands of the table to :data:`app`; a module's ``Parser`` parses its arguments."""
    for name, place in COMMANDS.items():
        module_name, _, attribute = place.partition(":")
        module = importlib.import_module(module_name)
        command = getattr(module, attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, short_help=str(command.info.help))
        else:
            app.command(name, cls=getattr(module, "Parser", None), short_help=summary_of(command))(command)


def summary_of(command: Callable[..., Any] | None) -> str:
    """The first line of a command's docstring: whole in the list of commands, where a sentence would be cut."""
    return (getattr(command, "__doc__", None) or "").strip().partition("\n")[0]


_add_commands()


def _print_version(show: bool) -> None:
    if show:
        typer.echo(f"implicitkit {__version__}")
        raise typer.Exit()


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    """Options of the whole command."""


def main() -> None:
    """Run the command line; an error that the user can correct is one line on stderr and exit code 2."""
    arguments = [at_home(word) for word in spelled([a for a in sys.argv[1:] if a != "--debug"])]
    debug = "--debug" in sys.argv[1:]
    with redirect_stdout(cast(IO[str], Plain(sys.stdout))), redirect_stderr(cast(IO[str], Plain(sys.stderr))):
        sys.exit(_run(arguments or ["--help"], debug))


def spelled(words: list[str]) -> list[str]:
    """The words as options that others write as a command: ``help upscale`` is ``upscale --help``.

    >>> spelled(["help", "upscale"]), spelled(["version"])
    (['upscale', '--help'], ['--version'])
    """
    if words[:1] == ["help"]:
        return [*words[1:], "--help"]
    return ["--version"] if words in (["version"], ["-V"]) else words


def check_words(words: list[str]) -> None:
    """Raise :class:`UserError` for words that as paths would mean another place than they say: an empty one, which is
    the current folder; and as ``--output`` an address, or the home folder of nobody.

    >>> check_words(["upscale", "a.png", "-o", "b.png"])
    """
    for before, word in pairwise(["", *words]):
        option, _, value = word.partition("=") if OPTION.match(word) else (before, "", word)
        if not value.strip():
            what = option if option.startswith("-") else "an argument"
            raise UserError(f"{what} is empty; leave it out or give a value")
        if option in ("-o", "--output"):
            if ADDRESS.match(value):
                raise UserError(f"--output is a folder or file of this machine; received the address {value}")
            home(value)


def at_home(word: str) -> str:
    """A word with the home folder in place of ``~/``, also where the shell leaves it: ``--output=~/x``.

    >>> at_home("--output=~/x") == f"--output={Path.home() / 'x'}", at_home("--set=output=~/x")
    (True, '--set=output=~/x')
    """
    option, path = word.split("=", 1) if OPTION.match(word) else ("", word)
    if path != "~" and not path.startswith("~/"):
        return word
    return f"{option}{option and '='}{Path(path).expanduser()}"


def _run(arguments: list[str], debug: bool) -> int:
    """Run one command; return its exit code."""
    warnings.showwarning = _OneLineWarnings()
    threading.excepthook = _one_line_failure
    if not debug and not logging.getLogger().handlers:  # what other libraries log; we say what is to be said
        logging.getLogger().addHandler(logging.NullHandler())
    try:
        check_words(arguments)
        if arguments[0] not in (*COMMANDS, "--version"):  # perhaps a plugin's command
            add_plugin_commands()
        check_installed(arguments[0])
        return int(app(arguments, standalone_mode=False) or 0)
    except BaseException as raised:  # a plugin may raise what is no Exception
        error = raised.__cause__ if isinstance(raised, Interrupted) and raised.__cause__ else raised
        if isinstance(error, SystemExit) and (arguments[0] not in COMMANDS or _fault(error) is None):
            raise
        if type(error) is KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            return 130
        if debug and not hasattr(error, "format_message"):  # a mistake in the arguments has no interesting traceback
            traceback.print_exc()
        text, code = explain(error)
        typer.echo(f"error: {text}", err=True)
        return code


def check_installed(name: str) -> None:
    """Raise :class:`UserError` for a command of a plugin that is not here.

    >>> check_installed("upscale")
    """
    if name in COMMANDS_OF_PLUGINS and name not in [command.name for command in app.registered_commands]:
        plugin, how = COMMANDS_OF_PLUGINS[name]
        raise UserError(f"{name} comes with {plugin}, which is not here ({how}; implicitkit plugins lists what is)")


def add_plugin_commands() -> None:
    """Add the plugins' sub-commands to :data:`app`."""
    from implicitkit.registry.kinds import plugins as loaded

    loaded.load()
    for plugin in loaded.loaded:
        if plugin.commands is not None and plugin.commands not in PLUGIN_APPS:
            for command in plugin.commands.registered_commands:
                command.short_help = command.short_help or command.help or summary_of(command.callback)
            app.registered_commands += plugin.commands.registered_commands
            app.registered_groups += plugin.commands.registered_groups
            PLUGIN_APPS.append(plugin.commands)


def _spell_out(error: UnicodeError) -> tuple[str, int]:
    """What to write in place of signs that cannot be encoded."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(SPELLINGS.get(sign, "?") for sign in error.object[error.start : error.end]), error.end


codecs.register_error(SPELLED_OUT, _spell_out)


class Plain:
    """A stream on which no file's name can steer the terminal, no code page stops a run and no plugin hangs up.

    Rich's progress display writes to the stream within.
    """

    def __init__(self, stream: Any) -> None:
        self.stream: Any = stream
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=SPELLED_OUT)

    def write(self, text: str) -> int:
        """Write ``text`` with its control characters as escapes."""
        self.stream.write(without_controls(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each line."""
        for line in lines:
            self.write(line)

    def close(self) -> None:
        """Flush; messages may follow."""
        self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def explain(error: BaseException) -> tuple[str, int]:
    """The one line for an error, and the exit code: 2 if the user can correct it."""
    if hasattr(error, "format_message"):  # typer's errors about arguments
        return one_line(error.format_message()) + " (see --help)", 2
    text = one_line(text_of(error)) or type(error).__name__
    if isinstance(error, (UserError, ValueError)):
        return _fault(error) or text, 2
    if isinstance(error, MemoryError) or "allocate memory" in text or "out of memory" in text:
        return f"not enough memory: {text}; try a smaller size, --tile 128 or another --device", 2
    if (fault := _fault(error)) is not None:
        return f"{fault}{'' if isinstance(error, OSError) else '; run again with --debug for the traceback'}", 2
    if isinstance(error, OverflowError):
        return f"a number is too large ({text})", 2
    if isinstance(error, RecursionError):
        return "something is nested too deeply, or holds itself (run again with --debug for the traceback)", 2
    if isinstance(error, OSError):
        return one_line(f"{error.filename}: {error.strerror}") if error.filename and error.strerror else text, 2
    if isinstance(error, typer.Abort):
        return "aborted", 130
    kind = type(error).__name__
    return f"{kind if text == kind else f'{kind}: {text}'} (run again with --debug for the traceback)", 1


def _fault(error: BaseException) -> str | None:
    """The line for an error of a plugin; None for an error of none."""
    from implicitkit.registry.failures import explain_fault
    from implicitkit.registry.kinds import plugins

    return explain_fault(error, plugins)


class _OneLineWarnings:
    """Prints a warning as one line on stderr, each text once in a command."""

    def __init__(self) -> None:
        self.said: set[str] = set()

    def __call__(self, message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        line = one_line(text_of(message) if isinstance(message, Warning) else message)
        if line not in self.said:
            self.said.add(line)
            typer.echo(f"warning: {line}", err=True)


def _one_line_failure(failure: threading.ExceptHookArgs) -> None:
    """Print what ended a thread as one line on stderr."""
    if failure.exc_value is not None and not isinstance(failure.exc_value, SystemExit):
        typer.echo(f"warning: a thread ended with {one_line(describe(failure.exc_value))}", err=True)


if __name__ == "__main__":
    main()
