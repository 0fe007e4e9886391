"""Losses in the form that ``Experiment.from_flax`` takes: ``loss(outputs, batch) -> loss, metrics``.

They count valid places only: rows and places by the batch's ``mask``, steps by its ``lengths``, see
`metrics.place_weights`. Weights of examples are a mask of floats. What does not count may hold anything, NaN included,
and has the gradient 0.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
