"""Small files in the format of CIFAR-10's."""

from pathlib import Path

import numpy as np


def write_cifar10(folder: Path) -> None:
    """Writes the six files with four images of random pixels each."""
    generator = np.random.default_rng(0)
    for name in (*(f"data_batch_{index}" for index in range(1, 6)), "test_batch"):
        rows = generator.integers(0, 256, (4, 3073), np.uint8)
        rows[:, 0] %= 10
        rows.tofile(folder / f"{name}.bin")
