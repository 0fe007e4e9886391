"""Experiments: one file each, with a Config, a model, data, and ``experiment(config)``."""
