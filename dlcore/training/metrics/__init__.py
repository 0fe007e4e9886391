"""Metrics as sums: a metric is a pytree whose leaves are added over batches, and ``value()`` reads the sum.

A training loop, an evaluation over padded batches and a reduction over devices only have to add. Every example
counts once, however the batches were cut.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
