"""Generated sequences against loops in NumPy, samplers against the frequencies of their tokens, errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlcore as dl
from dlcore.layers.decoding.generate import generate, greedy, sample
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


@functools.partial(jax.jit, static_argnums=(3, 4))
def greedily(weights, hidden, first, steps, end=None):
    return generate(model(weights), hidden, first, steps, end=end)


@pytest.mark.parametrize("end", [None, END])
def test_greedy_generation_equals_a_loop(end):
    for seed in range(4):
        weights, hidden, first = random_weights(seed), random_hidden(seed, rows=3), np.array([0, 1, 2])
        generated = greedily(weights, hidden, first, 7, end)
        assert generated.tokens.dtype == jnp.int32
        for row in range(3):
            state, token, tokens, chosen = hidden[row], first[row], [], []
            while len(tokens) < 7 and not (tokens and token == end):
                state, log_p = reference(weights, state, token)
                token = int(np.argmax(log_p))
                tokens.append(token)
                chosen.append(log_p[token])
            assert generated.lengths[row] == len(tokens)
            assert generated.tokens[row].tolist() == padded(tokens, 7, end)
            close(generated.log_probabilities[row], np.pad(chosen, (0, 7 - len(tokens))))
            close(generated.carry[row], state)


def test_a_finished_row_gets_only_end_tokens_and_its_carry_stays():
    step = markov(np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]]))
    run = jax.jit(lambda: generate(step, jnp.zeros(3, int), jnp.array([0, 1, 2]), 5, end=2))
    tokens, chosen, lengths, counts = run()
    assert tokens.tolist() == [[1, 2, 2, 2, 2], [2, 2, 2, 2, 2], [0, 1, 2, 2, 2]]
    assert lengths.tolist() == counts.tolist() == [2, 1, 3]
    assert not np.asarray(chosen).any()


def test_nan_of_a_finished_row_reaches_nothing():
    def step(count, tokens):
        return count + 1, jnp.where((count < 1)[:, None], jnp.array([0.0, 9.0]), jnp.nan)

    tokens, chosen, _, _ = jax.jit(lambda: generate(step, jnp.zeros(1), jnp.array([0]), 3, end=1))()
    assert tokens.tolist() == [[1, 1, 1]]
    assert np.isfinite(chosen).all()


def test_generation_continues_from_its_last_carry_and_token():
    weights, hidden, first = random_weights(5), random_hidden(5), np.array([0, 1])

    @jax.jit
    def run(weights):
        whole, start = (generate(model(weights), hidden, first, steps) for steps in (8, 3))
        rest = generate(model(weights), start.carry, start.tokens[:, -1], 5)
        return whole.tokens, jnp.concatenate([start.tokens, rest.tokens], axis=1)

    np.testing.assert_array_equal(*run(weights))


def test_the_same_key_draws_the_same_and_step_n_has_its_own_key():
    logits = jnp.log(jnp.array([[0.4, 0.3, 0.3], [0.1, 0.1, 0.8]]))
    step = lambda carry, tokens: (carry, logits)

    @jax.jit
    def draw(key):
        keys = jax.vmap(lambda n: jax.random.fold_in(key, n))(jnp.arange(10))
        expected = jax.vmap(lambda key: jax.random.categorical(key, logits))(keys)
        return generate(step, (), jnp.zeros(2, int), 10, key, sampler=sample()).tokens, expected.T

    tokens, expected = draw(KEY)
    np.testing.assert_array_equal(tokens, expected)
    assert tokens.tolist() == draw(KEY)[0].tolist() != draw(jax.random.key(1))[0].tolist()


def test_a_flax_cell_generates_in_its_own_dtype_also_with_64_bit_integers():
    """The carry begins in float32 and continues in bfloat16; log-probabilities are float32 nevertheless."""
    with jax.enable_x64(True):
        cell, embedding = dl.GRUCell(VOCABULARY, dtype=jnp.bfloat16), jnp.eye(VOCABULARY, dtype=jnp.float32)
        carry, first = jnp.zeros((2, VOCABULARY), jnp.float32), jnp.array([0, 1])

        def run():
            variables = cell.init(KEY, carry, embedding[:2])
            step = lambda carry, tokens: cell.apply(variables, carry, embedding[tokens])
            return generate(step, carry, first, 3, end=END)

        generated = jax.eval_shape(run)
        assert generated.carry.dtype == jnp.bfloat16
        assert generated.log_probabilities.dtype == jnp.float32
        assert generated.tokens.dtype == generated.lengths.dtype == jnp.int32


@pytest.mark.slow
def test_log_probabilities_have_a_gradient():
    """Policy gradients need it, with the tokens held fixed."""
    weights = random_weights(2)

    def total(scale):
        scaled = model(
            {"embedding": jnp.asarray(weights["embedding"]), "recurrent": weights["recurrent"]}
            | {"readout": scale * weights["readout"]}
        )
        drawn = generate(scaled, random_hidden(2), jnp.array([0, 1]), 4, KEY, sampler=sample(), end=END)
        return drawn.log_probabilities.sum()

    above, gradient, below = jax.jit(lambda: (total(1.01), jax.grad(total)(1.0), total(0.99)))()
    np.testing.assert_allclose(gradient, (above - below) / 0.02, rtol=1e-2)


PROBABILITIES = np.array([0.05, 0.4, 0.1, 0.25, 0.2])
DRAWS = 5_000
EVERY = [0, 1, 2, 3, 4]


def among(tokens, temperature=1.0):
    """The probabilities if only these tokens are possible."""
    weights = np.zeros(len(PROBABILITIES))
    weights[tokens] = PROBABILITIES[tokens] ** (1 / temperature)
    return weights / weights.sum()


SAMPLERS = {
    (1.0,): among(EVERY),
    (0.5,): among(EVERY, 0.5),
    (3.0,): among(EVERY, 3.0),
    (1.0, 1): among([1]),
    (1.0, 3): among([1, 3, 4]),
    (1.0, 5): among(EVERY),
    (1.0, None, 1e-6): among([1]),
    (1.0, None, 0.39): among([1]),
    (1.0, None, 0.41): among([1, 3]),
    (1.0, None, 0.7): among([1, 3, 4]),
    (1.0, None, 0.96): among(EVERY),
    (1.0, None, 1.0): among(EVERY),
    # Among the two best, 0.4 and 0.25, the first one has the probability 0.615.
    (1.0, 2, 0.61): among([1]),
    (1.0, 2, 0.62): among([1, 3]),
    # At temperature 0.5 the best one has 0.16 of 0.275, which is 0.582.
    (0.5, None, 0.58): among([1]),
    (0.5, 4, 0.6): among([1, 3], 0.5),
}


# The default run has one sampler of each kind, and those at the edge of a nucleus.
EACH_KIND = [
    (0.5,),
    (1.0, 3),
    (1.0, None, 0.39),
    (1.0, None, 0.41),
    (1.0, 2, 0.61),
    (1.0, 2, 0.62),
    (0.5, 4, 0.6),
]


@pytest.mark.parametrize(
    ("samplers", "seed"),
    [(EACH_KIND, 0), *(pytest.param(SAMPLERS, seed, marks=pytest.mark.slow) for seed in (1, 2))],
)
def test_samplers_draw_tokens_with_their_probabilities(samplers, seed):
    logits = jnp.tile(jnp.log(PROBABILITIES), (DRAWS, 1))
    run = jax.jit(lambda key: [sample(*arguments)(key, logits) for arguments in samplers])
    for arguments, tokens in zip(samplers, run(jax.random.key(seed)), strict=True):
        expected = SAMPLERS[arguments]
        observed = np.bincount(tokens, minlength=len(PROBABILITIES)) / DRAWS
        possible = expected > 0
        assert not observed[~possible].any(), arguments
        chi_square = DRAWS * ((observed - expected)[possible] ** 2 / expected[possible]).sum()
        assert chi_square < 25, arguments  # with at most 4 degrees of freedom, one seed in 20,000 exceeds it


def test_masked_tokens_are_never_drawn():
    logits = jnp.tile(jnp.array([0.0, -jnp.inf, 0.0, 0.0]), (1000, 1))
    samplers = sample(), sample(1.0, 4), sample(1.0, None, 0.99)
    for tokens in jax.jit(lambda: [sampler(KEY, logits) for sampler in samplers])():
        assert set(tokens.tolist()) == {0, 2, 3}


def test_a_tie_goes_to_the_first_tokens():
    assert set(jax.jit(sample(top_k=2))(KEY, jnp.zeros((200, 5))).tolist()) == {0, 1}
    assert greedy(None, jnp.array([[0.0, 2.0, 2.0]])).tolist() == [1]


def test_a_low_temperature_is_greedy():
    logits = jax.random.normal(KEY, (100, 7))
    assert jax.jit(sample(1e-30))(KEY, logits).tolist() == greedy(None, logits).tolist()


def uniform(counts, tokens):
    return counts + 1, jnp.zeros((len(tokens), VOCABULARY))


COUNTS, FIRST = np.zeros(2, np.float32), np.array([0, 1], np.int32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: sample(0.0), ValueError, r"temperature: got 0.0, expected a number in \(0, inf\)"),
        (lambda: sample("0.5"), TypeError, "temperature: got '0.5', expected a number"),
        (lambda: sample()(0, jnp.zeros((2, 4))), TypeError, "rng: got 0, expected a random key"),
        (lambda: sample(float("nan")), ValueError, "temperature: got nan"),
        (lambda: sample(top_k=0), ValueError, "top_k: got 0, expected an integer >= 1"),
        (lambda: sample(top_k=1.5), TypeError, "top_k: got 1.5"),
        (lambda: sample(top_k=5)(KEY, jnp.zeros((2, 4))), ValueError, "top_k: got 5, expected 1 to 4"),
        (lambda: sample(top_p=0.0), ValueError, r"top_p: got 0.0, expected a number in \(0, 1\]"),
        (lambda: sample(top_p=1.1), ValueError, "top_p: got 1.1"),
        (lambda: sample()(None, jnp.zeros((2, 4))), ValueError, "rng: got None, expected a key"),
    ],
)
def test_samplers_with_bad_settings_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((uniform, COUNTS, FIRST, 3), {"sampler": sample()}, ValueError, "rng: got None, expected"),
        ((uniform, COUNTS, FIRST, 0), {}, ValueError, "steps: got 0"),
        ((uniform, COUNTS, FIRST, 3), {"end": 4}, ValueError, "end: got 4, expected 0 to 3"),
        ((uniform, COUNTS, COUNTS, 3), {}, TypeError, "first: got float32, expected integers"),
        ((uniform, COUNTS, [0, 1], 3), {}, TypeError, "first: got list, expected an array of integers"),
        ((uniform, COUNTS, 0, 3), {}, TypeError, "first: got 0, expected an array of integers"),
        ((uniform, COUNTS, FIRST[None], 3), {}, ValueError, r"first: got tokens of shape \(1, 2\)"),
        (
            (lambda c, t: ((c, c), uniform(c, t)[1]), COUNTS, FIRST, 3),
            {},
            ValueError,
            r"step: got a carry \(2,\) and returned \(\(2,\), \(2,\)\)",
        ),
        ((lambda c, t: (c[:1], uniform(c, t)[1]), COUNTS, FIRST, 3), {}, ValueError, "step: got a carry"),
        ((lambda c, t: (c, c), COUNTS, FIRST, 3), {}, ValueError, r"step: got logits of shape \(2,\)"),
        ((lambda c, t: (c, t[:, None]), COUNTS, FIRST, 3), {}, TypeError, "step: got logits .*int32"),
        (
            (uniform, COUNTS, FIRST, 3),
            {"sampler": lambda rng, logits: logits[:, 0]},
            TypeError,
            "sampler: got float32",
        ),
        (
            (uniform, COUNTS, FIRST, 3),
            {"sampler": lambda rng, logits: jnp.argmax(logits)},
            ValueError,
            r"sampler: got tokens of shape \(\), expected \(2,\)",
        ),
        (
            (uniform, np.zeros((), np.float32), FIRST, 3),
            {"end": 1},
            ValueError,
            "carry: got .*first dimension of 2 rows",
        ),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, options, error, message):
    with pytest.raises(error, match=message):
        generate(*arguments, **options)
