"""The settings of an experiment on digits choose its data set."""

import numpy as np
import pytest

import dlcore as dl
from dlcore.data.vision import digit_config


def test_the_default_stands_in_the_package():
    for part, expected in zip(dl.data.DigitConfig().load(), dl.data.uci_digits(), strict=True):
        np.testing.assert_array_equal(part["inputs"], expected["inputs"])


def test_a_name_chooses_the_loader_and_mnist_gets_the_folder(monkeypatch):
    monkeypatch.setattr(digit_config, "mnist5k", lambda: "five thousand")
    monkeypatch.setattr(digit_config, "mnist", lambda folder: f"all in {folder}")
    assert dl.data.DigitConfig("mnist5k").load() == "five thousand"
    assert dl.data.DigitConfig("mnist", "digits").load() == "all in digits"


def test_mnist_needs_its_folder():
    with pytest.raises(FileNotFoundError, match="folder: got none"):
        dl.data.DigitConfig("mnist").load()
