"""Slices of TPUs have the hosts, chips and names that Google's documentation and libtpu give them."""

import importlib.util
import json
import math
import os
import subprocess
import sys

import pytest

from dlcore.launch.tpu_topology import FLAT, GENERATIONS, SMALL, compact_shape, read_slice

# From the pages of Cloud TPU and of Kubernetes Engine: chips, hosts, accelerator type.
DOCUMENTED = {
    "v4:2x2x1": (4, 1, "v4-8"),
    "v4:2x2x4": (16, 4, "v4-32"),
    "v4:4x4x4": (64, 16, "v4-128"),
    "v4:8x8x8": (512, 128, "v4-1024"),
    "v5e:1x1": (1, 1, "v5litepod-1"),
    "v5e:2x2": (4, 1, "v5litepod-4"),
    "v5e:2x4": (8, 1, "v5litepod-8"),
    "v5e:4x4": (16, 4, "v5litepod-16"),
    "v5e:16x16": (256, 64, "v5litepod-256"),
    "v5p:2x2x1": (4, 1, "v5p-8"),
    "v5p:4x4x8": (128, 32, "v5p-256"),
    "v5p:16x16x24": (6144, 1536, "v5p-12288"),
    "v6e:2x4": (8, 1, "v6e-8"),
    "v6e:4x8": (32, 8, "v6e-32"),
    "v6e:8x16": (128, 32, "v6e-128"),
}


@pytest.mark.parametrize("text", DOCUMENTED)
def test_slices_are_those_of_the_documentation(text):
    tpu = read_slice(text)
    assert (tpu.chips, tpu.hosts, tpu.accelerator_type) == DOCUMENTED[text]
    assert tpu.topology == text.split(":")[1]


@pytest.mark.parametrize(
    ("chips", "shape"), [(64, (4, 4, 4)), (256, (4, 8, 8)), (768, (8, 8, 12)), (4096, (16, 16, 16))]
)
def test_a_torus_is_as_compact_as_can_be(chips, shape):
    assert compact_shape(chips) == shape


@pytest.mark.parametrize("text", ["v5e:2x4", "v6e:2x4"])
def test_eight_flat_chips_may_be_two_hosts(text):
    assert read_slice(text).possible_hosts == (1, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("v3:2x2", "expected v4, v5e, v5p, v6e with a topology, such as v5e:4x4"),
        ("h100:8", "expected v4, v5e, v5p, v6e with a topology"),
        ("v5e", "expected v5e:1x1 or v5e:2x2 or "),
        ("v5e:4x2", "expected v5e:1x1 or v5e:2x2 or "),
        ("v5e:16", "expected v5e:1x1 or "),
        ("v5e:4x4x4", "expected v5e:1x1 or "),
        ("v5e:4x4\n", "expected v5e:1x1 or "),
        ("v5e:04x4", "expected v5e:1x1 or "),
        ("v5p:4x4x16", "expected v5p:4x8x8 for 256 chips"),
        ("v4:8x4x4", "expected v4:4x4x8 for 128 chips"),
        ("v5p:4x4", "expected v5p:2x2x1, v5p:2x2x2, v5p:2x2x4, v5p:2x4x4 or three multiples of 4"),
        ("v5p:3x3x3", "expected v5p:2x2x1, .* for at most 6144 chips"),
        ("v4:9999x9999x9999", "expected v4:2x2x1, .* for at most 4096 chips"),
    ],
)
def test_other_slices_are_refused(text, message):
    with pytest.raises(ValueError, match=f"^--tpu: got .*, {message}"):
        read_slice(text)


LIBTPU = """
import json, sys
from jax.experimental import topologies
found = {}
for name in sys.argv[1:]:
    devices = topologies.get_topology_desc(platform="tpu", topology_name=name).devices
    found[name] = [len({tuple(each.coords) for each in devices}), len({each.process_index for each in devices})]
print(json.dumps(found))
"""


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed: pip install jax[tpu]"
)
def test_libtpu_describes_the_same_chips_and_hosts():
    shapes = {name: (FLAT[1:] if each.is_flat else (*SMALL, (4, 4, 8))) for name, each in GENERATIONS.items()}
    texts = [f"{name}:{'x'.join(map(str, shape))}" for name, each in shapes.items() for shape in each]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TPU_")}
    finished = subprocess.run(
        [sys.executable, "-c", LIBTPU, *texts],
        env={**environment, "TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    described = json.loads(finished.stdout.splitlines()[-1])
    assert described == {
        text: [math.prod(map(int, text.split(":")[1].split("x"))), max(read_slice(text).possible_hosts)]
        for text in texts
    }
