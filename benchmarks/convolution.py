"""Convolution and pooling against flax.linen, haiku, keras on JAX, and torch, where they are installed.

    python -m benchmarks.convolution [--rounds=15] [--only=PART_OF_A_NAME]

Each line is one forward and backward pass. dlcore and its peers run in turn in one process. The columns are dlcore's
milliseconds, and how many times faster it is than each peer (median of the rounds' ratios; below 1 it is slower).
"""

import importlib.util
import json
import statistics
from typing import Any, NamedTuple

import numpy as np
from absl import app, flags

from benchmarks.peers import PEERS, Layers
from benchmarks.timing import in_turn, speedup

ROUNDS = flags.DEFINE_integer("rounds", 15, "Number of times that each is timed.", lower_bound=1)
ONLY = flags.DEFINE_string("only", "", "Time only the cases whose name contains this.")
OTHERS = flags.DEFINE_list("peers", [name for name in PEERS if name != "dlcore"], "Peers to time.")


class Case(NamedTuple):
    """A network to time.

    Attributes:
        name: name of the case in the table.
        shape: shape of the inputs.
        layers: the network's layers.
        inner: True for an inner layer, which also computes the gradient by its inputs.
    """

    name: str
    shape: tuple[int, ...]
    layers: Layers
    inner: bool = True


def conv(features: int, *kernel_size: int, **options: Any) -> tuple[str, dict[str, Any]]:
    return "conv", {"features": features, "kernel_size": kernel_size, **options}


SAME = {"padding": "SAME"}
RELU = ("relu", None)
MNIST = [conv(32, 3, 3, **SAME), RELU, ("pool", 2), conv(64, 3, 3, **SAME), RELU, ("pool", 2), ("dense", 10)]
CASES = [
    Case("MNIST CNN, batch 64", (64, 28, 28, 1), MNIST, inner=False),
    Case("MNIST CNN, batch 256", (256, 28, 28, 1), MNIST, inner=False),
    Case("waveform, 8 taps, 64 filters", (16, 24000, 1), [conv(64, 8)], inner=False),
    Case("waveform, 80 taps, stride 4", (16, 16000, 1), [conv(64, 80, strides=4)], inner=False),
    Case("waveform, 400 taps, stride 160", (16, 16000, 1), [conv(40, 400, strides=160)], inner=False),
    Case("sequence, 40 channels, 40 taps", (16, 2000, 40), [conv(40, 40)]),
    Case("sequence, 64 channels, 3 taps", (32, 500, 64), [conv(64, 3, **SAME)]),
    Case("sequence, dilation 8", (32, 500, 64), [conv(64, 3, dilation=8, **SAME)]),
    Case("image 32 x 32 x 32, 3 x 3", (32, 32, 32, 32), [conv(32, 3, 3, **SAME)]),
    Case("image 14 x 14 x 64, 5 x 5", (32, 14, 14, 64), [conv(64, 5, 5, **SAME)]),
    Case("image 16 x 16 x 64, 1 x 1", (32, 16, 16, 64), [conv(128, 1, 1)]),
    Case("image 33 x 33 x 32, stride 2", (32, 33, 33, 32), [conv(64, 3, 3, strides=2)]),
    Case("image 32 x 32 x 32, 4 groups", (32, 32, 32, 32), [conv(32, 3, 3, groups=4, **SAME)]),
    Case("image 14 x 14 x 128, depthwise", (16, 14, 14, 128), [conv(128, 3, 3, groups=128, **SAME)]),
    Case("volume 12 x 12 x 12 x 8", (8, 12, 12, 12, 8), [conv(16, 3, 3, 3, **SAME)]),
    Case("pool 2 x 2 after 1 x 1", (64, 28, 28, 32), [conv(32, 1, 1), ("pool", 2)]),
    Case("pool 3 x 3 after 1 x 1", (64, 27, 27, 32), [conv(32, 1, 1), ("pool", 3)]),
]


def main(_: list[str]) -> None:
    others = [name for name in OTHERS.value if importlib.util.find_spec(name)]
    peers = {name: PEERS[name] for name in ("dlcore", *others)}
    print(f"{'':32}{'dlcore ms':>10}", *(f"{'x ' + name:>9}" for name in others), sep="")
    result = {}
    for case in CASES:
        if ONLY.value not in case.name:
            continue
        inputs = np.random.default_rng(0).normal(size=case.shape).astype(np.float32)
        steps = {name: build(case.layers, inputs, case.inner) for name, build in peers.items()}
        seconds = in_turn(steps, ROUNDS.value)
        ratios = {name: round(speedup(seconds, "dlcore", name), 2) for name in others}
        milliseconds = statistics.median(seconds["dlcore"]) * 1e3
        print(
            f"{case.name:32}{milliseconds:10.2f}",
            *(f"{ratio:9.2f}" for ratio in ratios.values()),
            sep="",
            flush=True,
        )
        result[case.name] = ratios
    print("result:", json.dumps(result))


if __name__ == "__main__":
    app.run(main)
