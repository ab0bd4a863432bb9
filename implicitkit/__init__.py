"""implicitkit: a picture as a function that can be asked for its colour at any coordinate.

    import implicitkit as ik

    model = ik.load_model("liif_small")
    field = model.encode(ik.read_image("photo.png"))
    ik.write_image("large.png", field.render((1080, 1920)))

The promised names stand in ``__init__.pyi``, each once; each is imported when it is first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
