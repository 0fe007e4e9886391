"""``jax.checkpoint``: values, gradients and Hessian-vector products do not change."""

import jax

from tests.helpers.layers import CASES, FEW, assert_close, each, gradient_of, loss_of


@each(FEW)
def test_a_rematerialized_gradient_is_the_gradient(name):
    with jax.enable_x64(True):
        arguments = CASES[name].arguments()
        result = jax.jit(jax.value_and_grad(jax.checkpoint(loss_of(CASES[name]))))(arguments)
        expected = gradient_of(name)(arguments)
    assert_close(result, expected, 1e-10)
