"""How an LSTM of 2 x 2048 units scales to more chips, on paper: time of the products against time of the exchange.

    python -m benchmarks.capacity

The training step is compiled for TPU v5p slices of 8, 64 and 512 chips (extra ``tpu``), with data parallelism and with
FSDP, at the same number of rows a chip. FLOPs and collectives are those of the executables. Nothing is run: the times
are FLOPs and bytes over the rates of the chip, so a real step takes longer. ``--step_seconds`` puts a measured time of
the step without exchange in the place of the first one.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import jax
from absl import app, flags
from flax import linen as nn

import dlcore as dl
from dlcore.utils.hlo import Collective

SLICES = {"v5p:2x2x2": 8, "v5p:4x4x4": 64, "v5p:8x8x8": 512}
FEATURES, LAYERS, LENGTH = 2048, 2, 100
PEAK, MEMORY, LINKS = 459e12, 2.765e12, 600e9
"""Of a v5p chip, by Google Cloud's page: bfloat16 FLOP/s, bytes/s of its memory, bytes/s over all its links."""

ROWS = flags.DEFINE_multi_integer("rows", [64, 512], "Rows of a batch on each chip.", lower_bound=1)
STEP_SECONDS = flags.DEFINE_float("step_seconds", None, "Measured seconds of a step on one chip.")

SENT = {"all-reduce": 2.0}
"""Times that a chip sends an array of which the others have a part, in a ring of many; 1 for the other collectives."""


@dataclass
class Config(dl.Config):
    features: int = dl.setting(FEATURES, "Units of each layer.", minimum=1)


class Model(nn.Module):
    features: int

    @nn.compact
    def __call__(self, inputs: jax.Array, *, train: bool) -> jax.Array:
        _, outputs = dl.DeepRecurrent(dl.LSTMCell(self.features), layers=LAYERS)(inputs)
        return nn.Dense(1)(outputs[:, -1])[:, 0]


def experiment(config: Config) -> dl.Experiment:
    task = partial(dl.data.adding, length=LENGTH)
    return dl.Experiment.from_flax(
        Model(config.features),
        loss=dl.losses.regression,
        best="loss",
        train_data=dl.data.SyntheticBatches(task, config.train.batch_size, config.seed),
        eval_data=dl.data.PaddedBatches(dl.data.held_out(task, 512), config.train.eval_batch_size),
    )


def sent_bytes(collectives: tuple[Collective, ...]) -> float:
    """The bytes that a chip sends in a step, see `SENT`."""
    return sum(SENT.get(one.kind, 1) * one.total * (one.devices - 1) / one.devices for one in collectives)


def product_seconds(flops: float) -> float:
    """The least time of a step's products on a chip: by its FLOPs, or by the kernels that it reads in each time step.

    A time step reads the recurrent kernel of a layer once in the forward pass and once in the backward pass. It has
    ``4 x 2048 x 2048`` numbers of two bytes.
    """
    kernels = LAYERS * 4 * FEATURES**2 * 2
    return max(flops / PEAK, 2 * LENGTH * kernels / MEMORY)


def scaling(slice_name: str, chips: int, rows: int, parameters: str) -> Mapping[str, float]:
    """One row of the table: a slice, rows a chip, and where the parameters are."""
    config = Config()
    config.train.batch_size = rows * chips
    config.train.precision = "bfloat16"
    config.mesh.parameters = parameters  # type: ignore[assignment]
    training = dl.inspect(experiment, config, slice_name).steps[0]
    if training.flops is None or training.needed is None:
        raise ValueError(f"--rows: got {rows}, which do not fit a chip")
    products = STEP_SECONDS.value or product_seconds(training.flops / chips)
    exchange = sent_bytes(training.collectives) / LINKS
    return {
        "GiB": training.needed / 2**30,
        "TFLOP": training.flops / chips / 1e12,
        "MB sent": sent_bytes(training.collectives) / 1e6,
        "ms products": 1e3 * products,
        "ms exchange": 1e3 * exchange,
        "efficiency": products / (products + exchange),
    }


def main(_: list[str]) -> None:
    jax.config.update("jax_platforms", "cpu")
    table = {}
    for rows in ROWS.value:
        for parameters in ("replicated", "sharded"):
            for name, chips in SLICES.items():
                found = table[f"{chips} chips, {rows} rows, {parameters}"] = scaling(
                    name, chips, rows, parameters
                )
                print(
                    f"{chips:4} {rows:5} {parameters:10}",
                    *(f"{value:9.3g}" for value in found.values()),
                    flush=True,
                )
    print("result:", json.dumps(table))


if __name__ == "__main__":
    app.run(main)
