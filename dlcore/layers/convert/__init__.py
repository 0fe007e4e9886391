"""Converts recurrent parameters from and to torch, flax, haiku and keras, and whole models of torch and flax."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
