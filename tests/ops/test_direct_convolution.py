"""The products that are faster on a CPU equal XLA's own convolution, with every kind of derivative."""

import re

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


# Convolutions and slices on a CPU: a sum over taps cuts the inputs and the weights for each cell of the window, and
# groups are cut from both.
ON_CPU = {
    "waveform": (0, 2 * 5),
    "dilated": (0, 2 * 3),
    "image": (0, 2 * 9),
    "depthwise": (0, 2 * 6),
    "groups": (3, 2 * 3),
    "groups of one channel": (0, 2 * 3 + 3 * 2 * 2),
}


@pytest.mark.parametrize("name", CASES)
def test_a_program_has_the_product_of_the_platform_that_it_is_compiled_for(name):
    """This process has a CPU. A program for another platform holds XLA's own convolution and nothing else."""
    input_shape, kernel_shape, groups, options = CASES[name]
    geometry = make_geometry(input_shape[1:-1], kernel_shape[:-2], **options)
    shapes = [jax.ShapeDtypeStruct(shape, np.float32) for shape in (input_shape, kernel_shape)]
    product = jax.jit(lambda x, k: direct_convolution.correlate_direct(x, k, geometry, groups))

    def count(platform):
        """The number of convolutions and slices in a program for this platform."""
        program = jax.export.export(product, platforms=[platform])(*shapes).mlir_module()
        return tuple(len(re.findall(rf"stablehlo\.{one}\b", program)) for one in ("convolution", "slice"))

    assert count("cpu") == ON_CPU[name]
    for platform in ("cuda", "rocm", "tpu"):
        assert count(platform) == (1, 0), platform


def test_layers_that_are_computed_in_one_way_have_no_choice():
    geometry = make_geometry((9,), (3,), strides=1, padding=0)
    product = lambda x, k: direct_convolution.correlate_direct(x, k, geometry, 1)
    (operation,) = jax.make_jaxpr(product)(np.ones((2, 9, 2)), np.ones((3, 2, 4))).eqns
    assert operation.primitive.name == "conv_general_dilated"


@pytest.mark.parametrize(
    ("kernel", "few"),
    [((8, 1, 64), True), ((3, 3, 1, 26), False), ((3, 2, 64), False), ((40, 1, 256), False)],
)
def test_few_weights_are_a_third_of_the_features_over_one_channel(kernel, few):
    assert direct_convolution.has_few_weights(kernel) == few
