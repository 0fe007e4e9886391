"""Forward mode, once and twice, against finite differences in float64."""

import jax
import numpy as np

from tests.helpers.layers import CASES, REFERENCES, directions, each, loss_of, moved

STEP = 1e-5


def twice_forward(case, arguments, direction):
    """The loss, and its first and second derivative in a direction."""

    def slope(arguments):
        return jax.jvp(loss_of(case), [arguments], [direction])

    (value, first), (_, second) = jax.jvp(slope, [arguments], [direction])
    return value, first, second


@each(CASES)
def test_forward_mode_equals_finite_differences(name):
    with jax.enable_x64(True):
        arguments = CASES[name].arguments()
        direction = directions(arguments)
        run = jax.jit(lambda *given: twice_forward(CASES[name], *given))
        _, first, second = run(arguments, direction)
        if name in REFERENCES:
            reference = jax.jit(lambda *given: twice_forward(REFERENCES[name], *given))
            _, *expected = reference(arguments, direction)
        else:
            before, after = (run(moved(arguments, direction, by), direction) for by in (-STEP, STEP))
            expected = [(after[order] - before[order]) / (2 * STEP) for order in (0, 1)]
    np.testing.assert_allclose([first, second], expected, rtol=1e-6, atol=1e-6)
