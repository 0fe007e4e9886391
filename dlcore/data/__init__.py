"""Sources of real data and the input pipeline; nothing is read or imported before it is asked for."""

from dlcore.data.arrays import PaddedBatches, ShuffledBatches
from dlcore.data.images import cifar10, mnist, mnist5k, random_flips, random_shifts, uci_digits
from dlcore.data.pipeline import decoded_batches, read_ahead

__all__ = [
    "PaddedBatches",
    "ShuffledBatches",
    "cifar10",
    "decoded_batches",
    "mnist",
    "mnist5k",
    "random_flips",
    "random_shifts",
    "read_ahead",
    "uci_digits",
]
