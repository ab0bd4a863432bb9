"""implicitkit: pictures as functions of continuous coordinates.

    import implicitkit as ik

    model = ik.load_model("liif_small")
    field = model.encode(ik.read_image("photo.png"))
    ik.write_image("large.png", field.render((1080, 1920)))

``__init__.pyi`` lists the promised names; each is imported when first used.

>>> import implicitkit as ik, torch
>>> ik.load_model("liif_small").encode(torch.rand(3, 8, 8)).render((10, 20)).shape
torch.Size([3, 10, 20])
"""

import sys
from typing import Any

import lazy_loader

_find, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    try:
        return _find(name)
    except AttributeError as missing:
        if name.startswith("_") or f"No {__name__} attribute" not in str(missing):
            raise
        import difflib

        near = difflib.get_close_matches(name, __all__, n=1, cutoff=0.7)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        text = f"module {__name__!r} has no attribute {name!r}{hint}"
        raise AttributeError(text, name=name, obj=sys.modules[__name__]) from None
