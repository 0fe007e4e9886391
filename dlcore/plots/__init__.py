"""Figures of a run: functions that take arrays and return a matplotlib ``Figure``."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
