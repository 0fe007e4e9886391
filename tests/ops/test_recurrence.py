"""The time loop without Flax: gates, masks, windows, dtypes, and the same gradients on several devices."""

import functools
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.ops import recurrence
from dlcore.ops.chunked_scan import Loop
from dlcore.ops.lstm import Lstm
from dlcore.ops.recurrence import Kernels
from tests.helpers import reference

random = np.random.default_rng(0)
WEIGHTS = Kernels(*(random.normal(size=size).astype(np.float32) for size in ((2, 12), (3, 12), (12,))))
INPUTS, LENGTHS = random.normal(size=(4, 7, 2)).astype(np.float32), np.array([7, 0, 3, 1], np.int32)
CARRY = tuple(random.normal(size=(2, 4, 3)).astype(np.float32))
close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)


def scan_lstm(weights, carry, inputs, lengths, loop):
    return recurrence.gated_scan(Lstm(), weights, carry, inputs, lengths, loop)


@pytest.mark.parametrize(
    "loop", [Loop(), pytest.param(Loop(reverse=True, time_chunk=3), marks=pytest.mark.slow)]
)
def test_a_gated_scan_equals_a_loop_and_padding_reaches_nothing(loop):
    padding = (np.arange(7) >= LENGTHS[:, None])[..., None]
    spoilt = np.where(padding, np.float32(np.nan), INPUTS)

    @jax.jit
    def run(weights, carry, inputs):
        loss = lambda *arguments: (scan_lstm(*arguments, LENGTHS, loop)[1] ** 2).sum()
        return scan_lstm(weights, carry, inputs, LENGTHS, loop), jax.grad(loss, (0, 2))(
            weights, carry, inputs
        )

    (carry, outputs), (to_weights, to_inputs) = run(WEIGHTS, CARRY, spoilt)
    arguments = {
        name: np.asarray(kernel, float) for name, kernel in zip(WEIGHTS._fields[:3], WEIGHTS, strict=False)
    }
    initial = tuple(part.astype(float) for part in CARRY)
    unroll = functools.partial(reference.unroll, reference.lstm, lengths=LENGTHS, reverse=loop.reverse)
    expected_carry, expected = unroll(arguments, INPUTS.astype(float), initial)
    jax.tree.map(close, (carry, outputs), (expected_carry, expected))

    def loss(moved):
        inputs = moved.pop("inputs")
        return (unroll(moved, inputs, initial)[1] ** 2).sum()

    gradients = reference.gradients(loss, {**arguments, "inputs": INPUTS.astype(float)})
    for name, gradient in {**to_weights._asdict(), "inputs": to_inputs}.items():
        if gradient is not None:
            np.testing.assert_allclose(gradient, gradients[name], rtol=1e-4, atol=1e-5)


def test_a_sequence_in_pieces_equals_the_whole():
    @jax.jit
    def run():
        _, whole = scan_lstm(WEIGHTS, CARRY, INPUTS, None, Loop())
        middle, first = scan_lstm(WEIGHTS, CARRY, INPUTS[:, :3], None, Loop())
        _, second = scan_lstm(WEIGHTS, middle, INPUTS[:, 3:], None, Loop(time_chunk=2))
        return whole, jnp.concatenate([first, second], axis=1)

    close(*run())


def test_a_step_knows_its_time_in_every_window():
    inputs = np.zeros((1, 7, 1), np.float32)
    step = lambda carry, x, t: (carry, t + x)
    loops = Loop(), Loop(time_chunk=3), Loop(truncate=2), Loop(reverse=True, time_chunk=2, truncate=4)

    @jax.jit
    def run():
        return [recurrence.masked_scan(step, np.zeros((1, 1)), inputs, loop=loop)[1] for loop in loops]

    for times in run():
        assert times[0, :, 0].tolist() == list(range(7))


def test_the_carry_takes_the_dtype_that_the_step_computes_in():
    step = lambda carry, x, t: ((carry + x).astype(jnp.bfloat16), carry)
    run = lambda: recurrence.masked_scan(step, jnp.zeros((2, 3), jnp.float32), jnp.ones((2, 4, 3)))
    carry, outputs = jax.eval_shape(run)
    assert carry.dtype == outputs.dtype == jnp.bfloat16


def test_gates_are_the_first_columns_of_the_kernels():
    inputs, hidden = INPUTS[:, 0], CARRY[1]
    gates = recurrence.gate_values("ifo", WEIGHTS, inputs, hidden)
    z = inputs @ WEIGHTS.input_kernel + hidden @ WEIGHTS.recurrent_kernel + WEIGHTS.bias
    for name, columns in zip("ifo", np.split(z, 4, axis=1), strict=False):
        close(gates[name], 1 / (1 + np.exp(-columns)))


def test_weights_may_lack_feedback_and_bias():
    inputs, hidden = INPUTS[:, 0], CARRY[1]
    close(
        recurrence.pre_activations(Kernels(WEIGHTS.input_kernel, None), inputs, hidden),
        inputs @ WEIGHTS.input_kernel,
    )
    close(recurrence.times(inputs[:, :1], WEIGHTS.input_kernel[:1]), inputs[:, :1] @ WEIGHTS.input_kernel[:1])
    close(recurrence.times_transposed(hidden, WEIGHTS.recurrent_kernel.T), hidden @ WEIGHTS.recurrent_kernel)
    assert recurrence.dropped(hidden, None) is hidden
    close(recurrence.dropped(hidden, 2 * np.ones_like(hidden)), 2 * hidden)


@pytest.mark.slow
def test_a_shard_of_the_batch_is_scanned_within_shard_map():
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))

    @jax.jit
    def both(inputs):
        loss = lambda inputs: (scan_lstm(WEIGHTS, CARRY, inputs, LENGTHS, Loop(time_chunk=2))[1] ** 2).sum()

        def of_shard(carry, inputs, lengths):
            return scan_lstm(WEIGHTS, carry, inputs, lengths, Loop(time_chunk=2))[1]

        sharded = jax.shard_map(of_shard, mesh=mesh, in_specs=jax.P("data"), out_specs=jax.P("data"))
        return jax.grad(loss)(inputs), jax.grad(lambda x: (sharded(CARRY, x, LENGTHS) ** 2).sum())(inputs)

    close(*both(INPUTS))


@pytest.mark.parametrize(("devices", "merged"), [(1, True), (2, False)])
def test_products_merge_time_and_batch_unless_devices_split_the_batch(devices, merged):
    mesh = jax.sharding.AbstractMesh((devices,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    inputs = jax.ShapeDtypeStruct(INPUTS.shape, np.float32, sharding=jax.NamedSharding(mesh, jax.P("data")))
    loss = lambda weights, inputs: scan_lstm(weights, CARRY, inputs, None, Loop())[1].sum()
    program = str(jax.jit(jax.grad(loss)).trace(WEIGHTS, inputs).jaxpr)
    assert ("f32[28,12]" in program) == merged  # 7 steps of 4 rows


TWO_DEVICES = """
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_num_cpu_devices", 2)
import dlcore as dl
mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
place = lambda array, *axes: jax.device_put(array, jax.NamedSharding(mesh, jax.P(*axes)))
inputs, lengths = jax.random.normal(jax.random.key(0), (4, 6, 3)), jnp.array([6, 0, 2, 5])
for layer in (dl.Recurrent(dl.LSTMCell(4)), dl.Bidirectional(dl.GRUCell(4), dl.GRUCell(4, reset="after"))):
    variables = layer.init(jax.random.key(1), inputs)
    loss = jax.jit(jax.grad(lambda v, x, l: (layer.apply(v, x, l)[1] ** 2).sum(), (0, 1)))
    sharded = (place(variables), place(inputs, "data"), place(lengths, "data"))
    assert "all-gather" not in loss.lower(*sharded).compile().as_text()
    expected = jax.device_put((variables, inputs, lengths), jax.devices()[0])
    assert "tensor<24x" in loss.lower(*expected).as_text()  # one of two devices: 6 steps of 4 rows are one dimension
    for one, other in zip(jax.tree.leaves(loss(*sharded)), jax.tree.leaves(loss(*expected)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
"""


@pytest.mark.slow
def test_a_batch_on_two_devices_gives_the_same_gradients_and_gathers_nothing():
    finished = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES], capture_output=True, text=True, timeout=300
    )
    assert finished.returncode == 0, finished.stderr
