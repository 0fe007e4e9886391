"""A traced loss: the names of its operations, what its scans depend on, and the loss with other results of one."""

import inspect

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

from dlcore.gradflow.models.program import (
    OTHERS,
    PARAMS,
    leads_to_scan,
    name_of,
    source_of,
    trace_program,
    why_unmeasured,
)
from dlcore.gradflow.models.program_scans import find_scans


def scan_sum(weight, steps=3, first=1.0):
    return jax.lax.scan(lambda state, _: (weight * state, None), first, None, length=steps)[0]


LINE = inspect.getsourcelines(scan_sum)[1] + 1


class Model(nn.Module):
    @nn.compact
    def __call__(self, inputs):
        return jax.vmap(nn.RNN(nn.GRUCell(2), name="encoder"))(inputs).sum()


def scans_of(loss, *arguments):
    return find_scans(trace_program(loss, arguments))[0]


def test_a_scan_has_the_path_of_its_modules_and_the_source_line_of_the_user():
    model, inputs = Model(), jnp.ones((1, 2, 3, 4))
    params = jax.eval_shape(model.init, jax.random.key(0), inputs)
    found = []
    jax.eval_shape(
        lambda params: found.extend(scans_of(lambda params: model.apply(params, inputs), params)), params
    )
    (scan,) = found
    assert name_of(scan.trail) == "Model/encoder"
    line = next(i for i, text in enumerate(inspect.getsource(Model).splitlines()) if "vmap" in text)
    assert source_of(scan.trail) == f"test_program.py:{inspect.getsourcelines(Model)[1] + line}"


def test_a_scan_outside_of_modules_has_its_source_line_as_its_name():
    (scan,) = scans_of(jax.jit(scan_sum), 2.0)
    assert name_of(scan.trail) == source_of(scan.trail) == f"test_program.py:{LINE}"


def test_the_loss_with_other_results_of_a_scan_runs_the_rest_of_the_program():
    """Also if one jit runs the same program twice, and within a function with a derivative of its own."""
    twice = jax.jit(scan_sum)
    own = jax.custom_vjp(lambda weight: scan_sum(weight))
    own.defvjp(lambda weight: (own(weight), None), lambda _, cotangent: (cotangent,))
    program = trace_program(lambda weight: twice(weight) + 10 * twice(weight) + 100 * own(weight), (1.0,))
    scans, _ = find_scans(program)
    assert [float(program.loss_with(scan.trail, [2.0])) for scan in scans] == [112, 121, 211]


def test_inputs_are_traced_to_the_parameters_and_to_everything_else():
    table = jnp.ones(3)

    def loss(params, data):
        return scan_sum(params * 2, first=data["x"]) + scan_sum(params * table.sum()) + scan_sum(1.5)

    origins = [scan.origins for scan in scans_of(loss, jnp.float32(2), {"x": jnp.float32(1)})]
    assert origins == [[PARAMS, OTHERS], [PARAMS | OTHERS, frozenset()], [frozenset()]]
    assert scans_of(lambda: scan_sum(table[0]))[0].origins[0] == PARAMS
    tied = lambda params, data: scan_sum(params[1], first=data)
    assert scans_of(tied, [table[0]] * 2, table[1])[0].origins == [PARAMS, OTHERS]


def test_a_rule_of_a_while_loop_stays():
    solve = jax.custom_vjp(lambda x: jax.lax.while_loop(lambda x: x < 3, lambda x: x + scan_sum(x), x))
    solve.defvjp(lambda x: (solve(x), None), lambda _, cotangent: (cotangent,))
    calls = {
        equation.primitive.name: leads_to_scan((equation,))
        for equation in jax.make_jaxpr(lambda x: jax.jit(solve)(x) + solve(x) + jnp.sin(jax.jit(jnp.cos)(x)))(
            1.0
        ).eqns
    }
    assert calls.pop("jit") is False  # the last one, of a cosine
    assert not any(calls.values())


def test_reasons_are_given():
    def loop(body, first):
        return jax.make_jaxpr(lambda first: jax.lax.scan(body, first, None, length=2)[0])(first).eqns[-1]

    def say(state, _):
        jax.debug.print("{}", state)
        return state * 2, None

    assert why_unmeasured(loop(lambda state, _: (state * 2, None), 1.0)) is None
    assert "no floating point" in why_unmeasured(loop(lambda state, _: (state * 2, None), 1))
    assert "effects" in why_unmeasured(loop(say, 1.0))


@pytest.mark.parametrize("returned", [None, "a", {}])
def test_a_loss_that_returns_no_array_is_refused(returned):
    with pytest.raises(TypeError, match=r"loss: got .* returned, expected a scalar array"):
        trace_program(lambda: returned, ())
