"""The flat body of a scan, its part after the new state, and what its results depend on."""

import jax
import jax.numpy as jnp

from dlcore.gradflow.models.scan_body import scan_body, sources

WEIGHTS, READ = jnp.float32(0.5), jnp.float32(3)


def body_of(step, state=1.0):
    """The body of a scan with a closed-over weight w, and a weight v of the outputs."""

    def run(w, v):
        return jax.lax.scan(lambda state, x: step(w, v, state, x), state, jnp.arange(2.0))

    (scan,) = (one for one in jax.make_jaxpr(run)(WEIGHTS, READ).jaxpr.eqns if one.primitive.name == "scan")
    return scan_body(scan)


def gated(w, v, state, x):
    new = jax.jit(lambda state: jnp.tanh(w * state + x))(state)
    return jnp.where(x > 0, new, state), v * jnp.where(x > 0, new, state)


def consts_among(body, found):
    return sum(variable in found for variable in body.program.invars[: body.num_consts])


def test_calls_are_dissolved_and_equal_operations_are_one():
    """The where of the outputs is that of the state, though jnp.where is a jit of its own each time."""
    names = [equation.primitive.name for equation in body_of(gated).program.eqns]
    assert "jit" not in names
    assert (names.count("select_n"), names.count("tanh")) == (1, 1)


def test_outputs_come_from_a_given_new_state():
    body = body_of(gated)
    (new,) = body.computed
    values = [jnp.float32(3), jnp.float32(3), jnp.float32(2), jnp.float32(1)]  # w, v, the state and x
    assert body.run(values) == [jnp.tanh(jnp.float32(7)), 3 * jnp.tanh(jnp.float32(7))]
    assert body.run(values, {new: jnp.float32(10)}) == [10, 30]


def test_the_output_depends_on_its_own_weight_alone_after_the_new_state():
    body = body_of(gated)
    assert consts_among(body, body.sources(body.carry_after)) == 1
    assert consts_among(body, body.sources(body.outputs)) == 2
    assert consts_among(body, body.sources(body.outputs, cut=body.computed)) == 1


def test_a_case_of_where_that_is_the_new_state_comes_from_it():
    def masked(w, v, state, x):
        new = jnp.tanh(w * state + x)
        return jnp.where(x > 0, new, state), v * jnp.where(x > 0, new, 0.0)

    def other_mask(w, v, state, x):
        new = jnp.tanh(w * state + x)
        return jnp.where(x > 0, new, state), v * jnp.where(x > 1, new, 0.0)

    counts = []
    for step in (masked, other_mask):
        body = body_of(step)
        counts.append(consts_among(body, body.sources(body.outputs, cut=body.computed)))
    assert counts == [1, 2]


def test_a_new_state_that_is_an_argument_is_not_computed():
    """A delay line: the second array of the carry is the first one of the step before."""
    body = body_of(lambda w, v, state, x: ((w * x, state[0]), state[1]), (1.0, 2.0))
    assert len(body.carry_after) == 2
    assert len(body.computed) == 1


def test_integers_are_no_way_of_a_derivative():
    program = jax.make_jaxpr(lambda x, y: jnp.where(jnp.argmax(x) > 1, y, 0.0))(jnp.ones(3), 1.0).jaxpr
    assert sources(program, program.outvars) & set(program.invars) == {program.invars[1]}
