"""The time loop on several devices, and what its pure functions promise without Flax."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np

from dlcore.ops import recurrence
from dlcore.ops.chunked_scan import Loop
from dlcore.ops.lstm import Lstm
from dlcore.ops.recurrence import Kernels

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
    for one, other in zip(jax.tree.leaves(loss(*sharded)), jax.tree.leaves(loss(*expected)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
"""


def test_a_batch_on_two_devices_gives_the_same_gradients_and_gathers_nothing():
    finished = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES], capture_output=True, text=True, timeout=300
    )
    assert finished.returncode == 0, finished.stderr


def test_a_sequence_of_pieces_by_hand_equals_the_whole():
    keys = jax.random.split(jax.random.key(0), 4)
    weights = Kernels(
        jax.random.normal(keys[0], (2, 12)),
        jax.random.normal(keys[1], (3, 12)),
        jax.random.normal(keys[2], (12,)),
    )
    inputs, carry = jax.random.normal(keys[3], (4, 7, 2)), (jnp.ones((4, 3)), jnp.zeros((4, 3)))
    _, whole = recurrence.gated_scan(Lstm(), weights, carry, inputs)
    middle, first = recurrence.gated_scan(Lstm(), weights, carry, inputs[:, :3])
    _, second = recurrence.gated_scan(Lstm(), weights, middle, inputs[:, 3:], loop=Loop(time_chunk=2))
    np.testing.assert_allclose(whole, jnp.concatenate([first, second], axis=1), rtol=1e-6, atol=1e-7)


def test_any_step_knows_the_number_of_its_step_in_every_window():
    inputs = jnp.zeros((1, 7, 1))
    for loop in (Loop(), Loop(time_chunk=3), Loop(truncate=2), Loop(reverse=True, time_chunk=2, truncate=4)):
        _, numbers = recurrence.masked_scan(
            lambda carry, x, t: (carry, t + x), jnp.zeros((1, 1)), inputs, loop=loop
        )
        assert numbers[0, :, 0].tolist() == list(range(7))
