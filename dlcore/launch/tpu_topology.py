"""Slices of TPUs by generation and topology: how many hosts and chips one has, and its names in Google's clouds.

Sources: the pages "TPU v4", "TPU v5e", "TPU v5p" and "TPU v6e" of Cloud TPU's documentation, "Plan TPUs in GKE" of
Kubernetes Engine's, and the topologies that libtpu describes.
"""

import functools
import math
import re
from dataclasses import dataclass

CHIPS_PER_HOST = 4  # of every slice of several hosts

FLAT = ((1, 1), (2, 2), (2, 4), (4, 4), (4, 8), (8, 8), (8, 16), (16, 16))
SMALL = ((2, 2, 1), (2, 2, 2), (2, 2, 4), (2, 4, 4))


@dataclass(frozen=True)
class Generation:
    """One generation of TPUs.

    Attributes:
        name: its name in ``--tpu`` and in libtpu's topologies.
        gcloud: the name with which its accelerator types begin.
        gke: the value of the node label ``cloud.google.com/gke-tpu-accelerator``.
        runtime_version: the image of its TPU VMs for JAX.
        cores: how much a chip counts in the number at the end of an accelerator type.
        most_chips: the chips of the largest slice; a torus of three dimensions has more than the flat 256.
    """

    name: str
    gcloud: str
    gke: str
    runtime_version: str
    cores: int
    most_chips: int

    @property
    def is_flat(self) -> bool:
        """True if the chips of a slice are a grid of two dimensions."""
        return self.most_chips == math.prod(FLAT[-1])


GENERATIONS = {
    generation.name: generation
    for generation in (
        Generation("v4", "v4", "tpu-v4-podslice", "tpu-ubuntu2204-base", 2, 4096),
        Generation("v5e", "v5litepod", "tpu-v5-lite-podslice", "v2-alpha-tpuv5-lite", 1, 256),
        Generation("v5p", "v5p", "tpu-v5p-slice", "v2-alpha-tpuv5", 2, 6144),
        Generation("v6e", "v6e", "tpu-v6e-slice", "v2-alpha-tpuv6e", 1, 256),
    )
}


@dataclass(frozen=True)
class Slice:
    """A slice of TPUs.

    Attributes:
        generation: the generation of its chips.
        shape: the chips along each dimension.
    """

    generation: Generation
    shape: tuple[int, ...]

    @property
    def topology(self) -> str:
        """The shape as Google writes it, such as ``4x4``."""
        return "x".join(map(str, self.shape))

    @property
    def chips(self) -> int:
        """The number of chips; JAX sees one device a chip."""
        return math.prod(self.shape)

    @property
    def hosts(self) -> int:
        """The number of hosts of the slice as TPU VMs; eight flat chips are one host."""
        return 1 if self.shape == (2, 4) else max(1, self.chips // CHIPS_PER_HOST)

    @property
    def possible_hosts(self) -> tuple[int, ...]:
        """The numbers of hosts that the slice may have on Kubernetes, where eight flat chips may also be two hosts."""
        return (1, 2) if self.shape == (2, 4) else (self.hosts,)

    @property
    def accelerator_type(self) -> str:
        """The name for gcloud's ``--accelerator-type``, such as ``v5litepod-16``."""
        return f"{self.generation.gcloud}-{self.chips * self.generation.cores}"


def read_slice(text: str) -> Slice:
    """Reads the value of ``--tpu``.

    Args:
        text: a generation and a topology, such as ``v5e:4x4`` or ``v5p:4x4x8``.

    Raises:
        ValueError: there is no such generation, or it has no such topology.

    >>> tpu = read_slice("v5p:2x2x4")
    >>> tpu.chips, tpu.hosts, tpu.accelerator_type
    (16, 4, 'v5p-32')
    """
    name, _, topology = text.partition(":")
    if name not in GENERATIONS:
        raise ValueError(
            f"--tpu: got {text!r}, expected {', '.join(GENERATIONS)} with a topology, such as v5e:4x4"
        )
    generation = GENERATIONS[name]
    shape = (
        tuple(map(int, topology.split("x")))
        if re.fullmatch("[1-9][0-9]{0,3}(x[1-9][0-9]{0,3})+", topology)
        else ()
    )
    if not _is_offered(generation, shape):
        raise ValueError(f"--tpu: got {text!r}, expected {_offered(generation, shape)}")
    return Slice(generation, shape)


def _is_offered(generation: Generation, shape: tuple[int, ...]) -> bool:
    if generation.is_flat:
        return shape in FLAT
    return shape in SMALL or (len(shape) == 3 and shape == _torus(generation, shape))


def _torus(generation: Generation, shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    """The torus that a generation offers for the chips of a shape; None if it offers none."""
    chips = math.prod(shape)
    return compact_shape(chips) if chips <= generation.most_chips else None


def _offered(generation: Generation, shape: tuple[int, ...]) -> str:
    """The topologies of a generation for an error message."""
    names = [
        f"{generation.name}:{'x'.join(map(str, each))}" for each in (FLAT if generation.is_flat else SMALL)
    ]
    if generation.is_flat:
        return " or ".join(names)
    torus = _torus(generation, shape) if shape else None
    if torus:
        return f"{generation.name}:{'x'.join(map(str, torus))} for {math.prod(torus)} chips"
    return (
        f"{', '.join(names)} or three multiples of 4, such as {generation.name}:4x4x8, for at most "
        f"{generation.most_chips} chips"
    )


@functools.cache
def compact_shape(chips: int) -> tuple[int, int, int] | None:
    """The torus that is offered for so many chips: blocks of 4 x 4 x 4, as compact as can be; None if there is none.

    Args:
        chips: the number of chips.

    >>> compact_shape(256), compact_shape(100)
    ((4, 8, 8), None)
    """
    blocks, rest = divmod(chips, 64)
    if rest or not blocks:
        return None
    shapes = (
        (4 * first, 4 * second, 4 * (blocks // first // second))
        for first in range(1, blocks + 1)
        if blocks % first == 0
        for second in range(first, blocks // first + 1)
        if blocks // first % second == 0
    )
    return min((shape for shape in shapes if shape[1] <= shape[2]), key=sum)
