"""Finds the machine that ``--target`` names."""

import contextlib
import re

import jax

from dlcore.config.settings import did_you_mean
from dlcore.training.targets.cpu import MOST, cpu_target
from dlcore.training.targets.gpu import GPUS, gpu_target
from dlcore.training.targets.target import Target
from dlcore.training.targets.tpu import TOPOLOGY, tpu_target
from dlcore.utils.checks import check_instance

COUNT = r"([\w-]+):(\d{1,6})"


def find_target(text: str) -> Target:
    """The machine that a text names.

    Args:
        text: ``cpu:N``, devices of this machine's CPU; a kind of GPU with its number, such as ``h100:8``; or a TPU
            topology, such as ``v5e:2x4``. GPUs and TPUs need not be there, but their compiler does.

    Raises:
        TypeError: it is no text.
        ValueError: there is no such machine, or its compiler is not installed.
    """
    check_instance("target", text, str, "a text such as v5e:2x4, h100:8 or cpu:8")
    counted = re.fullmatch(COUNT, text, re.ASCII)
    if counted and counted[1] == "cpu":
        return cpu_target(int(counted[2]))
    if counted and counted[1] in GPUS:
        return gpu_target(counted[1], int(counted[2]))
    if re.fullmatch(TOPOLOGY, text, re.ASCII):
        return tpu_target(text)
    raise ValueError(
        f"target: got {text!r}, expected a TPU topology such as v5e:2x4, one of {', '.join(GPUS)} with the number of "
        f"GPUs such as h100:8, or cpu:N{did_you_mean(text.partition(':')[0], (*GPUS, 'cpu'))}"
    )


def prepare_process(text: str) -> None:
    """Lets JAX use this machine's CPU alone, with the devices that a target asks for: for a process that only inspects.

    It must be called before JAX finds its devices; else it changes nothing. Accelerators of this machine stay free.

    Args:
        text: as in `find_target`; any other text is no error here.
    """
    jax.config.update("jax_platforms", "cpu")
    counted = re.fullmatch(COUNT, text, re.ASCII)
    if counted and counted[1] == "cpu" and 1 <= int(counted[2]) <= MOST:
        with contextlib.suppress(RuntimeError):  # JAX has its devices already
            jax.config.update("jax_num_cpu_devices", int(counted[2]))
