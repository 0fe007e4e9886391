"""``jax.shard_map``: the gradient of a sum over shards of the batch is the gradient of the sum."""

import jax
import jax.numpy as jnp

from tests.helpers.layers import CASES, FEW, assert_close, each, gradient_of, loss_of

# For these a CPU has its own product, which must have the type of XLA's.
BY_PLATFORM = ["conv", "conv, one channel", "conv transpose"]


@each([*FEW, *BY_PLATFORM])
def test_the_gradient_over_shards_is_the_gradient(name):
    """On one device a shard is the whole batch; JAX's types still tell what differs between shards."""
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    whole, shard = jax.P(), jax.P("data")
    with jax.enable_x64(True):
        arguments = CASES[name].arguments()
        specs = {key: whole if key == "params" else shard for key in arguments}
        over_shards = jax.shard_map(
            lambda arguments: jax.lax.psum(jnp.asarray(loss_of(CASES[name])(arguments)), "data"),
            mesh=mesh,
            in_specs=(specs,),
            out_specs=whole,
        )
        result = jax.jit(jax.value_and_grad(over_shards))(arguments)
        expected = gradient_of(name)(arguments)
    assert_close(result, expected, 1e-10)
