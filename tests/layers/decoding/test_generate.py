"""Decoding: greedy and drawn sequences, samplers by their frequencies, beam search against all sequences there are."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlcore as dl
from dlcore.layers.decoding.beam_search import beam_search
from dlcore.layers.decoding.generate import generate, greedy, sample

KEY = jax.random.key(0)
VOCABULARY, END, FEATURES = 4, 3, 3
close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)


def random_weights(seed, vocabulary=VOCABULARY):
    """A random recurrent language model."""
    generator = np.random.default_rng(seed)
    return {
        "embedding": generator.normal(size=(vocabulary, FEATURES)),
        "recurrent": generator.normal(size=(FEATURES, FEATURES)),
        "readout": generator.normal(size=(FEATURES, vocabulary)),
    }


def random_hidden(seed, rows=2):
    return np.random.default_rng(seed + 100).normal(size=(rows, FEATURES))


def model(weights):
    """The step of a language model."""

    def step(hidden, tokens):
        hidden = jnp.tanh(weights["embedding"][tokens] + hidden @ weights["recurrent"])
        return hidden, hidden @ weights["readout"]

    return step


def reference(weights, hidden, token):
    """The same for one row, by NumPy in float64: ``h, token -> h, log p``."""
    hidden = np.tanh(weights["embedding"][token] + hidden @ weights["recurrent"])
    logits = hidden @ weights["readout"]
    return hidden, logits - np.log(np.exp(logits).sum())


@functools.partial(jax.jit, static_argnums=(3, 4))
def greedily(weights, hidden, first, steps, end=None):
    return generate(model(weights), hidden, first, steps, end=end)


@functools.partial(jax.jit, static_argnums=(3, 4, 5, 6))
def search(weights, hidden, first, steps, beams, end=END, length_penalty=0.0):
    return beam_search(
        model(weights), hidden, first, steps, beams=beams, end=end, length_penalty=length_penalty
    )


@functools.partial(jax.jit, static_argnames=("steps", "end", "beams", "length_penalty"))
def markov(probabilities, first, steps, end=END, beams=None, length_penalty=0.0):
    """Decodes a model whose next token depends on the last one only; its carry counts the steps of each row."""
    step = lambda counts, tokens: (counts + 1, jnp.log(probabilities)[tokens])
    counts = jnp.zeros(len(first), int)
    if beams is None:
        return generate(step, counts, first, steps, end=end)
    return beam_search(step, counts, first, steps, beams=beams, end=end, length_penalty=length_penalty)


def padded(tokens, steps, end):
    return [*tokens, *[end] * (steps - len(tokens))]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("end", [None, END])
def test_greedy_generation_equals_a_loop(seed, end):
    weights, hidden, first = random_weights(seed), random_hidden(seed, rows=3), np.array([0, 1, 2])
    generated = greedily(weights, hidden, first, 7, end)
    assert generated.tokens.dtype == jnp.int32
    for row in range(3):
        state, token, own, chosen = hidden[row], first[row], [], []
        while len(own) < 7 and not (own and token == end):
            state, log_p = reference(weights, state, token)
            token = int(np.argmax(log_p))
            own.append(token)
            chosen.append(log_p[token])
        assert generated.lengths[row] == len(own)
        assert generated.tokens[row].tolist() == padded(own, 7, end)
        close(generated.log_probabilities[row], np.pad(chosen, (0, 7 - len(own))))
        close(generated.carry[row], state)


def test_a_finished_row_says_no_more_and_its_carry_stays():
    follows = jnp.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])
    tokens, chosen, lengths, counts = markov(follows, jnp.array([0, 1, 2]), 5, end=2)
    assert tokens.tolist() == [[1, 2, 2, 2, 2], [2, 2, 2, 2, 2], [0, 1, 2, 2, 2]]
    assert lengths.tolist() == counts.tolist() == [2, 1, 3]
    assert not np.asarray(chosen).any()


def test_what_a_finished_model_says_does_not_matter():
    def step(count, tokens):
        return count + 1, jnp.where((count < 1)[:, None], jnp.array([0.0, 9.0]), jnp.nan)

    tokens, chosen, _, _ = jax.jit(lambda: generate(step, jnp.zeros(1), jnp.array([0]), 3, end=1))()
    assert tokens.tolist() == [[1, 1, 1]]
    assert np.isfinite(chosen).all()
    found = jax.jit(lambda: beam_search(step, jnp.zeros(1), jnp.array([0]), 3, beams=1, end=1))()
    assert found.tokens.tolist() == [[[1, 1, 1]]]
    assert np.isfinite(found.scores).all()


def test_generation_goes_on_where_it_ended():
    weights, hidden, first = random_weights(5), random_hidden(5), np.array([0, 1])
    whole, start = greedily(weights, hidden, first, 8), greedily(weights, hidden, first, 3)
    rest = greedily(weights, start.carry, start.tokens[:, -1], 5)
    assert jnp.concatenate([start.tokens, rest.tokens], axis=1).tolist() == whole.tokens.tolist()


def test_the_same_key_draws_the_same_and_step_n_has_its_own():
    logits = jnp.log(jnp.array([[0.4, 0.3, 0.3], [0.1, 0.1, 0.8]]))
    step = lambda carry, tokens: (carry, logits)
    draw = jax.jit(lambda key: generate(step, (), jnp.zeros(2, int), 10, key, sampler=sample()).tokens)
    tokens = draw(KEY)
    assert tokens.tolist() == draw(KEY).tolist() != draw(jax.random.key(1)).tolist()
    for number in range(10):
        expected = jax.random.categorical(jax.random.fold_in(KEY, number), logits)
        assert tokens[:, number].tolist() == expected.tolist()


def test_generation_of_a_flax_cell_in_its_own_dtype_also_where_integers_are_long():
    """The carry begins in float32 and goes on in bfloat16; log-probabilities are float32 all the same."""
    with jax.enable_x64(True):
        cell, embedding = dl.GRUCell(VOCABULARY, dtype=jnp.bfloat16), jnp.eye(VOCABULARY, dtype=jnp.float32)
        carry, first = jnp.zeros((2, VOCABULARY), jnp.float32), jnp.array([0, 1])
        variables = cell.init(KEY, carry, embedding[:2])
        step = lambda carry, tokens: cell.apply(variables, carry, embedding[tokens])
        generated = jax.jit(lambda: generate(step, carry, first, 3, end=END))()
        assert generated.carry.dtype == jnp.bfloat16
        assert generated.log_probabilities.dtype == jnp.float32
        found = jax.jit(lambda: beam_search(step, carry, first, 3, beams=2, end=END))()
        assert (found.scores.dtype, found.tokens.dtype) == (jnp.float32, jnp.int32)


def test_log_probabilities_have_a_gradient():
    """As policy gradients need it, with the tokens held."""
    weights = jax.tree.map(jnp.asarray, random_weights(2))

    @jax.jit
    def total(scale):
        scaled = model({**weights, "readout": scale * weights["readout"]})
        drawn = generate(scaled, random_hidden(2), jnp.array([0, 1]), 4, KEY, sampler=sample(), end=END)
        return drawn.log_probabilities.sum()

    np.testing.assert_allclose(jax.grad(total)(1.0), (total(1.01) - total(0.99)) / 0.02, rtol=1e-2)


PROBABILITIES = np.array([0.05, 0.4, 0.1, 0.25, 0.2])
DRAWS = 20_000


@functools.cache
def sampler_of(*arguments):
    logits = jnp.tile(jnp.log(PROBABILITIES), (DRAWS, 1))
    return jax.jit(lambda key: sample(*arguments)(key, logits))


def among(tokens, temperature=1.0):
    """The probabilities where only these tokens are possible."""
    weights = np.zeros(len(PROBABILITIES))
    weights[tokens] = PROBABILITIES[tokens] ** (1 / temperature)
    return weights / weights.sum()


EVERY = [0, 1, 2, 3, 4]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((1.0,), among(EVERY)),
        ((0.5,), among(EVERY, 0.5)),
        ((3.0,), among(EVERY, 3.0)),
        ((1.0, 1), among([1])),
        ((1.0, 3), among([1, 3, 4])),
        ((1.0, 5), among(EVERY)),
        ((1.0, None, 1e-6), among([1])),
        ((1.0, None, 0.39), among([1])),
        ((1.0, None, 0.41), among([1, 3])),
        ((1.0, None, 0.7), among([1, 3, 4])),
        ((1.0, None, 0.96), among(EVERY)),
        ((1.0, None, 1.0), among(EVERY)),
        # Of the two best, 0.4 and 0.25, the first one has 0.615 of the probability.
        ((1.0, 2, 0.61), among([1])),
        ((1.0, 2, 0.62), among([1, 3])),
        # At temperature 0.5 the best one has 0.16 of 0.275, which is 0.582.
        ((0.5, None, 0.58), among([1])),
        ((0.5, 4, 0.6), among([1, 3], 0.5)),
    ],
)
def test_samplers_draw_with_the_probabilities_of_their_tokens(arguments, expected, seed):
    tokens = sampler_of(*arguments)(jax.random.key(seed))
    observed = np.bincount(tokens, minlength=len(PROBABILITIES)) / DRAWS
    possible = expected > 0
    assert not observed[~possible].any()
    chi_square = DRAWS * ((observed - expected)[possible] ** 2 / expected[possible]).sum()
    assert chi_square < 25  # of at most 4 degrees of freedom: above that once in 20,000 seeds


@pytest.mark.parametrize("arguments", [(), (1.0, 4), (1.0, None, 0.99)])
def test_masked_tokens_are_never_drawn(arguments):
    logits = jnp.tile(jnp.array([0.0, -jnp.inf, 0.0, 0.0]), (1000, 1))
    assert set(jax.jit(sample(*arguments))(KEY, logits).tolist()) == {0, 2, 3}


def test_of_equals_the_first_are_the_best():
    assert set(jax.jit(sample(top_k=2))(KEY, jnp.zeros((200, 5))).tolist()) == {0, 1}
    assert greedy(None, jnp.array([[0.0, 2.0, 2.0]])).tolist() == [1]


def test_a_low_temperature_is_greedy():
    logits = jax.random.normal(KEY, (100, 7))
    assert jax.jit(sample(1e-30))(KEY, logits).tolist() == greedy(None, logits).tolist()


def penalized(total, length, length_penalty):
    return total / ((5 + length) / 6) ** length_penalty


def every_sequence(weights, hidden, first, steps, length_penalty):
    """All sequences of one row and their scores, by brute force."""
    found = {}
    for tokens in itertools.product(range(VOCABULARY), repeat=steps):
        own = tokens[: tokens.index(END) + 1] if END in tokens else tokens
        state, last, total = hidden, first, 0.0
        for token in own:
            state, log_p = reference(weights, state, last)
            total, last = total + log_p[token], token
        found[own] = penalized(total, len(own), length_penalty)
    return found


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 2.0])
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


@pytest.mark.parametrize("beams", [2, 3, 6])
@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
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


@pytest.mark.parametrize("seed", range(4))
def test_one_beam_is_greedy(seed):
    weights, hidden, first = random_weights(seed, vocabulary=9), random_hidden(seed, rows=5), np.arange(5)
    generated, found = greedily(weights, hidden, first, 30, 8), search(weights, hidden, first, 30, 1, 8)
    assert found.tokens[:, 0].tolist() == generated.tokens.tolist()
    assert found.lengths[:, 0].tolist() == generated.lengths.tolist()
    close(found.scores[:, 0], generated.log_probabilities.sum(axis=1))


def test_two_beams_find_what_greed_misses():
    follows = jnp.array([[0, 0.6, 0.4, 0], [0.25, 0.25, 0.25, 0.25], [0, 0, 0.1, 0.9], [0, 0, 0, 1]])
    first = jnp.array([0])
    assert markov(follows, first, 3).tokens[0, 0] == 1
    found = markov(follows, first, 3, beams=2)
    assert found.tokens[0, 0].tolist() == [2, 3, 3]
    close(found.scores[0, 0], np.log(0.4 * 0.9))


def test_the_length_penalty_favors_long_sequences():
    follows = jnp.array([[0.35, 0.05, 0.05, 0.55], *[[0, 0, 0, 1.0]] * 3])
    lengths = [markov(follows, jnp.array([0]), 3, beams=9, length_penalty=alpha).lengths for alpha in (0, 9)]
    assert [length[0, 0].item() for length in lengths] == [1, 3]


def test_the_carry_follows_its_beam_whatever_its_structure():
    """What comes next depends on all that a beam has read, so that another beam's carry would change the scores."""

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
        logs = log_probabilities(jnp.int32(row), found.tokens[row, beam])
        close(found.scores[row, beam], logs[: found.lengths[row, beam]].sum())


def test_under_vmap_every_model_decodes_by_itself():
    tables = jax.nn.softmax(jax.random.normal(KEY, (3, VOCABULARY, VOCABULARY)))
    alone = functools.partial(markov, first=jnp.array([0]), steps=4, beams=3)
    together = jax.vmap(alone)(tables)
    for number, table in enumerate(tables):
        for part, own in zip(together, alone(table), strict=True):
            np.testing.assert_allclose(part[number], own, rtol=1e-6)


def uniform(counts, tokens):
    return counts + 1, jnp.zeros((len(tokens), VOCABULARY))


COUNTS, FIRST = jnp.zeros(2), jnp.array([0, 1])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: sample(0.0), ValueError, "temperature: got 0.0, expected a number > 0"),
        (lambda: sample(float("nan")), ValueError, "temperature: got nan"),
        (lambda: sample(top_k=0), ValueError, "top_k: got 0, expected an integer >= 1"),
        (lambda: sample(top_k=1.5), TypeError, "top_k: got 1.5"),
        (lambda: sample(top_k=5)(KEY, jnp.zeros((2, 4))), ValueError, "top_k: got 5, expected 1 to 4"),
        (lambda: sample(top_p=0.0), ValueError, r"top_p: got 0.0, expected a probability in \(0, 1\]"),
        (lambda: sample(top_p=1.1), ValueError, "top_p: got 1.1"),
        (lambda: sample()(None, jnp.zeros((2, 4))), ValueError, "rng: got None, expected a key"),
        (
            lambda: generate(uniform, COUNTS, FIRST, 3, sampler=sample()),
            ValueError,
            "rng: got None, expected",
        ),
        (lambda: generate(uniform, COUNTS, FIRST, 0), ValueError, "steps: got 0"),
        (lambda: generate(uniform, COUNTS, FIRST, 3, end=4), ValueError, "end: got 4, expected 0 to 3"),
        (lambda: generate(uniform, COUNTS, COUNTS, 3), TypeError, "first: got float32, expected an array"),
        (lambda: generate(uniform, COUNTS, [0, 1], 3), TypeError, "first: got <class 'list'>"),
        (lambda: generate(uniform, COUNTS, 0, 3), TypeError, "first: got <class 'int'>"),
        (
            lambda: generate(uniform, COUNTS, FIRST[None], 3),
            ValueError,
            r"first: got tokens of shape \(1, 2\)",
        ),
        (
            lambda: generate(lambda c, t: ((c, c), uniform(c, t)[1]), COUNTS, FIRST, 3),
            ValueError,
            r"step: got a carry \(2,\) and returned \(\(2,\), \(2,\)\)",
        ),
        (
            lambda: generate(lambda c, t: (c[:1], uniform(c, t)[1]), COUNTS, FIRST, 3),
            ValueError,
            "step: got a carry",
        ),
        (
            lambda: generate(lambda c, t: (c, c), COUNTS, FIRST, 3),
            ValueError,
            r"step: got logits of shape \(2,\)",
        ),
        (
            lambda: generate(lambda c, t: (c, t[:, None]), COUNTS, FIRST, 3),
            TypeError,
            "step's logits: got int32",
        ),
        (
            lambda: generate(uniform, COUNTS, FIRST, 3, sampler=lambda rng, logits: logits[:, 0]),
            TypeError,
            "sampler: got float32",
        ),
        (
            lambda: generate(uniform, COUNTS, FIRST, 3, sampler=lambda rng, logits: jnp.argmax(logits)),
            ValueError,
            r"sampler: got tokens of shape \(\), expected \(2,\)",
        ),
        (
            lambda: generate(uniform, jnp.zeros(()), FIRST, 3, end=1),
            ValueError,
            "carry: got .*first dimension of 2 rows",
        ),
        (
            lambda: beam_search(uniform, jnp.zeros((3, 2)), FIRST, 3, beams=2, end=1),
            ValueError,
            "carry: got .*first dimension of 2 rows",
        ),
        (lambda: beam_search(uniform, COUNTS, FIRST, 3, beams=0, end=1), ValueError, "beams: got 0"),
        (lambda: beam_search(uniform, COUNTS, FIRST, 3, beams=2, end=-1), ValueError, "end: got -1"),
        (
            lambda: beam_search(uniform, COUNTS, FIRST, 3, beams=2, end=1, length_penalty=-1.0),
            ValueError,
            "length_penalty: got -1.0",
        ),
        (lambda: beam_search(uniform, COUNTS, COUNTS, 3, beams=2, end=1), TypeError, "first: got float32"),
    ],
)
def test_what_does_not_fit_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
