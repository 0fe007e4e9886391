"""Lengths of every integer dtype count as those of int32, and half precision is as exact as its last digit.

Each function and layer that takes lengths or values is one row of a table.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import dlcore as dl
from dlcore.layers.normalization import normalize
from dlcore.ops.convolution import correlate_channels
from dlcore.ops.sizes import output_lengths

KEY = jax.random.key(0)
INTEGERS = ("int8", "uint8", "int16", "uint16", "uint32", "int64", "uint64")
STEPS = 120
LENGTHS = np.array([0, 1, 77, STEPS], np.int32)
INPUTS = np.random.default_rng(0).normal(size=(len(LENGTHS), STEPS, 3)).astype(np.float32)


class Norm(nn.Module):
    norm: str

    @nn.compact
    def __call__(self, inputs, lengths=None):
        return normalize(self.norm, inputs, lengths, train=False, name="norm")


class Decoder(nn.Module):
    """An attention decoder whose inputs are its memory, too."""

    @nn.compact
    def __call__(self, inputs, lengths=None):
        like = {"param_dtype": inputs.dtype}
        decoder = dl.AttentionDecoder(dl.GRUCell(4, **like), dl.BahdanauAttention(4, **like), **like)
        return decoder(inputs, inputs, lengths, lengths)[1]


FUNCTIONS = {
    "valid_steps": lambda inputs, lengths: dl.valid_steps(lengths, STEPS),
    "last_over_time": dl.last_over_time,
    "mean_over_time": dl.mean_over_time,
    "max_over_time": dl.max_over_time,
    "max_pool": lambda inputs, lengths: dl.max_pool(inputs, (5,), 2, remainder="floor", lengths=lengths),
    "avg_pool": lambda inputs, lengths: dl.avg_pool(inputs, (5,), 2, remainder="floor", lengths=lengths),
    "avg_pool of large windows": lambda inputs, lengths: dl.avg_pool(inputs, (40,), lengths=lengths),
    "global_max_pool": dl.global_max_pool,
    "global_avg_pool": dl.global_avg_pool,
    "output_lengths": lambda inputs, lengths: output_lengths(lengths, 5, 2, [(1, 2)], 3, "ceil"),
    "attend": lambda inputs, lengths: dl.attend(inputs[..., 0], inputs, lengths),
}
LAYERS = {
    "Conv": dl.Conv(2, (5,), 3, padding=2, remainder="floor"),
    "ConvTranspose": dl.ConvTranspose(2, (5,), 3, "SAME"),
    "ConvStack": dl.ConvStack([dl.ConvBlock(3, (5,), 2, norm="batch", remainder="floor")]),
    "TimeDistributed": dl.TimeDistributed(nn.Dense(2)),
    "batch norm": Norm("batch"),
    "layer norm": Norm("layer"),
    "Recurrent": dl.Recurrent(dl.LSTMCell(4)),
    "Recurrent, in windows": dl.Recurrent(dl.GRUCell(4), time_chunk=50),
    "Bidirectional": dl.Bidirectional(dl.GRUCell(4), dl.GRUCell(4)),
    "DeepRecurrent": dl.DeepRecurrent(dl.LSTMCell(4), 2, norm="layer"),
    "AttentionDecoder": Decoder(),
}


def call_of(name):
    """The function of this row, or the layer with its variables in float32."""
    if name in FUNCTIONS:
        return FUNCTIONS[name]
    variables = LAYERS[name].init(KEY, jnp.asarray(INPUTS))
    return lambda inputs, lengths: LAYERS[name].apply(
        jax.tree.map(lambda leaf: leaf.astype(inputs.dtype), variables), inputs, lengths
    )


@pytest.mark.parametrize(
    "name", [*FUNCTIONS, *(pytest.param(name, marks=pytest.mark.slow) for name in LAYERS)]
)
def test_lengths_of_every_integer_dtype_count_as_those_of_int32(name):
    run = jax.jit(call_of(name))
    expected = run(INPUTS, LENGTHS)
    for dtype in INTEGERS:
        jax.tree.map(np.testing.assert_array_equal, run(INPUTS, LENGTHS.astype(dtype)), expected)


VALUES = {
    **{
        name: function
        for name, function in FUNCTIONS.items()
        if name not in ("valid_steps", "output_lengths")
    },
    "channel_pool": lambda inputs, lengths: dl.channel_pool(inputs, 3, "average"),
    "convolve": lambda inputs, lengths: dl.convolve(inputs[3, :, 0], inputs[2, :70, 0]),
    "convolve by FFT": lambda inputs, lengths: dl.convolve(inputs[3, :, 0], inputs[2, :70, 0], method="fft"),
    "depthwise": lambda inputs, lengths: correlate_channels(inputs, inputs[3, :30, None], groups=3),
}


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("name", [*VALUES, *(pytest.param(name, marks=pytest.mark.slow) for name in LAYERS)])
def test_half_precision_is_as_exact_as_its_last_digit(name, dtype):
    """Against the same function of the same rounded inputs in float64. Positive inputs let sums grow."""
    inputs = jnp.asarray(np.abs(INPUTS) + 0.5, dtype)
    with jax.enable_x64(True):
        call = VALUES.get(name) or call_of(name)
        got = jax.tree.leaves(jax.jit(call)(inputs, LENGTHS))
        exact = jax.tree.leaves(jax.jit(call)(jnp.asarray(np.asarray(inputs, np.float64)), LENGTHS))
    roundings = 1 if name in VALUES else 8  # a layer rounds in every step
    for values, expected in zip(got, exact, strict=True):
        assert values.dtype == dtype
        error = np.abs(np.asarray(values, np.float64) - np.asarray(expected)).max()
        assert error <= roundings * float(jnp.finfo(dtype).eps) * np.abs(expected).max()


@pytest.mark.parametrize("features", [1, 2])
@pytest.mark.parametrize(
    "make",
    [
        lambda dtype: dl.Conv(3, (1,), dtype=dtype),
        lambda dtype: dl.Recurrent(dl.GRUCell(3, dtype=dtype)),
        pytest.param(lambda dtype: dl.Recurrent(dl.LSTMCell(3, dtype=dtype)), marks=pytest.mark.slow),
    ],
)
def test_the_gradients_of_parameters_are_summed_in_float32(make, features):
    """In recurrent layers a sum of 4,000 float16 gradients of a bias was off by 3 to 6 %."""
    inputs = np.random.default_rng(0).uniform(size=(40, 100, features)).astype(np.float32)
    variables = make(None).init(KEY, inputs)

    @jax.jit
    def gradients():
        def loss(variables, dtype):
            outputs = jax.tree.leaves(make(dtype).apply(variables, inputs))[-1]
            return (outputs.astype(jnp.float32) * jnp.arange(3)).mean() * 100

        return [jax.grad(loss)(variables, dtype) for dtype in (jnp.float16, None)]

    for half, exact in zip(*map(jax.tree.leaves, gradients()), strict=True):
        error = np.abs(np.asarray(half, np.float64) - exact).max()
        assert error < 3 * float(jnp.finfo(jnp.float16).eps) * np.abs(exact).max()
