"""State, parameters and data of a scan are told apart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.gradflow.models.program import trace_program
from dlcore.gradflow.models.program_scans import find_scans
from dlcore.gradflow.models.scan_body import scan_body
from dlcore.gradflow.models.scan_layout import as_dtype, as_real, scan_layout

PARAMS = {"w": jnp.ones((3, 3)), "v": jnp.ones((3, 3))}
DATA = jnp.ones((5, 3))


def layout_of(loss):
    """The layout of a loss's scan, and the values of its parameters."""
    (scan,), _ = find_scans(trace_program(loss, (PARAMS, DATA)))
    body = scan_body(scan.trail[-1])
    layout = scan_layout(body, scan.origins[: body.num_consts], lambda: {0})
    return layout, [scan.inputs[place] for place in layout.weights]


def run(step, read=lambda outputs: outputs):
    return read(jax.lax.scan(step, jnp.zeros((5, 3)), None, length=2)[1]).sum()


def tanh_step(kernel, more=0.0):
    return lambda h, _: ((new := jnp.tanh(h @ kernel + more)), new)


CASES = {
    "plain": (lambda p, x: run(tanh_step(p["w"])), 1),
    "masked by data": (lambda p, x: run(tanh_step(p["w"] * x[0])), 1),
    "fixed": (lambda p, x: run(tanh_step(x[:3])), 0),
    "data of each row": (lambda p, x: run(tanh_step(p["w"], x)), 1),
    "memory": (lambda p, x: run(tanh_step(p["w"], x @ p["v"])), 1),
    "a bias of all rows": (lambda p, x: run(tanh_step(p["w"], x[0] @ p["v"])), 2),
    "read out in the step": (
        lambda p, x: run(lambda h, _: ((new := jnp.tanh(h @ p["w"])), new @ p["v"])),
        1,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_parameters_are_told_from_data(name):
    loss, weights = CASES[name]
    layout, values = layout_of(loss)
    assert len(values) == weights
    assert (layout.axis, layout.state, layout.extra) == (0, [0], [])


def test_weights_of_an_ensemble_are_parameters_though_each_member_reads_its_own():
    loss = lambda p, x: run(lambda h, _: ((new := jnp.tanh(h * p["w"][0])), new))
    per_member = lambda p, x: run(lambda h, _: ((new := jnp.tanh(h.T * p["w"][0, :, None]).T), new))
    assert [len(layout_of(one)[1]) for one in (loss, per_member)] == [1, 1]


def test_an_output_that_reads_parameters_itself_belongs_to_the_state():
    def loss(params, data):
        def step(h, _):
            new = jnp.tanh(h @ params["w"])
            return jnp.where(data > 0, new, h), new

        return run(step)

    layout, _ = layout_of(loss)
    assert (layout.state, layout.extra, layout.axis) == ([0], [0], 0)
    state = layout.state_of([jnp.zeros((5, 3)), jnp.ones((5, 3))])
    assert [float(leaf.sum()) for leaf in state] == [0, 15]
    (carry,) = layout.carry_of(state, [])
    assert carry.shape == (5, 3)


def test_complex_numbers_are_pairs():
    numbers = np.array([[1 + 2j, -3j]], np.complex64)
    assert as_real(numbers).shape == (1, 2, 2)
    assert (as_dtype(as_real(numbers), numbers.dtype) == numbers).all()
    reals = jnp.ones(3)
    assert as_dtype(as_real(reals), reals.dtype) is reals
