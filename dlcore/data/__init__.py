"""Sources of real data and the input pipeline; nothing is read or imported before it is asked for."""

from dlcore.data.arrays import PaddedBatches, ShuffledBatches
from dlcore.data.images import mnist, mnist5k, random_shifts, uci_digits
from dlcore.data.pipeline import decoded_batches, read_ahead

__all__ = [
    "PaddedBatches",
    "ShuffledBatches",
    "decoded_batches",
    "mnist",
    "mnist5k",
    "random_shifts",
    "read_ahead",
    "uci_digits",
]
