"""TPUs that are not there: steps are compiled for them, with the collectives and the memory that they must have."""

import json
import os
import subprocess
import sys

import pytest

from dlcore.training.targets import tpu
from dlcore.training.targets.tpu import tpu_target
from tests.helpers.dense_toy import INPUTS, OUTPUTS, PARAMETERS
from tests.helpers.described_tpu import ROWS, TOPOLOGIES
from tests.helpers.paths import ROOT

GIB, FLOAT, BFLOAT = 2**30, 4, 2


@pytest.fixture(scope="module")
def found():
    """What `tests.helpers.described_tpu` prints: libtpu reads the environment when it is loaded."""
    pytest.importorskip("libtpu", reason="the extra tpu, which compiles for TPUs, is not installed")
    finished = subprocess.run(
        [sys.executable, "-m", "tests.helpers.described_tpu"],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout.splitlines()[-1])


def total(found, kind, devices):
    return sum(size for other, count, size in found["all"] if (other, count) == (kind, devices))


@pytest.mark.slow
def test_data_parallel_devices_add_up_gradients_and_nothing_else(found):
    """One sum of all gradients and of the loss, whose rows are counted without asking others."""
    assert found["data"]["all"] == [["all-reduce", 8, PARAMETERS * FLOAT + FLOAT]]


@pytest.mark.slow
def test_recurrent_and_convolutional_models_exchange_gradients_and_no_activations(found):
    """The sums of metrics and of BatchNorm come on top."""
    for name in ("recurrent", "convolutional"):
        assert {kind for kind, _, _ in found[name]["all"]} == {"all-reduce"}, name
        gradients = found[name]["parameters"] * FLOAT
        assert gradients < total(found[name], "all-reduce", 8) <= gradients + 256


@pytest.mark.slow
def test_fully_sharded_devices_gather_parameters_and_add_up_gradients(found):
    """A TPU multiplies bfloat16, so that its chips exchange parameters as such."""
    assert total(found["sharded"], "all-gather", 8) == PARAMETERS * BFLOAT
    assert PARAMETERS * FLOAT <= total(found["sharded"], "all-reduce", 8) <= PARAMETERS * FLOAT + 64
    assert found["sharded"]["training"]["flops"] == found["data"]["training"]["flops"]
    assert found["sharded"]["state_device_bytes"] < found["data"]["state_device_bytes"] / 7


@pytest.mark.slow
def test_devices_of_the_model_axis_add_up_outputs_and_those_of_the_data_axis_gradients(found):
    split = found["by_rules"]
    assert total(split, "all-reduce", 2) == ROWS // 4 * OUTPUTS * FLOAT
    assert total(split, "all-reduce", 4) == PARAMETERS // 2 * FLOAT + FLOAT
    assert {kind for kind, _, _ in split["all"]} == {"all-reduce"}
    assert "(None, 'model')" in split["text"]


@pytest.mark.slow
def test_the_memory_is_that_of_the_step_compiled_by_hand(found):
    assert {name: found["data"]["training"][name] for name in found["by hand"]} == found["by hand"]
    batches_ahead = 2 * ROWS // 8 * (INPUTS + OUTPUTS) * FLOAT
    assert found["data"]["training"]["needed_bytes"] == found["by hand"]["program_bytes"] + batches_ahead


@pytest.mark.slow
def test_a_batch_that_is_too_large_is_refused_with_the_largest_that_fits_and_that_one_fits(found):
    refused, largest = found["too large"], found["largest"]
    assert (refused["fits"], largest["fits"]) == (False, True)
    assert refused["problem"].startswith("--config.train.batch_size: got 512, with which training needs ")
    assert "GiB a device, but v5e:2x4 has 15.75 GiB; the largest that fits is " in refused["problem"]
    assert largest["training"]["rows"] % 64 == 0
    memory = largest["device_memory"]
    assert memory == 15.75 * GIB
    assert memory * 0.75 < largest["training"]["needed_bytes"] <= memory < refused["training"]["needed_bytes"]


@pytest.mark.slow
def test_steps_are_compiled_for_several_hosts(found):
    assert found["several hosts"]["all"] == [["all-reduce", 32, PARAMETERS * FLOAT + FLOAT]]


@pytest.mark.slow
def test_every_generation_tells_its_memory_and_a_wrong_topology_is_an_error(found):
    said = {name: found["topologies"].pop(name).removeprefix(f"{name}: ") for name in TOPOLOGIES}
    assert {name: text.split(" with ")[1].split(" GiB")[0] for name, text in said.items()} == {
        "v4:2x2x1": "30.75",
        "v5p:2x2x2": "95.74",
        "v6e:2x4": "31.25",
        "v5e:1x1": "15.75",
        "v5e:4x8": "15.75",
    }
    assert [text.split()[0] for text in said.values()] == ["4", "8", "8", "1", "32"]
    for name, error in found["topologies"].items():
        assert error.startswith(f"target: got '{name}', expected a TPU topology"), error


@pytest.mark.slow
def test_the_environment_of_the_process_stays(found):
    assert found["changed"] == []


def test_without_libtpu_the_error_names_the_extra(monkeypatch):
    monkeypatch.setattr(tpu.importlib.util, "find_spec", lambda name: None)
    monkeypatch.delenv("TPU_LIBRARY_PATH", raising=False)
    with pytest.raises(
        ValueError, match=r"^target: got 'v5e:2x4', but libtpu, .* pip install 'dlcore\[tpu\]'"
    ):
        tpu_target("v5e:2x4")
