"""The ways that are faster on a CPU equal XLA's own, in every kind of derivative."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.ops import direct_convolution
from dlcore.ops.sizes import geometry

CASES = {
    "waveform": ((3, 30, 1), (5, 1, 15), 1, {"strides": 2, "padding": 1, "remainder": "floor"}),
    "dilated": ((2, 20, 1), (3, 1, 9), 1, {"strides": 1, "padding": "CAUSAL", "dilation": 2}),
    "image": ((2, 6, 7, 1), (3, 3, 1, 27), 1, {"strides": 1, "padding": "SAME"}),
    "depthwise": ((2, 6, 7, 3), (3, 2, 1, 3), 3, {"strides": (1, 2), "padding": 1, "remainder": "floor"}),
    "groups": ((2, 9, 6), (3, 2, 9), 3, {"strides": 1, "padding": "SAME", "dilation": 2}),
    "groups of one channel": ((2, 12, 3), (2, 1, 18), 3, {"strides": 2, "padding": 0}),
}


@pytest.fixture(params=CASES)
def both(request):
    """The two ways as functions of inputs and kernel, and random values of these."""
    inputs, kernel, groups, options = CASES[request.param]
    shape = geometry(inputs[1:-1], kernel[:-2], **options)
    random = np.random.default_rng(0)
    values = [jnp.asarray(random.normal(size=size), jnp.float32) for size in (inputs, kernel)]
    fast = lambda inputs, kernel: direct_convolution.correlate_direct(inputs, kernel, shape, groups)
    return fast, lambda inputs, kernel: direct_convolution._correlate(inputs, kernel, shape, groups), values


def close(got, expected):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), got, expected)


def test_values_and_gradients(both):
    *ways, values = both
    close(*(way(*values) for way in ways))
    for arguments in (0, 1, (0, 1)):
        losses = [lambda *a, way=way: (way(*a) ** 3).sum() for way in ways]
        close(*(jax.jit(jax.grad(loss, arguments))(*values) for loss in losses))


def test_forward_mode_and_second_derivatives(both):
    *ways, values = both
    tangents = [jnp.cos(value) for value in values]
    close(*(jax.jvp(way, values, tangents) for way in ways))

    def curvature(way):
        loss = lambda *a: (way(*a) ** 3).mean()
        gradient_norm = lambda *a: sum((leaf**2).sum() for leaf in jax.grad(loss, (0, 1))(*a))
        forward_over_reverse = jax.jvp(jax.grad(loss, (0, 1)), values, tangents)[1]
        return jax.jit(jax.grad(gradient_norm, (0, 1)))(*values), forward_over_reverse

    close(*map(curvature, ways))


@pytest.mark.parametrize(
    ("kernel", "few"),
    [((8, 1, 64), True), ((3, 3, 1, 26), False), ((3, 2, 64), False), ((40, 1, 256), False)],
)
def test_few_weights_are_a_third_of_the_features_over_one_channel(kernel, few):
    assert direct_convolution.has_few_weights(kernel) == few
