"""What tabs are made of beside Gradio's own parts."""

from __future__ import annotations

import html
import sys
import traceback
from collections.abc import Callable
from functools import wraps
from typing import Any, Literal, TypeVar

import gradio as gr

from implicitkit.errors import UserError, describe, one_line, text_of

SOURCES: list[Literal["upload", "webcam", "clipboard"]] = ["upload", "clipboard"]
F = TypeVar("F", bound=Callable[..., Any])


class PictureFile(gr.Image):
    """A place to drop a picture, which comes as the very file that was given: Gradio's own decodes it to 8 bits.

    Its arguments are those of ``gr.Image``; the browser is told those of the constructor, so it has none of its own.

    >>> PictureFile(label="Picture", sources=SOURCES, render=False).sources
    ['upload', 'clipboard']
    """

    def preprocess(self, payload: Any) -> str | None:
        """The file's path in the upload folder."""
        return None if payload is None else payload.path

    def get_block_name(self) -> str:
        """The browser shows it as an image."""
        return "image"


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
        raise gr.Error(html.escape(one_line(text), quote=False), print_exception=False)  # the page reads it as HTML

    return run  # type: ignore[return-value]


def reporting(progress: gr.Progress, what: str) -> Callable[[float], None]:
    """A function that shows a share of ``what``, 0 to 1, as a bar.

    >>> reporting(gr.Progress(), "upscaling")(0.5)
    """

    def report(share: float) -> None:
        progress(min(1.0, share), desc=what)

    return report
