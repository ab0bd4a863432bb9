"""Training: the loop, its data, its runs on disk, validation, the learning rate."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
