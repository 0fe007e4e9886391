"""GPUs that are not there; their compiler is too large to be installed for tests, so it is played here."""

import os
from types import SimpleNamespace

import jax
import pytest

from dlcore.training.targets import gpu
from dlcore.training.targets.gpu import GPUS, gpu_target, target_config

SKIP = "JAX_SKIP_CUDA_CONSTRAINTS_CHECK"


@pytest.fixture
def plugin(monkeypatch):
    """Plays the CUDA plugin: it keeps what it is asked for."""
    asked = {}

    def describe(name, platform, **options):
        asked.update(options, name=name, platform=platform, skip=os.environ.get(SKIP))
        slices, hosts, gpus = map(int, options["topology"].split("x"))
        device = SimpleNamespace(platform="gpu", device_kind="NVIDIA")
        return SimpleNamespace(devices=[device] * (slices * hosts * gpus))

    monkeypatch.setattr(gpu.topologies, "get_topology_desc", describe)
    monkeypatch.setattr(gpu, "_is_installed", lambda name: True)
    for variable in (*gpu.SHARE_VARIABLES, SKIP):
        monkeypatch.delenv(variable, raising=False)
    return asked


@pytest.mark.parametrize(("count", "topology"), [(1, "1x1x1"), (8, "1x1x8"), (16, "1x2x8")])
def test_up_to_eight_gpus_are_in_one_host(plugin, count, topology):
    target = gpu_target("h100", count)
    assert (plugin["platform"], plugin["topology"], plugin["skip"]) == ("cuda", topology, "1")
    assert (target.name, len(target.devices), target.described) == (f"h100:{count}", count, True)
    assert SKIP not in os.environ


def test_programs_have_the_share_of_the_memory_that_jax_takes(plugin, monkeypatch):
    whole = 80 * 10**9
    assert 0.75 * whole < gpu_target("h100", 1).memory < 0.81 * whole
    monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.9")
    target = gpu_target("h100", 1)
    assert target.memory == int(GPUS["h100"].memory * 0.9)
    assert target.source == "JAX takes 90% of it"


@pytest.mark.parametrize("count", [0, 9, 12])
def test_a_number_of_gpus_that_no_hosts_have_is_refused(plugin, count):
    with pytest.raises(
        ValueError, match=f"^target: got 'h100:{count}', expected 1 to 8 GPUs, or a multiple of 8"
    ):
        gpu_target("h100", count)


def test_without_the_plugin_the_error_names_the_extra(monkeypatch):
    monkeypatch.setattr(gpu, "_is_installed", lambda name: False)
    with pytest.raises(ValueError, match=r"CUDA plugin, .* is not installed; pip install 'dlcore\[cuda\]'"):
        gpu_target("h100", 8)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (NotImplementedError("topology not implemented for cuda"), f"{SKIP}=1 in its environment loads it"),
        (jax.errors.JaxRuntimeError("INVALID_ARGUMENT: no"), "the CUDA plugin does not compile .*: no"),
    ],
)
def test_a_plugin_that_refuses_is_an_error_with_the_reason(plugin, monkeypatch, error, message):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(gpu.topologies, "get_topology_desc", refuse)
    with pytest.raises(ValueError, match=f"^target: got 'h100:8', .*{message}"):
        gpu_target("h100", 8)


def test_the_description_has_every_number_of_the_gpu():
    """Shared memory that a block may have is a kilobyte less than that of a multiprocessor, on all of these."""
    for name, one in GPUS.items():
        text = target_config(one)
        assert text.count("{") == text.count("}") == 3
        for number in (
            one.cores,
            one.fpus,
            one.shared_memory,
            one.l2_cache,
            one.memory,
            one.bandwidth,
            one.clock,
        ):
            assert f": {number} " in text.replace("\n", " "), (name, number)
        assert f"major: {one.capability[0]}  minor: {one.capability[1]}" in text
        assert f'device_description_str: "{one.description}"' in text
    assert "shared_memory_per_block_optin: 232448\n" in target_config(GPUS["h100"])
