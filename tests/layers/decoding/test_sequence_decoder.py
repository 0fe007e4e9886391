"""A sequence decoder scores labels as it would generate them, with and without attention."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlcore as dl
from dlcore.gradflow import find_recurrences

LABELS = jnp.array([[3, 5, 2, 0], [4, 0, 0, 0]])
LABEL_LENGTHS = jnp.array([4, 2])
MEMORY = jax.random.normal(jax.random.key(1), (2, 5, 3))
MEMORY_LENGTHS = jnp.array([5, 2])
KINDS = {
    "luong": (dl.GRUCell(4), dl.LuongAttention("general")),
    "bahdanau": (dl.LSTMCell(4), dl.BahdanauAttention(4)),
    "none": (dl.LSTMCell(4), None),
}


def make(kind, **options):
    decoder = dl.SequenceDecoder(7, *KINDS[kind], embedding=3, **options)
    shapes = jax.eval_shape(lambda key: decoder.init(key, LABELS, MEMORY), jax.random.key(0))
    normal = np.random.default_rng(0).standard_normal
    return decoder, jax.tree.map(lambda leaf: jnp.asarray(normal(leaf.shape, np.float32)), shapes)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", [None, jnp.array([[1.0, -1.0, 0.5], [0.2, 0.3, 0.4]])])
def test_teacher_forcing_gives_the_scores_of_single_steps(kind, state):
    decoder, variables = make(kind)
    logits = decoder.apply(variables, LABELS, MEMORY, MEMORY_LENGTHS, state)
    carry = decoder.apply(variables, MEMORY, MEMORY_LENGTHS, state, method="start")
    before = jnp.zeros(2, int)
    for t in range(LABELS.shape[1]):
        carry, expected = decoder.apply(variables, carry, before, MEMORY, MEMORY_LENGTHS, method="step")
        np.testing.assert_allclose(logits[:, t], expected, rtol=1e-5, atol=1e-5)
        before = LABELS[:, t]


@pytest.mark.parametrize("kind", KINDS)
def test_decoding_follows_its_own_tokens(kind):
    decoder, variables = make(kind)
    tokens, lengths = decoder.apply(variables, MEMORY, MEMORY_LENGTHS, steps=6, method="decode")
    carry = decoder.apply(variables, MEMORY, MEMORY_LENGTHS, method="start")
    before, ended = jnp.zeros(2, int), np.zeros(2, bool)
    for t in range(6):
        carry, logits = decoder.apply(variables, carry, before, MEMORY, MEMORY_LENGTHS, method="step")
        before = jnp.where(ended, 0, logits.argmax(axis=-1))
        ended |= np.asarray(before == 0)
        np.testing.assert_array_equal(tokens[:, t], before)
    np.testing.assert_array_equal(lengths, (np.asarray(tokens) != 0).sum(axis=1))


def test_as_many_beams_as_sequences_find_the_most_likely_one():
    decoder, variables = make("luong")
    variables = jax.tree.map(lambda leaf: leaf / 4, variables)

    @jax.jit
    def score(tokens):
        """The log-probability of one sequence for each row, up to its first end."""
        logits = decoder.apply(variables, tokens, MEMORY, MEMORY_LENGTHS)
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), tokens[..., None], axis=-1)[..., 0]
        return jnp.where(jnp.cumsum(tokens == 0, axis=1) - (tokens == 0) == 0, chosen, 0).sum(axis=1)

    every = np.stack(np.meshgrid(*[np.arange(7)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    scores = np.array([score(jnp.tile(jnp.asarray(tokens), (2, 1))) for tokens in every])
    decode = functools.partial(decoder.apply, method="decode", steps=2)
    found, _ = decode(variables, MEMORY, MEMORY_LENGTHS, beams=49)
    np.testing.assert_allclose(score(found), scores.max(axis=0), rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_reaches_no_score_and_no_gradient(kind):
    decoder, variables = make(kind)
    padded = jnp.arange(5) >= MEMORY_LENGTHS[:, None]

    def loss(variables, memory, labels):
        logits = decoder.apply(variables, labels, memory, MEMORY_LENGTHS, label_lengths=LABEL_LENGTHS)
        batch = {"labels": LABELS, "label_lengths": LABEL_LENGTHS}
        return dl.losses.sequences(logits, batch)[0]

    run = jax.jit(jax.value_and_grad(loss))
    expected, expected_gradient = run(variables, MEMORY, LABELS)
    changed = LABELS.at[1, 2:].set(6)
    value, gradient = run(variables, jnp.where(padded[..., None], jnp.nan, MEMORY), changed)
    assert value == expected
    jax.tree.map(np.testing.assert_array_equal, gradient, expected_gradient)


def test_scheduled_sampling_reads_its_own_tokens_in_training_alone():
    (decoder, variables), (own, _) = make("luong"), make("luong", sampling=0.999)
    rngs = {"dropout": jax.random.key(3)}
    apply = lambda module, train: module.apply(variables, LABELS, MEMORY, train=train, rngs=rngs)
    plain = apply(decoder, True)
    np.testing.assert_array_equal(apply(own, False), plain)
    sampled = apply(own, True)
    np.testing.assert_array_equal(sampled[:, 0], plain[:, 0])  # the first token before is always END
    assert (np.abs(sampled - plain).max(axis=(0, 2))[1:] > 0).all()
    np.testing.assert_array_equal(sampled, apply(own, True))
    drawn = jax.random.categorical(jax.random.split(own_key(own, variables, rngs))[0], plain)
    labels = jnp.concatenate([drawn[:, :-1], LABELS[:, -1:]], axis=1)
    expected = decoder.apply(variables, labels, MEMORY)
    np.testing.assert_allclose(sampled, expected, rtol=1e-5, atol=1e-5)


def own_key(module, variables, rngs):
    """The key that the module's first draw gets."""
    return module.apply(variables, rngs=rngs, method=lambda module: module.make_rng("dropout"))


def test_attention_weights_are_those_of_the_only_attention():
    decoder, variables = make("bahdanau")
    weights = dl.attention_weights(decoder, variables, LABELS, MEMORY, MEMORY_LENGTHS)
    assert weights.shape == (2, 4, 5)
    np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-6)
    assert (weights[1, :, 2:] == 0).all()
    decoder, variables = make("none")
    with pytest.raises(ValueError, match="model: got 0 attentions in SequenceDecoder, expected one"):
        dl.attention_weights(decoder, variables, LABELS, MEMORY)


@pytest.mark.parametrize("kind", KINDS)
def test_its_recurrence_is_measured(kind):
    decoder, variables = make(kind)
    loss = lambda variables: decoder.apply(variables, LABELS, MEMORY).sum()
    (recurrence,) = find_recurrences(loss, variables)
    assert recurrence.name == ("SequenceDecoder/layer" if KINDS[kind][1] else "cell")


def test_bad_arguments_are_named():
    decoder, variables = make("luong")
    with pytest.raises(ValueError, match=r"labels: got shape \(1, 4\) for a memory \(2, 5, 3\)"):
        decoder.apply(variables, LABELS[:1], MEMORY)
    with pytest.raises(ValueError, match="beams: got 0"):
        decoder.apply(variables, MEMORY, steps=3, beams=0, method="decode")
