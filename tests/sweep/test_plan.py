"""A group has every shared input with every entry of its numbers, as rows of the table."""

import numpy as np

from dlcore.sweep.plan import Sweep
from tests.helpers.sweeps import group


def test_configurations_are_all_pairs_with_the_numbers_of_a_shared_input_together():
    rows = group(scales=(0.5, 2.0), seeds=(3, 4), biases=(1.0,)).configurations()
    assert rows == [
        {"kind": "a", "seed": seed, "scale": scale, "bias": "1.0"}
        for seed in "34"
        for scale in ("0.5", "2.0")
    ]


def test_a_setting_that_does_not_apply_is_absent():
    assert all("bias" not in row for row in group().configurations())


def test_the_configurations_of_a_shared_input_are_in_the_order_of_the_numbers():
    some = group(scales=(2.0, 1.0))
    rows = some.configurations_of(some.shared[1])
    assert [(row["seed"], row["scale"]) for row in rows] == [("4", "2.0"), ("4", "1.0")]
    assert some.shared[1].arrays == np.float32(4)


def test_a_sweep_has_no_figures_unless_it_says_so():
    assert Sweep([group()], ("kind",), ("value",)).figures([]) == {}
