"""Errors for users: the command line prints the message as one line and exits with 2."""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

# C0 and C1 without tab and line feed, and the marks that turn the direction of text around
CONTROLS = re.compile(r"(?!^\r)[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
MAX_MESSAGE = 1500


class UserError(Exception):
    """A mistake that the user can correct; the message says what was received and what to do.

    >>> import implicitkit as ik
    >>> try:
    ...     ik.create_decoder("metasrrr")
    ... except UserError as error:
    ...     str(error).partition(" (")[0]
    "unknown decoder 'metasrrr'; did you mean 'metasr'?"
    """


class ConfigError(UserError, ValueError):
    """An invalid configuration; the message names the path in the file.

    Attributes:
        path: of the entry, dotted, where one is known.

    >>> import implicitkit as ik
    >>> try:
    ...     ik.create_model({"encoder": "edsr", "decodr": "liif"})
    ... except ConfigError as error:
    ...     "decodr" in str(error)
    True
    """

    path: str | None = None


class ArgumentError(UserError, TypeError):
    """An unknown argument of a part called by name; the message names the nearest one.

    >>> import implicitkit as ik
    >>> try:
    ...     ik.create_decoder("liif", hiden=[8])
    ... except ArgumentError as error:
    ...     "hidden" in str(error)
    True
    """


class ImageError(UserError, ValueError):
    """A picture that cannot be read or written.

    >>> import implicitkit as ik
    >>> try:
    ...     ik.read_image("no_such_photo.png")
    ... except ImageError as error:
    ...     "no_such_photo.png" in str(error)
    True
    """


class WeightsError(UserError, ValueError):
    """A weight file that cannot be read or does not fit.

    >>> import implicitkit as ik
    >>> try:
    ...     ik.load_model("no_such_file.safetensors")
    ... except WeightsError as error:
    ...     "no_such_file.safetensors" in str(error)
    True
    """


class MissingPackageError(UserError, ImportError):
    """A package of an extra that is not installed; the message says how to install it.

    >>> import sys
    >>> from implicitkit.images.volumes import read_volume
    >>> sys.modules["nibabel"] = None  # as if it were not installed
    >>> try:
    ...     read_volume("head.nii.gz")
    ... except MissingPackageError as error:
    ...     "a volume needs nibabel" in str(error)
    True
    >>> del sys.modules["nibabel"]
    """


class MissingCodecError(MissingPackageError, ImageError):
    """The same for a picture or a film that only such a package reads or writes."""


class DataError(UserError, ValueError):
    """An unusable data folder or picture.

    >>> import implicitkit as ik
    >>> try:
    ...     ik.evaluate("liif_small", "no_such_folder", "plain", scales=[2])
    ... except DataError as error:
    ...     "no_such_folder" in str(error)
    True
    """


class UnknownNameError(UserError, LookupError):
    """A name that is not registered; the message lists near names.

    >>> import implicitkit as ik
    >>> try:
    ...     ik.create_encoder("edrs")
    ... except UnknownNameError as error:
    ...     "did you mean 'edsr" in str(error)
    True
    """


class DuplicateNameError(UserError, ValueError):
    """A second owner for a registered name; the message names both.

    >>> import implicitkit as ik
    >>> try:
    ...     ik.register_decoder("liif", "my_package:Mine")
    ... except DuplicateNameError as error:
    ...     "liif" in str(error)
    True
    """


class PluginError(UserError, RuntimeError):
    """A plugin that failed to load; nothing of it was registered.

    >>> import implicitkit as ik
    >>> try:
    ...     ik.register_plugin(object())
    ... except PluginError as error:
    ...     "hook" in str(error)
    True
    """


class PluginWarning(UserWarning):
    """A plugin failed to load; everything else works.

    >>> import warnings
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", PluginWarning)  # a script that wants all of its plugins or none
    """


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


def text_of(error: BaseException) -> str:
    """An error's text; empty if it has none, or one that cannot be shown.

    >>> class Mute(Exception):
    ...     def __str__(self):
    ...         raise RuntimeError("no")
    >>> text_of(ValueError("no such layer")), text_of(Mute())
    ('no such layer', '')
    """
    try:
        return str(error)
    except BaseException as fault:  # from whoever defined the error: only Ctrl-C is the user's
        if type(fault) is KeyboardInterrupt:
            raise
        return ""


def first_line(error: BaseException) -> str:
    r"""The first line of an error's message, or the error's type if it has none.

    >>> first_line(ValueError("no such layer\n  at line 3")), first_line(KeyboardInterrupt())
    ('no such layer', 'KeyboardInterrupt')
    """
    return (text_of(error).strip().splitlines() or [type(error).__name__])[0]


def describe(error: BaseException) -> str:
    """An error's type and the first line of its message.

    >>> describe(ZeroDivisionError("division by zero")), describe(GeneratorExit())
    ('ZeroDivisionError: division by zero', 'GeneratorExit')
    """
    kind, line = type(error).__name__, first_line(error)
    return kind if line == kind else f"{kind}: {line}"


def without_controls(text: str) -> str:
    r"""``text`` with its control characters as escapes: a file's name must not steer the terminal.

    Lines and tabs stay, and a carriage return in front, with which progress bars begin.

    >>> without_controls("\x1b]0;owned\x07.png")
    '\\x1b]0;owned\\x07.png'
    """
    return CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def one_line(text: str) -> str:
    r"""``text`` in one line of a length that can be read, without control characters.

    >>> one_line("no such\n  layer"), len(one_line("x" * 100_000)) < 2 * MAX_MESSAGE
    ('no such layer', True)
    """
    line = without_controls(" ".join(text.split()))
    if len(line) <= MAX_MESSAGE:
        return line
    return f"{line[: MAX_MESSAGE * 2 // 3]} … ({len(line):,} characters) … {line[-MAX_MESSAGE // 3 :]}"


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
