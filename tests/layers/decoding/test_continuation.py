"""A continuation is what the model says of the whole text so far, read anew for each token."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import dlcore as dl


class Model(nn.Module):
    stateful: bool = True

    @nn.compact
    def __call__(self, tokens, *, train):
        outputs = nn.one_hot(tokens, 6)
        for _ in range(2):
            layer = dl.Recurrent(dl.LSTMCell(features=5))
            _, outputs = (dl.Stateful(layer) if self.stateful else layer)(outputs)
        return 5 * nn.Dense(6)(outputs)


TOKENS = np.array([[5, 1, 2], [3, 3, 4], [0, 2, 1]], np.int32)


@pytest.fixture(scope="module", name="params")
def random_params():
    params = Model().init(jax.random.key(0), TOKENS, train=False)["params"]
    normal = np.random.default_rng(0).standard_normal
    return jax.tree.map(lambda leaf: normal(leaf.shape, np.float32), params)


@pytest.mark.parametrize("read", [3, 2])
def test_every_token_is_the_one_after_the_whole_text(params, read):
    generated = jax.jit(lambda params: dl.continue_stream(Model(), params, TOKENS[:, :read], 6))(params)
    whole = np.concatenate([TOKENS[:, :read], generated.tokens], axis=1)
    logits = Model(stateful=False).apply(
        {
            "params": {
                name.replace("Stateful", "Recurrent"): part.get("layer", part)
                for name, part in params.items()
            }
        },
        whole,
        train=False,
    )
    expected = np.asarray(logits).argmax(-1)[:, read - 1 : -1]
    np.testing.assert_array_equal(generated.tokens, expected)
    assert len(np.unique(whole)) > 2


def test_draws_follow_their_key(params):
    def draw(seed):
        key = jax.random.key(seed)
        return dl.continue_stream(Model(), params, TOKENS, 8, key, sampler=dl.sample(30.0)).tokens.tolist()

    assert draw(0) == draw(0) != draw(1)


def test_what_cannot_go_on_is_refused(params):
    with pytest.raises(ValueError, match=r"tokens: got shape \(3, 1\), expected \[B, N\] with N >= 2"):
        dl.continue_stream(Model(), params, TOKENS[:, :1], 2)
    model = nn.Embed(6, 6)

    class Stateless(nn.Module):
        @nn.compact
        def __call__(self, tokens, *, train):
            return model.copy(name="embed")(tokens)

    variables = Stateless().init(jax.random.key(0), TOKENS, train=False)
    with pytest.raises(ValueError, match="model: got Stateless without a state"):
        dl.continue_stream(Stateless(), variables["params"], jnp.asarray(TOKENS), 2)
