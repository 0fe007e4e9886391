"""The settings of decoding choose the sampler, and a run may change every one of them."""

import jax
import jax.numpy as jnp

import dlcore as dl
from dlcore.config import settings


def test_a_run_may_change_every_setting():
    for group in (dl.BeamConfig(), dl.SamplingConfig()):
        assert all(leaf.may_change for leaf in settings.leaves(group))


def test_the_sampler_is_that_of_the_settings():
    logits, key = jnp.log(jnp.array([[0.5, 0.3, 0.2]] * 200)), jax.random.key(0)
    for options in ({"top_k": 1}, {"top_p": 0.4}, {"temperature": 0.3}):
        drawn = dl.SamplingConfig(**options).make_sampler()(key, logits)
        assert (drawn == dl.sample(**options)(key, logits)).all()
    assert (dl.SamplingConfig(top_k=1).make_sampler()(key, logits) == 0).all()
