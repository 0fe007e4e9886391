"""Figures of a run: arrays in, a matplotlib ``Figure`` out."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
