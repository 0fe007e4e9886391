"""Settings that had another name in version 0.1. Flags and config files with an old name still work."""

RENAMED = {
    "train.average_decay": "train.ema_decay",
    "train.patience": "train.hang_timeout",
    "train.read_ahead": "train.prefetch",
    "train.read_workers": "train.prefetch_workers",
    "train.rematerialise": "train.remat",
    "initialisations": "initializations",
}
"""The present path of a setting by its old path."""
