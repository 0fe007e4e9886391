"""Devices of this machine's CPU as a target."""

import jax
import pytest

from dlcore.training.targets.cpu import cpu_target
from dlcore.training.targets.target import host_memory


def test_the_devices_are_those_of_this_process():
    target = cpu_target(1)
    assert (target.name, target.devices, target.kind) == ("cpu:1", (jax.devices("cpu")[0],), "cpu")
    assert target.memory == host_memory()
    assert not target.described


@pytest.mark.parametrize("count", [0, -1, 4097])
def test_a_count_out_of_its_bounds_is_refused(count):
    with pytest.raises(ValueError, match=f"^target: got 'cpu:{count}', expected cpu:1 to cpu:4096"):
        cpu_target(count)


def test_more_devices_than_the_process_has_are_refused_with_the_mend():
    count = len(jax.devices("cpu")) + 1
    with pytest.raises(ValueError, match=f"JAX_NUM_CPU_DEVICES={count} in its environment makes as many"):
        cpu_target(count)
