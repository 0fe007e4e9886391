"""Training: the contract with an experiment, the step, the loop, and what keeps a run whole."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
