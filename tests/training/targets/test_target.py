"""The machine of this process, and what a machine says of itself."""

import dataclasses
from types import SimpleNamespace

import jax

from dlcore.training.targets import target as module
from dlcore.training.targets.target import Target, host_memory, this_machine


def test_this_machine_has_the_devices_of_jax_and_shares_its_memory_among_them():
    machine = this_machine()
    assert machine.devices == tuple(jax.devices())
    with open("/proc/meminfo") as lines:
        total = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal"))
    assert host_memory() == total
    assert machine.memory == total // len(jax.devices())
    assert not machine.described


def test_an_accelerator_of_this_machine_tells_what_jax_may_allocate(monkeypatch):
    devices = [
        SimpleNamespace(platform="gpu", device_kind="H100", memory_stats=lambda: {"bytes_limit": 3 * 2**30}),
        SimpleNamespace(platform="tpu", device_kind="TPU v9", memory_stats=lambda: None),
    ]
    found = []
    for device in devices:
        for name in ("devices", "local_devices"):
            monkeypatch.setattr(module.jax, name, lambda device=device: [device])
        found.append(this_machine())
    assert [machine.memory for machine in found] == [3 * 2**30, None]
    assert (
        str(found[0]) == "this machine: 1 device, H100, each with 3 GiB for programs (what JAX may allocate)"
    )
    assert "each with unknown memory" in str(found[1])


def test_only_a_named_accelerator_is_described():
    tpu = SimpleNamespace(platform="tpu", device_kind="TPU v5 lite")
    machine = Target("v5e:1x1", (tpu,), 1, "")
    assert machine.described
    assert not dataclasses.replace(machine, name="").described
