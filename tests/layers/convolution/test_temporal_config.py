"""A temporal stack from the settings of flags sees the steps that its settings say, and no later one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlcore as dl


def test_the_settings_make_the_blocks():
    stack = dl.TemporalConfig(levels=3, kernel_size=2).make_stack(4, dropout=0.5)
    assert stack == dl.ConvStack(dl.temporal_blocks(4, levels=3, kernel_size=2, dropout=0.5))
    assert dl.receptive_field(stack) == (1 + 2 * (2 - 1) * (2**3 - 1),)


def test_an_output_depends_on_no_later_step_and_on_no_padding():
    stack = dl.TemporalConfig(levels=2).make_stack(4)
    inputs = np.random.default_rng(0).standard_normal((2, 9, 3), np.float32)
    later = inputs.copy()
    later[:, 6:] = 7.0

    @jax.jit
    def run(key):
        variables = stack.init(key, inputs)
        padded = jnp.asarray(inputs).at[0, 6:].set(jnp.nan)
        return (
            stack.apply(variables, inputs),
            stack.apply(variables, later),
            stack.apply(variables, padded, jnp.array([6, 9])),
        )

    outputs, changed, padded = run(jax.random.key(0))
    np.testing.assert_allclose(changed[:, :6], outputs[:, :6], rtol=1e-6)
    assert not np.allclose(changed[:, 6:], outputs[:, 6:])
    np.testing.assert_allclose(padded[0, :6], outputs[0, :6], rtol=1e-6)
    assert not padded[0, 6:].any()


def test_settings_out_of_their_bounds_are_refused():
    with pytest.raises(ValueError, match="levels: got 0"):
        dl.TemporalConfig(levels=0).make_stack(4)
    with pytest.raises(ValueError, match="features: got 0"):
        dl.TemporalConfig().make_stack(0)
