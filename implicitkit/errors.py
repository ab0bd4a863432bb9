"""Errors for users: the command line prints the message as one line and exits with 2."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class UserError(Exception):
    """A mistake that the user can correct; the message says what was received and what to do.

    >>> import implicitkit as ik
    >>> try:
    ...     ik.create_decoder("metasir")
    ... except UserError as error:
    ...     str(error).partition(" (")[0]
    "unknown decoder 'metasir'; did you mean 'metasr'?"
    """


class ConfigError(UserError, ValueError):
    """An invalid configuration; the message names the path in the file.

    Attributes:
        path: of the entry, dotted, where one is known.
    """

    path: str | None = None


class ArgumentError(UserError, TypeError):
    """An unknown argument of a part called by name; the message names the nearest one."""


class ImageError(UserError, ValueError):
    """A picture that cannot be read or written."""


class WeightsError(UserError, ValueError):
    """A weight file that cannot be read or does not fit."""


class DataError(UserError, ValueError):
    """An unusable data folder or picture."""


class UnknownNameError(UserError, LookupError):
    """A name that is not registered; the message lists near names."""


class DuplicateNameError(UserError, ValueError):
    """A second owner for a registered name; the message names both."""


class PluginError(UserError, RuntimeError):
    """A plugin that failed to load; nothing of it was registered."""


class PluginWarning(UserWarning):
    """A plugin failed to load; everything else works."""


def nearest(name: str, known: Iterable[str], count: int = 1) -> list[str]:
    """At most ``count`` of the ``known`` names that are similar to ``name``, the nearest first.

    >>> nearest("edrs", ["edsr", "rdn", "swinir"])
    ['edsr']
    >>> nearest("psnr_z", ["psnr", "psnr_y", "lpips"], count=2)
    ['psnr_y', 'psnr']
    """
    if len(name) > 100:  # no name of ours; the comparison would take long
        return []
    return difflib.get_close_matches(name, list(known), n=count, cutoff=0.5)


def check_known(name: str, known: Iterable[str], what: str) -> str:
    """``name``, if it is among the ``known``.

    Raises:
        ConfigError: it is not; the message begins with ``what``.

    >>> check_known("metods", ["methods", "seeds"], "unknown key")
    Traceback (most recent call last):
    implicitkit.errors.ConfigError: unknown key 'metods'; did you mean 'methods'?
    """
    names = list(dict.fromkeys(known))
    if name not in names:
        near = nearest(name, names)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names) or 'none'}"
        raise ConfigError(f"{what} {name!r}; {hint}")
    return name


def first_line(error: BaseException) -> str:
    r"""The first line of an error's message, or the error's type if it has none.

    >>> first_line(ValueError("no such layer\n  at line 3")), first_line(KeyboardInterrupt())
    ('no such layer', 'KeyboardInterrupt')
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextmanager
def quiet(*loggers: str) -> Iterator[None]:
    """Only errors from the loggers of other libraries; ours says in one line what is to be said.

    >>> import logging
    >>> with quiet("timm"):
    ...     logging.getLogger("timm").warning("unused weights")
    """
    levels = {logging.getLogger(name): logging.getLogger(name).level for name in loggers}
    for logger in levels:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)
