"""What tabs are made of beside Gradio's own parts."""

from __future__ import annotations

import html
import sys
import traceback
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import gradio as gr

from implicitkit.errors import UserError, describe, one_line, text_of

SHOWN_S = 30  # that an error stays
F = TypeVar("F", bound=Callable[..., Any])


def picture_file(**options: Any) -> gr.Image:
    """A place to drop a picture, which comes as the very file that was given: Gradio's own decodes it to 8 bits.

    Args:
        options: of ``gr.Image``.

    >>> picture_file(label="Picture", render=False).sources
    ['upload', 'clipboard']
    """
    part = gr.Image(sources=["upload", "clipboard"], buttons=["fullscreen"], **options)
    part.preprocess = _path_of  # on the instance: a subclass makes Gradio write a file
    return part


def _path_of(payload: Any) -> str | None:
    """The path of a file in the upload folder."""
    return None if payload is None else str(payload.path)


def answering(function: F) -> F:
    """``function`` with its errors as one line in the page; what the user cannot correct is also logged.

    >>> @answering
    ... def refuse():
    ...     raise UserError("no <b>such</b> size")
    >>> refuse()
    Traceback (most recent call last):
    ...
    gradio.exceptions.Error: 'no &lt;b&gt;such&lt;/b&gt; size'
    """

    @wraps(function)
    def run(*args: Any, **given: Any) -> Any:
        try:
            return function(*args, **given)
        except gr.Error:
            raise
        except (UserError, ValueError, MemoryError) as error:
            text = text_of(error) or "there is not enough memory; ask for a smaller size"
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            text = describe(error)
        shown = html.escape(one_line(text), quote=False)  # the page reads it as HTML
        raise gr.Error(shown, duration=SHOWN_S, print_exception=False)

    return run  # type: ignore[return-value]


def reporting(progress: gr.Progress, what: str) -> Callable[[float], None]:
    """A function that shows a share of ``what``, 0 to 1, as a bar.

    >>> reporting(gr.Progress(), "upscaling")(0.5)
    """

    def report(share: float) -> None:
        progress(min(1.0, share), desc=what)

    return report
