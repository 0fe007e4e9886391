"""Random streams: equal for equal seed, stream and step, and otherwise different."""

import itertools

import jax
import numpy as np

from dlcore.utils.rng import named_key, stream_generator, stream_key


def test_keys_and_generators_are_functions_of_seed_stream_and_step():
    places = list(itertools.product([0, 1, 2**31 - 1], ["init", "dropout"], [0, 1, 10**6]))
    keys = {tuple(np.asarray(jax.random.key_data(stream_key(*place))).tolist()) for place in places}
    numbers = {stream_generator(*place).integers(2**62) for place in places}
    assert len(keys) == len(numbers) == len(places)
    np.testing.assert_array_equal(
        jax.random.key_data(stream_key(3, "dropout", 7)),
        jax.jit(lambda step: jax.random.key_data(stream_key(3, "dropout", step)))(7),
    )


def test_a_named_key_depends_on_the_key_and_the_name():
    keys = [named_key(jax.random.key(seed), name) for seed in (0, 1) for name in ("noise", "dropout")]
    assert len({tuple(np.asarray(jax.random.key_data(key)).tolist()) for key in keys}) == 4
    np.testing.assert_array_equal(
        jax.random.key_data(stream_key(3, "noise", 7)),
        jax.random.key_data(jax.random.fold_in(named_key(jax.random.key(3), "noise"), 7)),
    )
