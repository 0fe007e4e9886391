"""The operations of traced programs, those of nested programs included."""

import jax
import jax.numpy as jnp

from dlcore.utils.jaxprs import bind, called_program, evaluate, nested_programs, operations


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


def test_a_program_is_evaluated_within_its_calls_and_in_calls_that_are_not_entered():
    """Constants of nested programs included; the trail leads from the outermost call to the operation."""
    table = jnp.arange(3.0)
    halved = jax.jit(lambda x: jnp.sin(x) / 2 + table)
    program = jax.make_jaxpr(lambda x: jax.checkpoint(halved)(x) + jax.nn.relu(x))(jnp.ones(3))
    expected = halved(jnp.ones(3)) + 1
    for enters in (lambda trail: True, lambda trail: False):
        trails = []

        def apply(trail, inputs, trails=trails):
            trails.append([equation.primitive.name for equation in trail])
            return bind(trail[-1], inputs)

        (found,) = evaluate(program.jaxpr, program.consts, [jnp.ones(3)], apply, enters)
        assert (found == expected).all()
        assert any(len(trail) == 3 and trail[-1] == "sin" for trail in trails) == enters(())
        assert all(len(trail) == 1 for trail in trails) != enters(())


def test_a_scan_is_no_call():
    scan = traced(lambda x: jax.lax.scan(lambda carry, _: (carry, None), x, None, 2)[0] * 1).eqns[0]
    assert called_program(scan) is None
