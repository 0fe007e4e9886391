"""A group has every shared input with every entry of its numbers, as rows of the table."""

import numpy as np
import pytest

from dlcore.sweep.plan import SharedInputs, Sweep, check_sweep
from tests.helpers.sweeps import MEASURES, SETTINGS, group


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


class Unhashable:
    __hash__ = None

    def __call__(self, arrays, numbers):
        return {}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"measure": None}, TypeError, "measure: got None, expected a function"),
        ({"measure": Unhashable()}, TypeError, "measure: got .*, which is not hashable"),
        ({"numbers": [{"scale": 1.0}, {"bias": 1.0}]}, ValueError, "numbers: got .* expected the same names"),
        ({"numbers": [{"scale": "1"}]}, TypeError, "numbers: scale: got '1', expected a number"),
        ({"numbers": [1.0]}, TypeError, "numbers: got 1.0, expected a dict"),
        ({"shared": [{"seed": 1}]}, TypeError, "shared: got .*, expected SharedInputs"),
        (
            {"shared": [SharedInputs({"seed": 0}, np.zeros(2)), SharedInputs({"seed": 1}, np.zeros(3))]},
            ValueError,
            "shared: got arrays .*, expected equal shapes and dtypes",
        ),
        ({"bytes_each": 0}, ValueError, "bytes_each: got 0"),
        (
            {"settings": {"cell": "gru"}},
            ValueError,
            "settings: got kind, seed, scale, bias, expected cell, too",
        ),
    ],
)
def test_a_group_that_cannot_be_measured_is_refused(changes, error, message):
    with pytest.raises(error, match=message):
        check_sweep(Sweep([group()._replace(**changes)], SETTINGS, MEASURES))


@pytest.mark.parametrize("sweep", [None, [group()], Sweep([None], SETTINGS, MEASURES)])
def test_something_else_than_a_sweep_is_refused(sweep):
    with pytest.raises(TypeError, match=r"(sweep|groups): got .*, expected a (Sweep|Group)"):
        check_sweep(sweep)
