"""Sources of real data and the input pipeline; nothing is read or imported before it is asked for."""

from dlcore.data.arrays import PaddedBatches, ShuffledBatches
from dlcore.data.buckets import BucketedBatches
from dlcore.data.images import cifar10, mnist, mnist5k, random_flips, random_shifts, uci_digits
from dlcore.data.pipeline import decoded_batches, read_ahead, rows_of
from dlcore.data.sequences import gaussian_noise, japanese_vowels, standardise

__all__ = [
    "BucketedBatches",
    "PaddedBatches",
    "ShuffledBatches",
    "cifar10",
    "decoded_batches",
    "gaussian_noise",
    "japanese_vowels",
    "mnist",
    "mnist5k",
    "random_flips",
    "random_shifts",
    "read_ahead",
    "rows_of",
    "standardise",
    "uci_digits",
]
