"""Errors whose message is meant for the user as it stands: the command line prints it as one line and exits with 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something the user can put right; the message says what was received and what to do."""


class ConfigError(UserError, ValueError):
    """A configuration that does not hold; the message names the path in the file."""


class ArgumentError(UserError, TypeError):
    """An argument that the thing called by name does not take; the message names the nearest one it does."""


class ImageError(UserError, ValueError):
    """A picture that cannot be read or written."""


class WeightsError(UserError, ValueError):
    """A weight file that cannot be read, or that does not fit."""


class DataError(UserError, ValueError):
    """A data folder, or a picture in it, that cannot be used."""


class UnknownNameError(UserError, LookupError):
    """A name that no registry entry has; the message lists near names."""


class DuplicateNameError(UserError, ValueError):
    """A second owner for a name that is taken; the message names both."""


class PluginError(UserError, RuntimeError):
    """A plugin that cannot be loaded; nothing of it was registered."""


class PluginWarning(UserWarning):
    """A plugin that was found and could not be loaded; everything else works."""


def nearest(name: str, known: Iterable[str], count: int = 1) -> list[str]:
    """The ``known`` names that look most like ``name``, the nearest first; at most ``count``, perhaps none.

    >>> nearest("edrs", ["edsr", "rdn", "swinir"])
    ['edsr']
    >>> nearest("psnr_z", ["psnr", "psnr_y", "lpips"], count=2)
    ['psnr_y', 'psnr']
    """
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
