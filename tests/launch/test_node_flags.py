"""The flags of nodes: what they ask Kubernetes for, and which contradict each other."""

import pytest
from absl import flags

from dlcore.launch.jobset import GPU, TPU, Nodes
from dlcore.launch.node_flags import ROWS, read_nodes


def read(*arguments):
    values = flags.FlagValues()
    for define, name, default, meaning in ROWS:
        define(name, default, meaning, flag_values=values)
    values(["program", *arguments])
    return read_nodes(values)


ACCELERATOR, TOPOLOGY = "cloud.google.com/gke-tpu-accelerator", "cloud.google.com/gke-tpu-topology"
V6E = {ACCELERATOR: "tpu-v6e-slice", TOPOLOGY: "2x4"}


@pytest.mark.parametrize(
    ("arguments", "nodes"),
    [
        ([], Nodes(1)),
        (["--nodes=3"], Nodes(3)),
        (["--gpus_per_node=8"], Nodes(1, GPU, 8)),
        (
            ["--nodes=2", "--gpus_per_node=4", "--gpu=nvidia-l4"],
            Nodes(2, GPU, 4, {}, {"cloud.google.com/gke-accelerator": "nvidia-l4"}),
        ),
        (
            ["--cpus_per_node=0.5", "--memory_per_node=64Gi"],
            Nodes(1, "", 0, {"cpu": "0.5", "memory": "64Gi"}),
        ),
        (["--tpu=v6e:2x4"], Nodes(1, TPU, 8, {}, V6E)),
        (["--tpu=v6e:2x4", "--nodes=2"], Nodes(2, TPU, 4, {}, V6E)),
        (["--tpu=v5e:1x1"], Nodes(1, TPU, 1, {}, {ACCELERATOR: "tpu-v5-lite-podslice", TOPOLOGY: "1x1"})),
        (
            ["--tpu=v4:2x2x2", "--node_label=a/b=c", "--node_label=gke-spot=true"],
            Nodes(
                2,
                TPU,
                4,
                {},
                {ACCELERATOR: "tpu-v4-podslice", TOPOLOGY: "2x2x2", "a/b": "c", "gke-spot": "true"},
            ),
        ),
    ],
)
def test_nodes_are_read(arguments, nodes):
    assert read(*arguments) == nodes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nodes=0"], "--nodes: got 0, expected a number >= 1"),
        (["--gpus_per_node=-2"], "--gpus_per_node: got -2, expected a number >= 0"),
        (["--gpu=nvidia-l4"], "--gpu: got 'nvidia-l4' for nodes without GPUs, expected --gpus_per_node too"),
        (["--gpu=a b", "--gpus_per_node=1"], "--gpu: got '.*a b', expected a label"),
        (
            ["--tpu=v5e:4x4", "--gpus_per_node=8"],
            "--gpus_per_node: got 8 with --tpu=v5e:4x4, expected one of them",
        ),
        (["--tpu=v5e:4x4", "--gpu=nvidia-l4"], "--gpu: got nvidia-l4 with --tpu=v5e:4x4"),
        (["--tpu=v5e:4x4", "--nodes=2"], "--nodes: got 2, expected 4, the hosts of --tpu=v5e:4x4"),
        (["--tpu=v5e:2x4", "--nodes=4"], "--nodes: got 4, expected 1 or 2, the hosts of --tpu=v5e:2x4"),
        (["--tpu=v9:2x4"], "--tpu: got 'v9:2x4', expected v4, v5e, v5p, v6e"),
        (["--cpus_per_node=many"], "--cpus_per_node: got 'many', expected a quantity of Kubernetes"),
        (["--memory_per_node=64GB"], "--memory_per_node: got '64GB', expected a quantity of Kubernetes"),
        (["--node_label=a"], "--node_label: got 'a', expected a label of Kubernetes, KEY=VALUE"),
        (["--node_label=a=b c"], "--node_label: got 'a=b c', expected a label"),
        (["--node_label=a=b\n"], "--node_label: got 'a=b.n', expected a label"),
    ],
)
def test_flags_that_ask_for_no_nodes_are_refused(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        read(*arguments)
