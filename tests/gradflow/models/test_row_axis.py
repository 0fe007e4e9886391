"""The rows of a state are those that do not influence each other."""

import jax
import jax.numpy as jnp
import pytest

from dlcore.gradflow.models.row_axis import row_axis, rows_are_apart
from dlcore.gradflow.models.scan_body import is_float, scan_body
from dlcore.ops.convolution import correlate_channels

W = jnp.ones((3, 3))


def body_of(step, *carry, consts=()):
    """The body of a scan whose constants are these."""

    def run(consts, carry):
        return jax.lax.scan(lambda carry, _: (step(consts, *carry), None), carry, None, length=2)[0]

    (scan,) = jax.make_jaxpr(run)(consts, carry).jaxpr.eqns
    return scan_body(scan)


def axis_of(step, *carry):
    body = body_of(step, *carry)
    places = [place for place, variable in enumerate(body.carry_before) if is_float(variable)]
    return row_axis(body, [body.num_consts + place for place in places], places)


def where(condition, new):
    return lambda _, h: (jnp.where(condition, new(h), h),)


def depthwise(maps):
    return correlate_channels(maps, jnp.ones((2, 1, 3)), padding="SAME", groups=3)


STATE = jnp.ones((5, 3))
CASES = {
    "rows": (lambda _, h: (jnp.tanh(h @ W),), [STATE], 0),
    "one row": (lambda _, h: (jnp.tanh(h @ W),), [jnp.ones((1, 3))], 0),
    "no batch": (lambda _, h: (jnp.tanh(h @ W),), [jnp.ones(3)], None),
    "a counter": (lambda _, h, t: (h * t, t + 1), [STATE, 1], 0),
    "two arrays": (lambda _, h, c: (h + c.sum(axis=(1, 2))[:, None], c), [STATE, jnp.ones((5, 2, 2))], 0),
    "layers first": (lambda _, h: (jnp.stack([h[0] @ W, h[0] + h[1]]),), [jnp.ones((2, 5, 3))], 1),
    "a norm of the batch": (lambda _, h: ((h - h.mean(axis=0)) @ W,), [STATE], None),
    "a norm of the batch, units apart": (lambda _, h: (h - h.mean(axis=0),), [STATE], 1),
    "a roll by four rows": (lambda _, h: (h + jnp.roll(h, 4, axis=0) @ W,), [jnp.ones((8, 3))], None),
    "a sum that where hides": (where(False, lambda h: h @ W + h.sum(axis=0)), [STATE], None),
    "a masked softmax": (lambda _, h: (jax.nn.softmax(jnp.where(h > 2, h @ W, -jnp.inf)),), [STATE], 0),
    "a product chosen by the platform": (lambda _, h: (depthwise(h),), [jnp.ones((5, 4, 3))], 0),
    "a scalar": (lambda _, h, loss: (h @ W, loss + h.sum()), [STATE, 0.0], None),
    "a state that is forgotten": (lambda _, h: (0 * h,), [STATE], None),
}


@pytest.mark.parametrize("name", CASES)
def test_the_axis_of_the_rows(name):
    step, carry, expected = CASES[name]
    assert axis_of(step, *carry) == expected


def test_a_constant_with_a_row_for_each_row_is_told_from_weights():
    step = lambda consts, h: (jnp.tanh(h @ consts[0] + consts[1]),)
    body = body_of(step, jnp.ones((3, 3)), consts=(W, jnp.ones((3, 3))))
    assert not rows_are_apart(body, [0], 0, [0], 0)
    assert rows_are_apart(body, [1], 0, [0], 0)
    assert not rows_are_apart(body, [1], 1, [0], 0)


def test_axes_are_found_while_jax_traces():
    found = []
    jax.jit(jax.grad(lambda x: found.append(axis_of(*CASES["rows"][:1], STATE)) or x))(1.0)
    assert found == [0]
