"""Many configurations as one vectorized program, and a table from which a stopped sweep goes on."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
