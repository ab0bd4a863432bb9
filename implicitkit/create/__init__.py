"""Create parts and models by name, by spec or from a file; list and register names.

    model = ik.create_model("liif_edsr_baseline")           # a registered name, random weights
    model = ik.create_model({"encoder": "rdn", "decoder": "lte"})
    model = ik.load_model("photo_model.safetensors")        # a file, ours or the authors'
    model = ik.load_model("hf-hub:Organisation/name")

    @ik.register_decoder("mine")
    class Mine(ik.LocalEnsembleDecoder): ...

Heavy imports are inside functions, so that names can be listed without torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
