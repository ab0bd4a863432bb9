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

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
