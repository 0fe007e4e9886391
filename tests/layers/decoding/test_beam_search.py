"""Beam search against all sequences there are, against a search by lists, and against greedy generation."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.layers.decoding.beam_search import beam_search
from dlcore.layers.decoding.generate import generate
from tests.helpers.language_model import (
    END,
    VOCABULARY,
    markov,
    model,
    padded,
    random_hidden,
    random_weights,
    reference,
)

KEY = jax.random.key(0)
close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)


@functools.partial(jax.jit, static_argnums=(3, 4, 5, 6))
def search(weights, hidden, first, steps, beams, end=END, length_penalty=0.0):
    return beam_search(
        model(weights), hidden, first, steps, beams=beams, end=end, length_penalty=length_penalty
    )


@functools.partial(jax.jit, static_argnames=("steps", "beams", "length_penalty"))
def search_markov(probabilities, first, steps, beams, length_penalty=0.0):
    step, counts = markov(probabilities), jnp.zeros(len(first), int)
    return beam_search(step, counts, first, steps, beams=beams, end=END, length_penalty=length_penalty)


def penalized(total, length, length_penalty):
    return total / ((5 + length) / 6) ** length_penalty


def every_sequence(weights, hidden, first, steps, length_penalty):
    """All sequences of one row and their scores, by brute force."""
    found = {}
    for tokens in itertools.product(range(VOCABULARY), repeat=steps):
        sequence = tokens[: tokens.index(END) + 1] if END in tokens else tokens
        if sequence in found:
            continue
        state, last, total = hidden, first, 0.0
        for token in sequence:
            state, log_p = reference(weights, state, last)
            total, last = total + log_p[token], token
        found[sequence] = penalized(total, len(sequence), length_penalty)
    return found


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
@pytest.mark.parametrize(
    "length_penalty", [0.6, *(pytest.param(p, marks=pytest.mark.slow) for p in (0.0, 2.0))]
)
def test_enough_beams_find_every_sequence_and_the_best_first(seed, length_penalty):
    weights, hidden, first = random_weights(seed), random_hidden(seed), np.array([0, 2])
    found = search(weights, hidden, first, 4, VOCABULARY**4, END, length_penalty)
    for row in range(2):
        expected = every_sequence(weights, hidden[row], first[row], 4, length_penalty)
        count = len(expected)
        assert count == 1 + 3 + 9 + 27 * 4
        tokens, scores, lengths = (np.asarray(part[row]) for part in found)
        best = max(expected, key=expected.__getitem__)
        assert tokens[0].tolist() == padded(best, 4, END)
        close(scores[:count], sorted(expected.values(), reverse=True))
        for sequence, score, length in zip(tokens[:count], scores, lengths, strict=False):
            close(score, expected.pop(tuple(sequence[:length].tolist())))
            assert (sequence[length:] == END).all()
        assert np.isneginf(scores[count:]).all()
        assert not lengths[count:].any()
        assert (tokens[count:] == END).all()


def search_by_lists(weights, hidden, first, steps, beams, length_penalty):
    """The beam search of one row with lists of hypotheses."""
    score = lambda beam: penalized(beam[0], len(beam[1]), length_penalty)
    kept = [(0.0, [], hidden, first)]
    for _ in range(steps):
        candidates = []
        for total, tokens, state, last in kept:
            if tokens and last == END:
                candidates.append((total, tokens, state, last))
                continue
            after, log_p = reference(weights, state, last)
            candidates += [
                (total + log_p[token], [*tokens, token], after, token) for token in range(VOCABULARY)
            ]
        kept = sorted(candidates, key=score, reverse=True)[:beams]
    return [(score(beam), beam[1]) for beam in kept]


@pytest.mark.parametrize(
    ("beams", "length_penalty"),
    [
        (2, 0.0),
        (6, 1.0),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in ((2, 1.0), (3, 0.0), (6, 0.0))),
    ],
)
def test_a_few_beams_equal_a_search_by_lists(beams, length_penalty):
    for seed in range(4):
        weights, hidden, first = random_weights(seed), random_hidden(seed), np.array([1, 0])
        found = search(weights, hidden, first, 6, beams, END, length_penalty)
        for row in range(2):
            expected = search_by_lists(weights, hidden[row], first[row], 6, beams, length_penalty)
            for beam, (score, tokens) in enumerate(expected):
                assert found.tokens[row, beam].tolist() == padded(tokens, 6, END)
                assert found.lengths[row, beam] == len(tokens)
                close(found.scores[row, beam], score)


def test_one_beam_is_greedy():
    greedily = jax.jit(lambda weights, hidden: generate(model(weights), hidden, np.arange(5), 30, end=8))
    for seed in range(4):
        weights, hidden = random_weights(seed, vocabulary=9), random_hidden(seed, rows=5)
        generated, found = greedily(weights, hidden), search(weights, hidden, np.arange(5), 30, 1, 8)
        assert found.tokens[:, 0].tolist() == generated.tokens.tolist()
        assert found.lengths[:, 0].tolist() == generated.lengths.tolist()
        close(found.scores[:, 0], generated.log_probabilities.sum(axis=1))


@pytest.mark.slow
def test_two_beams_find_a_sequence_that_greedy_generation_misses():
    follows = np.array([[0, 0.6, 0.4, 0], [0.25, 0.25, 0.25, 0.25], [0, 0, 0.1, 0.9], [0, 0, 0, 1]])
    assert follows[0].argmax() == 1  # the greedy token
    found = search_markov(follows, np.array([0]), 3, beams=2)
    assert found.tokens[0, 0].tolist() == [2, 3, 3]
    close(found.scores[0, 0], np.log(0.4 * 0.9))


def test_the_length_penalty_favors_long_sequences():
    follows, first = np.array([[0.35, 0.05, 0.05, 0.55], *[[0, 0, 0, 1.0]] * 3]), np.array([0])
    lengths = [search_markov(follows, first, 3, beams=9, length_penalty=alpha).lengths for alpha in (0, 9)]
    assert [length[0, 0].item() for length in lengths] == [1, 3]


@pytest.mark.slow
def test_the_carry_follows_its_beam_whatever_its_structure():
    """The next token depends on all tokens that a beam has read, so that another beam's carry changes the scores."""

    def step(carry, tokens):
        seen = jnp.concatenate([carry["seen"][:, 1:], tokens[:, None]], axis=1)
        read = seen @ jnp.array([1.0, 3.0, 7.0])
        count, key = carry["others"]
        return {"seen": seen, "others": (count + 1, key)}, 3 * jnp.sin(
            read[:, None] + jnp.arange(VOCABULARY) * 2
        )

    carry = {
        "seen": jnp.zeros((2, 3), jnp.int32),
        "others": (jnp.zeros((2, 1, 1)), jax.random.split(KEY, 2)),
    }
    found = jax.jit(lambda: beam_search(step, carry, jnp.array([0, 1]), 5, beams=4, end=END))()

    @jax.jit
    def log_probabilities(first, tokens):
        one = jax.tree.map(lambda array: array[:1], carry)

        def read(carry, token):
            carry, logits = step(carry, token[None])
            return carry, jax.nn.log_softmax(logits)[0]

        _, logs = jax.lax.scan(read, one, jnp.concatenate([first[None], tokens[:-1]]))
        return jnp.take_along_axis(logs, tokens[:, None], axis=1)[:, 0]

    for row, beam in itertools.product(range(2), range(4)):
        logs = log_probabilities(np.int32(row), found.tokens[row, beam])
        close(found.scores[row, beam], logs[: found.lengths[row, beam]].sum())


@pytest.mark.slow
def test_under_vmap_every_model_decodes_by_itself():
    tables = np.random.default_rng(0).dirichlet(np.ones(VOCABULARY), size=(3, VOCABULARY)).astype(np.float32)
    alone = functools.partial(search_markov, first=np.array([0]), steps=4, beams=3)
    together = jax.jit(jax.vmap(alone))(tables)
    for index, table in enumerate(tables):
        for part, expected in zip(together, alone(table), strict=True):
            np.testing.assert_allclose(part[index], expected, rtol=1e-5)


def test_nan_of_a_finished_sequence_reaches_no_score():
    def step(count, tokens):
        return count + 1, jnp.where((count < 1)[:, None], jnp.array([0.0, 9.0]), jnp.nan)

    found = jax.jit(lambda: beam_search(step, jnp.zeros(1), jnp.array([0]), 3, beams=1, end=1))()
    assert found.tokens.tolist() == [[[1, 1, 1]]]
    assert np.isfinite(found.scores).all()


def test_scores_are_float32_also_for_a_model_in_bfloat16():
    step = lambda carry, tokens: (carry, jnp.zeros((len(tokens), VOCABULARY), jnp.bfloat16))
    found = jax.eval_shape(lambda: beam_search(step, (), jnp.array([0, 1]), 3, beams=2, end=END))
    assert (found.scores.dtype, found.tokens.dtype) == (jnp.float32, jnp.int32)


def uniform(counts, tokens):
    return counts + 1, jnp.zeros((len(tokens), VOCABULARY))


COUNTS, FIRST = np.zeros(2, np.float32), np.array([0, 1], np.int32)


@pytest.mark.parametrize(
    ("carry", "first", "options", "error", "message"),
    [
        (np.zeros((3, 2)), FIRST, {}, ValueError, "carry: got .*first dimension of 2 rows"),
        (COUNTS, FIRST, {"beams": 0}, ValueError, "beams: got 0"),
        (COUNTS, FIRST, {"steps": 0}, ValueError, "steps: got 0"),
        (COUNTS, FIRST, {"end": -1}, ValueError, "end: got -1"),
        (COUNTS, FIRST, {"end": 4}, ValueError, "end: got 4, expected 0 to 3"),
        (COUNTS, FIRST, {"length_penalty": -1.0}, ValueError, "length_penalty: got -1.0"),
        (COUNTS, FIRST, {"length_penalty": float("inf")}, ValueError, "length_penalty: got inf"),
        (COUNTS, COUNTS, {}, TypeError, "first: got float32"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(carry, first, options, error, message):
    with pytest.raises(error, match=message):
        beam_search(uniform, carry, first, **{"steps": 3, "beams": 2, "end": 1, **options})
