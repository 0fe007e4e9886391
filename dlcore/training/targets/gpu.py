"""GPUs that are only described: JAX's CUDA plugin compiles for them on any machine."""

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from typing import NamedTuple

import jax
from jax.experimental import topologies

from dlcore.training.targets.target import Target

PLUGINS = ("xla_cuda13", "xla_cuda12")
GPUS_OF_A_HOST = 8
SHARE, SHARE_VARIABLES = 0.75, ("XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION")
"""The share of a GPU's memory that JAX takes, and the variables that set another one."""


class Gpu(NamedTuple):
    """What the compiler has to know of a GPU.

    Attributes:
        description: its name as its driver gives it, by which the compiler finds tables of its speed.
        capability: the compute capability, such as (9, 0).
        cores: number of multiprocessors.
        fpus: number of float32 units of a multiprocessor.
        shared_memory: bytes of a multiprocessor's shared memory.
        l2_cache: bytes of the L2 cache.
        memory: bytes of the memory.
        bandwidth: bytes of the memory that are read in a second.
        clock: in GHz.
    """

    description: str
    capability: tuple[int, int]
    cores: int
    fpus: int
    shared_memory: int
    l2_cache: int
    memory: int
    bandwidth: int
    clock: float


GPUS = {
    "a100": Gpu("NVIDIA A100-SXM4-80GB", (8, 0), 108, 64, 167936, 41943040, 85100068864, 2039040000000, 1.41),
    "a100-40gb": Gpu(
        "NVIDIA A100-SXM4-40GB", (8, 0), 108, 64, 167936, 41943040, 42331013120, 1555200000000, 1.41
    ),
    "h100": Gpu(
        "NVIDIA H100 80GB HBM3", (9, 0), 132, 128, 233472, 52428800, 84942979072, 3352320000000, 1.98
    ),
    "h200": Gpu(
        "NVIDIA H200 141GB HBM3e", (9, 0), 132, 128, 233472, 52428800, 151397597184, 4800000000000, 1.98
    ),
    "b200": Gpu("NVIDIA B200", (10, 0), 148, 128, 233472, 132644864, 191514411008, 7672320000000, 1.965),
}
"""By the name that ``--target`` takes; the numbers are those of XLA's own descriptions, ``target_config/specs``."""


def gpu_target(name: str, count: int) -> Target:
    """That many GPUs of a kind: up to 8 in one host, or a multiple of 8 in several hosts.

    Args:
        name: one of `GPUS`.
        count: the number of GPUs.

    Raises:
        ValueError: JAX's CUDA plugin is not installed or not loaded, there is no such number of GPUs, or the plugin
            does not compile for them.
    """
    text = f"{name}:{count}"
    hosts, rest = divmod(count, GPUS_OF_A_HOST)
    if count < 1 or (hosts and rest):
        raise ValueError(
            f"target: got {text!r}, expected 1 to {GPUS_OF_A_HOST} GPUs, or a multiple of {GPUS_OF_A_HOST}"
        )
    if not any(_is_installed(plugin) for plugin in PLUGINS):
        raise ValueError(
            f"target: got {text!r}, but JAX's CUDA plugin, which compiles for it, is not installed; "
            "pip install 'dlcore[cuda]' brings it"
        )
    topology = f"1x{hosts}x{GPUS_OF_A_HOST}" if hosts else f"1x1x{count}"
    with _without_check_for_a_gpu():
        try:
            found = topologies.get_topology_desc(
                name, "cuda", target_config=target_config(GPUS[name]), topology=topology
            )
        except NotImplementedError as error:  # JAX loads plugins once, and this one refused without a GPU
            raise ValueError(
                f"target: got {text!r}, but JAX did not load its CUDA plugin in this process; "
                "JAX_SKIP_CUDA_CONSTRAINTS_CHECK=1 in its environment loads it without a GPU"
            ) from error
        except jax.errors.JaxRuntimeError as error:
            raise ValueError(
                f"target: got {text!r}, for which the CUDA plugin does not compile ({error})"
            ) from error
    share = next((float(os.environ[name]) for name in SHARE_VARIABLES if name in os.environ), SHARE)
    memory = int(GPUS[name].memory * share)
    return Target(text, tuple(found.devices), memory, f"JAX takes {share:.0%} of it")


def target_config(gpu: Gpu) -> str:
    """The GPU as text of XLA's ``GpuTargetConfigProto``; what it does not vary is the same in all of these GPUs."""
    major, minor = gpu.capability
    return f"""
        gpu_device_info {{
          threads_per_block_limit: 1024  threads_per_warp: 32  threads_per_core_limit: 2048
          block_dim_limit_x: 2147483647  block_dim_limit_y: 65535  block_dim_limit_z: 65535
          registers_per_core_limit: 65536  registers_per_block_limit: 65536
          shared_memory_per_block: 49152  shared_memory_per_block_optin: {gpu.shared_memory - 1024}
          shared_memory_per_core: {gpu.shared_memory}  l2_cache_size: {gpu.l2_cache}
          core_count: {gpu.cores}  fpus_per_core: {gpu.fpus}  clock_rate_ghz: {gpu.clock}
          device_memory_size: {gpu.memory}  memory_bandwidth: {gpu.bandwidth}
          cuda_compute_capability {{ major: {major}  minor: {minor} }}
        }}
        platform_name: "CUDA"
        dnn_version_info {{ major: 9  minor: 10 }}
        device_description_str: "{gpu.description}"
    """


def _is_installed(plugin: str) -> bool:
    return importlib.util.find_spec("jax_plugins") is not None and bool(
        importlib.util.find_spec(f"jax_plugins.{plugin}")
    )


@contextlib.contextmanager
def _without_check_for_a_gpu() -> Iterator[None]:
    """A context manager in which the plugin loads on a machine without a GPU."""
    variable = "JAX_SKIP_CUDA_CONSTRAINTS_CHECK"
    before = os.environ.get(variable)
    os.environ[variable] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[variable]
        else:
            os.environ[variable] = before
