"""Settings that had another name in an earlier version; flags and config files with the old name still work."""

RENAMED = {
    "train.average_decay": "train.ema_decay",
    "train.patience": "train.hang_timeout",
    "train.read_ahead": "train.prefetch",
    "train.read_workers": "train.prefetch_workers",
    "train.rematerialise": "train.remat",
    "initialisations": "initializations",
}
"""Old path of a setting -> its path now."""
