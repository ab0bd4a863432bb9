"""The page of ``implicitkit app``: tabs, what they share, and the server that shows them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
