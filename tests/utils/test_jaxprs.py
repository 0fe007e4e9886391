"""The operations of traced programs, those of nested programs included."""

import jax
import jax.numpy as jnp

from dlcore.utils.jaxprs import nested_programs, operations


def traced(function):
    return jax.make_jaxpr(function)(jnp.ones(3)).jaxpr


def test_operations_of_nested_programs_are_found():
    def function(x):
        last, _ = jax.lax.scan(lambda carry, x: (jnp.sin(carry), x), x[0], x)
        return jax.lax.cond(last > 0, jax.checkpoint(jnp.cos), jax.nn.relu, x)

    assert {"scan", "sin", "cond", "cos", "custom_jvp_call", "max"} <= set(operations(traced(function)))


def test_an_operation_without_a_program_has_none():
    (tanh,) = traced(jnp.tanh).eqns
    assert not list(nested_programs(tanh.params))
    (branches,) = (
        equation for equation in traced(lambda x: jax.lax.cond(x[0] > 0, jnp.sin, jnp.cos, x)).eqns
        if equation.primitive.name == "cond"
    )  # fmt: skip
    assert len(list(nested_programs(branches.params))) == 2
