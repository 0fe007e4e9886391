"""Flax linen modules: what they get, their state, their streams of random keys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from dlcore.training.adapters.flax import flax_model
from tests.helpers import library_models, model_docs

BATCH = {"inputs": jnp.ones((2, 3)), "source": jnp.full((2, 3), 2.0)}
KEY = jax.random.key(0)


def read(params, state):
    statistics = state["batch_stats"]["norm"]
    return {
        "kernel": params["linear"]["kernel"],
        "bias": params["linear"]["bias"],
        "scale": params["norm"]["scale"],
        "shift": params["norm"]["bias"],
        "mean": statistics["mean"],
        "var": statistics["var"],
        "readout_kernel": params["readout"]["kernel"],
        "readout_bias": params["readout"]["bias"],
    }


def test_state_dropout_evaluation_and_precision():
    experiment = library_models.flax()
    assert library_models.product_types(experiment, "bfloat16") == ["bfloat16"] * 4
    library_models.check_behavior(experiment, read, share=0.1)


class Noisy(nn.Module):
    """Draws from a stream in training and in evaluation, and is told of neither."""

    @nn.compact
    def __call__(self, inputs, source=None):
        scale = self.param("scale", nn.initializers.ones, (1,))
        extra = 0 if source is None else source
        drawn = [jax.random.normal(self.make_rng(name), inputs.shape) for name in ("noise", "dropout")]
        return scale * inputs + extra, drawn


def test_a_model_without_train_draws_from_streams_that_are_named():
    model = flax_model(Noisy(), rngs=("dropout", "noise"))
    params, state = model.init(KEY, BATCH)
    (outputs, drawn), after = model.apply(params, state, BATCH, KEY, True)
    assert state == dict(after) == {}
    np.testing.assert_array_equal(outputs, BATCH["inputs"] + BATCH["source"])
    assert not np.array_equal(*drawn)
    # The stream of dropout keeps its bits, whichever streams there are beside it.
    (_, alone), _ = flax_model(Noisy(), rngs=("noise", "dropout")).apply(params, state, BATCH, KEY, False)
    np.testing.assert_array_equal(drawn, alone)
    (outputs, _), _ = model.apply(params, state, {"inputs": BATCH["inputs"]}, KEY, True)
    np.testing.assert_array_equal(outputs, BATCH["inputs"])


@pytest.mark.parametrize("model", [Noisy, None, "Noisy", lambda inputs: inputs])
def test_the_model_is_a_module(model):
    with pytest.raises(TypeError, match=r"model: got .*, expected a linen module, such as Model"):
        flax_model(model)


@pytest.mark.parametrize("rngs", ["dropout", (1,), None])
def test_names_of_streams_are_checked(rngs):
    with pytest.raises(TypeError, match=r"rngs: got .*, expected names of streams"):
        flax_model(Noisy(), rngs)


@pytest.mark.slow
def test_the_program_of_the_page_goes_on_to_the_same_bits(tmp_path):
    found = model_docs.check_program("What a model gets", tmp_path)
    assert found == ["encoder", "decoder"]
