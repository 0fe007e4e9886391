"""An encoder and a decoder translate sequences of tokens; padding changes nothing, and both recurrences are found."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlcore as dl
from dlcore.gradflow import find_recurrences

INPUTS, LENGTHS = jnp.array([[3, 5, 2, 4], [6, 2, 0, 0]]), jnp.array([4, 2])
LABELS, LABEL_LENGTHS = jnp.array([[3, 5, 0], [4, 0, 0]]), jnp.array([3, 2])


@pytest.fixture(scope="module", name="made")
def make():
    encoder = dl.Bidirectional(dl.GRUCell(4), dl.GRUCell(4))
    decoder = dl.SequenceDecoder(7, dl.LSTMCell(4), dl.BahdanauAttention(3), embedding=3)
    model = dl.EncoderDecoder(8, encoder, decoder, embedding=3, dropout=0.5)
    variables = jax.jit(model.init)(jax.random.key(0), INPUTS, LENGTHS, LABELS)
    normal = np.random.default_rng(0).standard_normal
    return model, jax.tree.map(lambda leaf: jnp.asarray(normal(leaf.shape, np.float32)), variables)


def test_it_is_its_encoder_and_its_decoder(made):
    model, variables = made
    params = variables["params"]

    @jax.jit
    def by_hand(params):
        embedded = params["embed"]["embedding"][INPUTS]
        carry, memory = model.encoder.apply({"params": params["encoder"]}, embedded, LENGTHS)
        state = model.encoder.hidden(carry)
        return model.decoder.apply({"params": params["decoder"]}, LABELS, memory, LENGTHS, state)

    logits = jax.jit(model.apply)(variables, INPUTS, LENGTHS, LABELS)
    np.testing.assert_allclose(logits, by_hand(params), rtol=1e-5, atol=1e-5)


def test_padding_is_inert(made):
    model, variables = made
    apply = jax.jit(model.apply)
    logits = apply(variables, INPUTS, LENGTHS, LABELS, LABEL_LENGTHS)
    changed = INPUTS.at[1, 2:].set(7)
    np.testing.assert_array_equal(apply(variables, changed, LENGTHS, LABELS, LABEL_LENGTHS), logits)


def test_decoding_stops_at_the_end(made):
    model, variables = made
    tokens, lengths = model.apply(variables, INPUTS, LENGTHS, steps=5, method="decode")
    assert tokens.shape == (2, 5)
    np.testing.assert_array_equal(lengths, (np.asarray(tokens) != 0).sum(axis=1))


def test_encoder_and_decoder_have_recurrences_of_their_own(made):
    model, variables = made
    loss = lambda params: model.apply({"params": params}, INPUTS, LENGTHS, LABELS).sum()
    names = [found.name for found in find_recurrences(loss, variables["params"])]
    assert len(names) == len(set(names)) == 3, names


def test_another_encoder_is_refused():
    with pytest.raises(TypeError, match="encoder: got"):
        dl.EncoderDecoder(8, dl.GRUCell(4), dl.SequenceDecoder(7, dl.GRUCell(4)))
