"""Errors are one line of the page; a dropped picture is the file itself."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

gr = pytest.importorskip("gradio")

import implicitkit as ik  # noqa: E402
from implicitkit.app.widgets import answering, picture_file  # noqa: E402


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ik.UserError("no\nsuch   size"), "no such size"),
        (MemoryError(), "there is not enough memory; ask for a smaller size"),
        (KeyError("lost"), "KeyError: 'lost'"),
        (ik.ImageError("<img src=x>.png is empty"), "&lt;img src=x&gt;.png is empty"),
        (gr.Error("as it is"), "as it is"),
    ],
)
def test_an_error_is_one_line_without_markup(error: Exception, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    @answering
    def fail() -> None:
        raise error

    with pytest.raises(gr.Error) as raised:
        fail()
    assert raised.value.message == line
    assert ("Traceback" in capsys.readouterr().err) == isinstance(error, KeyError)


def test_a_file_is_not_decoded(tmp_path: Path) -> None:
    part = picture_file(render=False)
    assert part.preprocess(None) is None
    assert part.preprocess(SimpleNamespace(path="x/y.tif")) == "x/y.tif"
