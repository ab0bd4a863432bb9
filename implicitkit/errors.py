"""Errors whose message is meant for the user as it stands: the command line prints it as one line and exits with 2."""

from __future__ import annotations


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
