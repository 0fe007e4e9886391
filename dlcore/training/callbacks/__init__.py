"""What a run calls after its rows, evaluations and checkpoints: early stopping, loggers, and classes of the user's."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
