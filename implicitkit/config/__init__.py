"""Model specs and configurations, read strictly.

An unknown key, a wrong type, or a number out of its range is an error that names the file, the line, the path in it,
what was received and the nearest valid key.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
