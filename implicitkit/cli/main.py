"""The ``implicitkit`` command: one module per sub-command, imported without torch."""

from __future__ import annotations

import importlib
import io
import sys
import traceback
import warnings
from typing import Annotated

import typer

from implicitkit.errors import UserError
from implicitkit.registry.commands import COMMANDS
from implicitkit.version import __version__

app = typer.Typer(
    name="implicitkit",
    help="Pictures as continuous functions: upscale to any size, train, evaluate. Any command takes --debug.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
PLUGIN_APPS: list[typer.Typer] = []  # added to ours


def _add_commands() -> None:
    """Add the commands of the table to :data:`app`; a module's ``Parser`` parses its arguments."""
    for name, place in COMMANDS.items():
        module_name, _, attribute = place.partition(":")
        module = importlib.import_module(module_name)
        command = getattr(module, attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name, cls=getattr(module, "Parser", None))(command)


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
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    debug = len(arguments) != len(sys.argv) - 1
    arguments = arguments or ["--help"]
    warnings.showwarning = _one_line_warning
    for stream in (sys.stdout, sys.stderr):  # a code page without "×" is no reason to stop
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        if arguments[0] not in (*COMMANDS, "--version"):  # perhaps a plugin's command
            add_plugin_commands()
        sys.exit(app(arguments, standalone_mode=False) or 0)
    except Exception as error:
        if debug:
            traceback.print_exc()
        message, code = explain(error)
        typer.echo(f"error: {message}", err=True)
        sys.exit(code)
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        sys.exit(130)


def add_plugin_commands() -> None:
    """Add the plugins' sub-commands to :data:`app`."""
    from implicitkit.registry.kinds import plugins as loaded

    loaded.load()
    for plugin in loaded.loaded:
        if plugin.commands is not None and plugin.commands not in PLUGIN_APPS:
            app.registered_commands += plugin.commands.registered_commands
            app.registered_groups += plugin.commands.registered_groups
            PLUGIN_APPS.append(plugin.commands)


def explain(error: Exception) -> tuple[str, int]:
    """The one line for an error, and the exit code: 2 if the user can correct it."""
    if hasattr(error, "format_message"):  # typer's errors about arguments
        return _one_line(error.format_message()) + " (see --help)", 2
    text = _one_line(str(error)) or type(error).__name__
    if isinstance(error, (UserError, ValueError)):
        return text, 2
    if isinstance(error, MemoryError) or "allocate memory" in text or "out of memory" in text:
        return f"not enough memory: {text}; try a smaller size, --tile 128 or another --device", 2
    if isinstance(error, OSError):
        return text, 2
    if isinstance(error, typer.Abort):
        return "aborted", 130
    return f"{type(error).__name__}: {text} (run again with --debug for the traceback)", 1


def _one_line_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    """Print a warning as one line on stderr."""
    typer.echo(f"warning: {_one_line(str(message))}", err=True)


def _one_line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    main()
