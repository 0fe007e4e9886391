"""Devices of this machine's CPU as a target."""

import jax

from dlcore.training.targets.target import HOST_SHARE, Target, host_memory

MOST = 4096


def cpu_target(count: int) -> Target:
    """That many devices of this machine's CPU.

    Args:
        count: the number of devices, at least 1.

    Raises:
        ValueError: JAX has fewer devices of the CPU in this process, or ``count`` is out of its bounds.
    """
    if not 1 <= count <= MOST:
        raise ValueError(f"target: got 'cpu:{count}', expected cpu:1 to cpu:{MOST}")
    try:
        devices = jax.devices("cpu")
    except RuntimeError as error:
        raise ValueError(
            f"target: got 'cpu:{count}', but JAX has no CPU in this process ({error}); leave JAX_PLATFORMS unset"
        ) from error
    if len(devices) < count:
        raise ValueError(
            f"target: got 'cpu:{count}', but JAX has {len(devices)} of the CPU's devices in this process; "
            f"JAX_NUM_CPU_DEVICES={count} in its environment makes as many"
        )
    return Target(f"cpu:{count}", tuple(devices[:count]), host_memory() // count, HOST_SHARE)
