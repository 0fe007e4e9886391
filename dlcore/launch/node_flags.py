"""The flags that say on which nodes of a Kubernetes cluster a job runs."""

import re

from absl import flags

from dlcore.launch.jobset import GPU, TPU, Nodes
from dlcore.launch.launcher import FlagRow, check_at_least
from dlcore.launch.tpu_topology import Slice, read_slice

ROWS: list[FlagRow] = [
    (flags.DEFINE_integer, "nodes", None, "Nodes of the job. The default is 1, or the hosts of --tpu."),
    (flags.DEFINE_integer, "gpus_per_node", 0, "GPUs of each node."),
    (
        flags.DEFINE_string,
        "gpu",
        None,
        "Model of the GPUs as GKE labels its nodes, such as nvidia-h100-80gb.",
    ),
    (flags.DEFINE_string, "tpu", None, "A TPU slice: its generation and topology, such as v5e:4x4."),
    (flags.DEFINE_string, "cpus_per_node", None, "CPU cores that the process of a node requests."),
    (
        flags.DEFINE_string,
        "memory_per_node",
        None,
        "Memory that the process of a node requests, such as 64Gi.",
    ),
    (flags.DEFINE_multi_string, "node_label", [], "KEY=VALUE, a label that the nodes have; may be repeated."),
]

QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?")
LABEL_VALUE = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
LABEL = re.compile(rf"([a-z0-9][-a-z0-9.]*/)?{LABEL_VALUE}={LABEL_VALUE}")


def read_nodes(values: flags.FlagValues) -> Nodes:
    """The nodes that the flags of `ROWS` describe.

    Args:
        values: the parsed flags.

    Raises:
        ValueError: a flag is wrong, or two contradict each other.
    """
    if values.nodes is not None:
        check_at_least("--nodes", values.nodes, 1)
    check_at_least("--gpus_per_node", values.gpus_per_node, 0)
    requests, labels = _requests(values), _labels(values)
    if values.tpu is not None:
        tpu = read_slice(values.tpu)
        count = _hosts(tpu, values)
        selector = {
            "cloud.google.com/gke-tpu-accelerator": tpu.generation.gke,
            "cloud.google.com/gke-tpu-topology": tpu.topology,
        }
        return Nodes(count, TPU, tpu.chips // count, requests, selector | labels)
    if values.gpu is not None:
        if not values.gpus_per_node:
            raise ValueError(
                f"--gpu: got {values.gpu!r} for nodes without GPUs, expected --gpus_per_node too"
            )
        labels = _read_label("--gpu", f"cloud.google.com/gke-accelerator={values.gpu}") | labels
    return Nodes(
        values.nodes or 1, GPU if values.gpus_per_node else "", values.gpus_per_node, requests, labels
    )


def _hosts(tpu: Slice, values: flags.FlagValues) -> int:
    for flag, value in (("--gpus_per_node", values.gpus_per_node), ("--gpu", values.gpu)):
        if value:
            raise ValueError(f"{flag}: got {value} with --tpu={values.tpu}, expected one of them")
    count = tpu.possible_hosts[0] if values.nodes is None else values.nodes
    if count not in tpu.possible_hosts:
        hosts = " or ".join(map(str, tpu.possible_hosts))
        raise ValueError(
            f"--nodes: got {count}, expected {hosts}, the hosts of --tpu={values.tpu}; or leave --nodes out"
        )
    return count


def _requests(values: flags.FlagValues) -> dict[str, str]:
    requests = {}
    for resource, flag in (("cpu", "cpus_per_node"), ("memory", "memory_per_node")):
        quantity = getattr(values, flag)
        if quantity is None:
            continue
        if not QUANTITY.fullmatch(quantity):
            raise ValueError(
                f"--{flag}: got {quantity!r}, expected a quantity of Kubernetes, such as 16 or 64Gi"
            )
        requests[resource] = quantity
    return requests


def _labels(values: flags.FlagValues) -> dict[str, str]:
    return {
        key: value for text in values.node_label for key, value in _read_label("--node_label", text).items()
    }


def _read_label(flag: str, text: str) -> dict[str, str]:
    if not LABEL.fullmatch(text):
        raise ValueError(f"{flag}: got {text!r}, expected a label of Kubernetes, KEY=VALUE")
    key, _, value = text.partition("=")
    return {key: value}
