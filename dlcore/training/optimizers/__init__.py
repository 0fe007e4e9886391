"""Update rules, learning rates and clipping: the optax transformation of a run, from settings or from the user."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
