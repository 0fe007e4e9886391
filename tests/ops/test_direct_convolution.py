"""The products that are faster on a CPU equal XLA's own convolution, with every kind of derivative."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.ops import direct_convolution
from dlcore.ops.sizes import make_geometry

CASES = {
    "waveform": ((3, 30, 1), (5, 1, 15), 1, {"strides": 2, "padding": 1, "remainder": "floor"}),
    "dilated": ((2, 20, 1), (3, 1, 9), 1, {"strides": 1, "padding": "CAUSAL", "dilation": 2}),
    "image": ((2, 6, 7, 1), (3, 3, 1, 27), 1, {"strides": 1, "padding": "SAME"}),
    "depthwise": ((2, 6, 7, 3), (3, 2, 1, 3), 3, {"strides": (1, 2), "padding": 1, "remainder": "floor"}),
    "groups": ((2, 9, 6), (3, 2, 9), 3, {"strides": 1, "padding": "SAME", "dilation": 2}),
    "groups of one channel": ((2, 12, 3), (2, 1, 18), 3, {"strides": 2, "padding": 0}),
}


def derivatives(product, inputs, kernel):
    """The product, its gradients, its tangents, and second derivatives in two ways."""
    values = inputs, kernel
    tangents = jnp.cos(inputs), jnp.cos(kernel)
    cubes = lambda *a: (product(*a) ** 3).mean()
    gradient_norm = lambda *a: sum((leaf**2).sum() for leaf in jax.grad(cubes, (0, 1))(*a))
    return {
        "gradients by one argument": [jax.grad(cubes, wanted)(*values) for wanted in (0, 1)],
        "value and tangent": jax.jvp(product, values, tangents),
        "gradients and their tangents": jax.jvp(jax.grad(cubes, (0, 1)), values, tangents),
        "reverse over reverse": jax.grad(gradient_norm, (0, 1))(*values),
    }


# The default run has one case of each way; the others differ in their options only.
ALSO = ["dilated", "groups", "groups of one channel"]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in ALSO else name for name in CASES]
)
def test_values_and_all_derivatives_equal_xlas(name):
    input_shape, kernel_shape, groups, options = CASES[name]
    geometry = make_geometry(input_shape[1:-1], kernel_shape[:-2], **options)
    random = np.random.default_rng(0)
    inputs, kernel = (random.normal(size=shape).astype(np.float32) for shape in (input_shape, kernel_shape))

    @jax.jit
    def both(inputs, kernel):
        products = direct_convolution.correlate_direct, direct_convolution._correlate
        return [
            derivatives(lambda x, k, product=product: product(x, k, geometry, groups), inputs, kernel)
            for product in products
        ]

    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    jax.tree.map(close, *both(inputs, kernel))


@pytest.mark.parametrize(
    ("kernel", "few"),
    [((8, 1, 64), True), ((3, 3, 1, 26), False), ((3, 2, 64), False), ((40, 1, 256), False)],
)
def test_few_weights_are_a_third_of_the_features_over_one_channel(kernel, few):
    assert direct_convolution.has_few_weights(kernel) == few
