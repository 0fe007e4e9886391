"""The transposed layer against flax, its rows alone, its initial values and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import dlcore as dl

KEY = jax.random.key(0)


def test_the_layer_equals_flaxs_that_has_the_same_kernel():
    layer = dl.ConvTranspose(4, 3, 2, bias_init=nn.initializers.ones)
    flax = nn.ConvTranspose(4, (3, 3), (2, 2), padding="VALID", transpose_kernel=True)

    @jax.jit
    def both(inputs):
        outputs, variables = layer.init_with_output(KEY, inputs)
        return outputs, flax.apply(variables, inputs)

    np.testing.assert_allclose(*both(jax.random.normal(KEY, (2, 5, 4, 3))), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("padding", [1, "SAME", pytest.param([(0, 2)], marks=pytest.mark.slow)])
def test_each_row_of_a_padded_batch_has_the_outputs_it_has_alone(padding):
    layer = dl.ConvTranspose(2, (4,), 3, padding, bias_init=nn.initializers.ones)
    lengths = np.array([0, 3, 6], np.int32)
    inputs = np.random.default_rng(0).normal(size=(3, 6, 1)).astype(np.float32)
    padded = np.where((np.arange(6) < lengths[:, None])[..., None], inputs, np.float32(np.nan))

    @jax.jit
    def run(inputs, padded):
        whole, variables = layer.init_with_output(KEY, inputs)
        gradient = jax.grad(lambda padded: (layer.apply(variables, padded, lengths) ** 2).sum())(padded)
        alone = layer.apply(variables, inputs[1:2, :3])
        return layer.apply(variables, padded, lengths), gradient, alone, whole[2:]

    together, gradient, *alone = run(inputs, padded)
    assert layer.output_lengths(lengths).tolist() == [0, *(outputs.shape[1] for outputs in alone)]
    for row, expected in enumerate([np.zeros((1, 0, 2)), *alone]):
        count = expected.shape[1]
        np.testing.assert_allclose(together[row, :count], expected[0], rtol=1e-5, atol=1e-6)
        assert not np.asarray(together[row, count:]).any()
        assert not np.asarray(gradient[row, lengths[row] :]).any()
    assert np.isfinite(gradient).all()


def test_the_filters_of_a_group_start_as_a_layer_of_the_groups_channels():
    shape = (3, 8, 40)
    kernel = dl.ConvTranspose(16, (3,), groups=2, use_bias=False).init(KEY, jnp.ones((1, 4, 40)))["params"][
        "kernel"
    ]
    assert kernel.shape == shape
    np.testing.assert_allclose(kernel.std(), (3 * 20) ** -0.5, rtol=0.1)


def test_it_computes_in_its_dtype():
    layer, inputs = dl.ConvTranspose(2, 3, dtype=jnp.bfloat16), jnp.ones((1, 4, 4, 1))
    outputs, variables = jax.eval_shape(layer.init_with_output, KEY, inputs)
    assert (outputs.dtype, variables["params"]["kernel"].dtype) == (jnp.bfloat16, jnp.float32)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"groups": 3}, "groups: got 3, expected a divisor of the 4 features"),
        ({"output_padding": 1}, "output_padding: got 1, expected less than the strides"),
        ({"padding": "CAUSAL"}, 'padding: got "CAUSAL"'),
        ({"kernel_size": ()}, r"kernel_size: got \(\)"),
    ],
)
def test_settings_are_refused_before_the_layer_is_made(settings, message):
    with pytest.raises(ValueError, match=message):
        dl.ConvTranspose(**{"features": 4, "kernel_size": 3, **settings})


def test_inputs_and_parameters_that_do_not_fit_are_refused():
    layer = dl.ConvTranspose(4, 3, groups=2)
    with pytest.raises(ValueError, match="groups: got 2 for 3 input channels"):
        jax.eval_shape(layer.init, KEY, jnp.ones((1, 4, 4, 3)))
    with pytest.raises(ValueError, match="inputs: got shape"):
        jax.eval_shape(layer.init, KEY, jnp.ones((1, 4, 4)))
    with pytest.raises(ValueError, match="params: got kernel of shape"):
        layer.apply({"params": {"kernel": jnp.ones((3, 3, 2, 6))}}, jnp.ones((1, 4, 4, 4)))
