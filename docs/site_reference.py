"""Which page of the reference has which public name, and how docstrings become Markdown."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import griffe

PACKAGE = Path(__file__).parents[1] / "implicitkit"
PATTERNS = {  # the first that matches a name is its page
    "Errors": r"ik\.\w+(Error|Warning)",
    "Models and fields": r"ik\.(ImplicitModel|Field|Prediction|Features|(load|create|list)_models?|push_\w+|_.*)",
    "Pictures": r"ik\.(read_image|write_image|upscale)",
    "Parts": r"ik\.(Encoder|Decoder|LocalEnsembleDecoder|Question|Neck|(create|list)_(encoder|decoder|neck)s?)",
    "Degradations": r"ik\.(Degradation|Degraded|(create|list)_degradations?)",
    "Training": r"ik\.(train|Training\w+|Callback|Schedule|Dataset"
    r"|(create|list)_(loss|losse|dataset|schedule|optimiser|callback)s?)",
    "Evaluation": r"ik\.(evaluate|compare|Comparison|Metric|Protocol|(create|list)_(metric|protocol)s?)",
    "Plugins": r"ik\.(hookimpl|register_\w+|unregister_plugin)",
    "Contract tests": r"testing\.\w+",
    "More": r".*",
}
EXAMPLES = {
    "ik.__version__": "The version, a string.\n\n"
    '```pycon\n>>> import implicitkit as ik\n>>> ik.__version__.count(".")\n2\n```',
    "ik.hookimpl": "Marks a function of a plugin as its implementation of the hook of that name.\n\n"
    "```python\n@ik.hookimpl\ndef register_decoders(register):\n"
    '    register("wave", "my_package.wave:Wave", summary="what it is, in one line")\n```',
}


def public_names() -> dict[str, str]:
    """Every public name -> its page."""
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    names = [
        f"ik.{a.name}" for node in ast.walk(stub) if isinstance(node, ast.ImportFrom) for a in node.names if a.asname
    ]
    tests = ast.parse((PACKAGE / "testing" / "__init__.py").read_text(encoding="utf-8"))
    for node in ast.walk(tests):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            names += [f"testing.{name}" for name in ast.literal_eval(node.value)]
    return {n: next(page for page, pattern in PATTERNS.items() if re.fullmatch(pattern, n)) for n in names}


GROUPS: dict[str, list[str]] = {}
for page in PATTERNS:
    if members := sorted(n for n, p in public_names().items() if p == page):
        GROUPS[page] = members


class Readable(griffe.Extension):
    """Docstrings are written for the terminal: roles lose their prefix, and examples get a fence."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite the docstring of ``obj``."""
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text: str) -> str:
    r"""A docstring of ours as Markdown.

    >>> as_markdown("See :func:`~a.b`.\n\n>>> 1 + 1\n2")
    'See `a.b`.\n\n```pycon\n>>> 1 + 1\n2\n```'
    """
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text)
    lines: list[str] = []
    fence, indent = "", 0
    for line in text.splitlines():
        if line.strip() in ("Example:", "Examples:"):
            continue
        if line.lstrip().startswith(">>>") and not fence:
            fence, indent = "```", len(line) - len(line.lstrip())
            lines += ["", "```pycon"]
        elif fence and not line.strip():
            lines.append(fence)
            fence, indent = "", 0
        lines.append(line[indent:])
    return re.sub(r"\n{3,}", "\n\n", "\n".join([*lines, fence])).rstrip()
