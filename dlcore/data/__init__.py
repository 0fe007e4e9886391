"""Sources of real data, synthetic tasks, the input pipeline; nothing is read or imported before it is asked for."""

from dlcore.data.arrays import PaddedBatches, ShuffledBatches
from dlcore.data.buckets import BucketedBatches
from dlcore.data.images import as_sequences, cifar10, mnist, mnist5k, random_flips, random_shifts, uci_digits
from dlcore.data.long_memory import SyntheticBatches, adding, copy_memory, held_out, temporal_order
from dlcore.data.pipeline import decoded_batches, read_ahead, rows_of
from dlcore.data.sequences import gaussian_noise, japanese_vowels, standardise

__all__ = [
    "BucketedBatches",
    "PaddedBatches",
    "ShuffledBatches",
    "SyntheticBatches",
    "adding",
    "as_sequences",
    "cifar10",
    "copy_memory",
    "decoded_batches",
    "gaussian_noise",
    "held_out",
    "japanese_vowels",
    "mnist",
    "mnist5k",
    "random_flips",
    "random_shifts",
    "read_ahead",
    "rows_of",
    "standardise",
    "temporal_order",
    "uci_digits",
]
