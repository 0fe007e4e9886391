"""dlcore: convolutional and recurrent networks in JAX and Flax, with gradient flow as a measured quantity.

Names are imported when they are first used: ``import dlcore`` loads neither JAX nor any device.

>>> import dlcore as dl
>>> dl.Conv(features=16, kernel_size=3).features
16
"""

import lazy_loader

__version__ = "0.3.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
