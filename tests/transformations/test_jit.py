"""``jax.jit``: the compiled function gives what the operations give one by one."""

import jax

from tests.helpers.layers import CASES, assert_close, each, gradient_of, loss_of


@each(["rnn", "rnn, softmax", "lstm, chunks", "conv, one channel"], fast=["conv, one channel"])
def test_compiled_gradients_are_those_of_the_operations_one_by_one(name):
    with jax.enable_x64(True):
        arguments = CASES[name].arguments()
        result = jax.value_and_grad(loss_of(CASES[name]))(arguments)
        expected = gradient_of(name)(arguments)
    assert_close(result, expected, 1e-10)
