"""Attention against loops in NumPy, padding that does nothing, one step and the whole sequence, and a task learned."""

import functools

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

import dlcore as dl
from dlcore.layers.decoding.attention import BahdanauAttention, LuongAttention, attend
from dlcore.layers.decoding.attention_decoder import AttentionDecoder
from dlcore.layers.decoding.beam_search import beam_search
from dlcore.layers.decoding.generate import generate
from tests.helpers import reference

KEY = jax.random.key(0)
close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
LENGTHS, MEMORY_LENGTHS = np.array([4, 0, 1, 3], np.int32), np.array([5, 2, 1, 0], np.int32)
BATCH, STEPS, MEMORY_STEPS, DEPTH, WIDTH = 4, 4, 5, 2, 3


def softmax(scores):
    weights = np.exp(scores - scores.real.max()) if len(scores) else scores
    return weights / weights.sum()


@pytest.mark.parametrize("seed", range(3))
def test_attend_equals_a_loop_and_padding_does_nothing(seed):
    random = np.random.default_rng(seed)
    scores, memory, mixture = (
        random.normal(scale=scale, size=size).astype(np.float32)
        for scale, size in ((5, (4, 5)), (1, (4, 5, 3)), (1, (4, 3)))
    )

    @jax.jit
    def run(scores, memory):
        function = lambda scores, memory: (mixture * attend(scores, memory, MEMORY_LENGTHS)[0]).sum()
        return attend(scores, memory, MEMORY_LENGTHS), jax.grad(function, (0, 1))(scores, memory)

    (context, weights), (of_scores, of_memory) = jax.device_get(run(scores, memory))
    for row, length in enumerate(MEMORY_LENGTHS.tolist()):
        own, values = (
            softmax(scores[row, :length].astype(float)),
            memory[row, :length].astype(float),
        )
        close(weights[row, :length], own)
        close(context[row], own @ values)
        close(of_memory[row, :length], np.outer(own, mixture[row]))
        of_weights = values @ mixture[row]
        close(of_scores[row, :length], own * (of_weights - own @ of_weights))
        for padding in (weights, of_scores, of_memory):
            assert not padding[row, length:].any()
    padding = np.arange(5) >= MEMORY_LENGTHS[:, None]
    for rubbish in (np.float32(np.nan), np.float32(np.inf), np.float32(-np.inf)):
        spoilt = run(np.where(padding, rubbish, scores), np.where(padding[..., None], rubbish, memory))
        jax.tree.map(np.testing.assert_array_equal, spoilt, ((context, weights), (of_scores, of_memory)))


def test_rows_without_memory_make_no_nan_on_the_way():
    with jax.debug_nans(True):
        loss = lambda scores: attend(scores, jnp.ones((2, 3, 1)), jnp.array([0, 2]))[0].sum()
        assert not np.asarray(jax.grad(loss)(jnp.ones((2, 3)))[0]).any()


def test_attend_over_any_batch_large_scores_and_no_memory():
    memory = jax.random.normal(KEY, (2, 3, 5, 4))
    scores = jnp.array([0.0, 1e30, 0.0, -1e30, 0.0]) * jnp.ones((2, 3, 1))
    context, weights = attend(scores, memory)
    assert weights[1, 2].tolist() == [0, 1, 0, 0, 0]
    close(context, memory[:, :, 1])
    close(attend(scores, memory, jnp.full((2, 3), 1))[0], memory[:, :, 0])
    assert attend(jnp.zeros((2, 0)), jnp.ones((2, 0, 4)))[0].tolist() == [[0.0] * 4] * 2
    assert attend(jnp.ones((2, 5), jnp.bfloat16), jnp.ones((2, 5, 1), jnp.bfloat16))[0].dtype == jnp.bfloat16


def score(p, query, memory):
    """The scores of a row's memory ``[S, M]``."""
    if "score_kernel" in p:
        return np.array(
            [
                np.tanh(query @ p["query_kernel"] + m @ p["memory_kernel"]) @ p["score_kernel"][:, 0]
                for m in memory
            ]
        )
    return np.array([query @ (m @ p["memory_kernel"] if "memory_kernel" in p else m) for m in memory])


ATTENTIONS = {
    "dot": LuongAttention(),
    "general": LuongAttention("general"),
    "additive": BahdanauAttention(features=6),
}


@pytest.mark.parametrize("name", ATTENTIONS)
def test_scores_equal_a_loop(name):
    attention, width = ATTENTIONS[name], 3
    memory = jax.random.normal(KEY, (2, 5, 3 if name == "dot" else 4))
    query = jax.random.normal(jax.random.key(1), (2, width))
    variables = attention.init(KEY, memory, width)
    scores = attention.apply(variables, memory, width)(query)
    for row in range(2):
        close(
            scores[row], score(variables.get("params", {}), np.asarray(query[row]), np.asarray(memory[row]))
        )


def test_parameters_have_the_papers_shapes():
    shapes = lambda attention: jax.tree.map(
        jnp.shape, attention.init(KEY, jnp.ones((1, 5, 4)), 3).get("params", {})
    )
    assert shapes(LuongAttention("general")) == {"memory_kernel": (4, 3)}
    assert shapes(BahdanauAttention(6)) == {
        "query_kernel": (3, 6),
        "memory_kernel": (4, 6),
        "score_kernel": (6, 1),
    }
    assert "params" not in LuongAttention().init(KEY, jnp.ones((1, 5, 3)), 3)


CELLS = {"rnn": dl.RNNCell, "lstm": dl.LSTMCell, "gru": dl.GRUCell}
REFERENCES = {"rnn": reference.rnn, "lstm": reference.lstm, "gru": reference.gru}


def decoder_of(cell, attention, **options):
    return AttentionDecoder(CELLS[cell](WIDTH), ATTENTIONS[attention], **options)


def random_inputs(attention="general", seed=1, dtype=jnp.float32):
    """Inputs and a memory."""
    random = np.random.default_rng(seed)
    shapes = (BATCH, STEPS, DEPTH), (BATCH, MEMORY_STEPS, WIDTH if attention == "dot" else 4)
    return tuple(random.normal(size=shape).astype(dtype) for shape in shapes)


def random_carry(decoder, memory, seed=2):
    random = np.random.default_rng(seed)
    carry = jax.eval_shape(lambda: decoder.initialize_carry(memory.shape))
    return jax.tree.map(lambda part: random.normal(size=part.shape).astype(part.dtype), carry)


@functools.cache
def parameters(decoder, attention="general"):
    return jax.jit(decoder.init)(KEY, *random_inputs(attention))


def spoilt(inputs, lengths):
    return jnp.where((jnp.arange(inputs.shape[1]) >= lengths[:, None])[..., None], jnp.nan, inputs)


def weights_of(seen):
    return seen["intermediates"]["weights"][0]


def decode_by_loops(step, params, inputs, memory, initial):
    """Row by row, step by step: the final carry ``[*state, outputs]``, the outputs and the weights."""
    final = [np.array(part, np.result_type(inputs, memory, *initial, *params.values())) for part in initial]
    outputs = np.zeros((BATCH, STEPS, final[-1].shape[-1]), final[-1].dtype)
    weights = np.zeros((BATCH, STEPS, MEMORY_STEPS), final[-1].dtype)
    of_cell, of_attention = (
        {path.split("/")[1]: value for path, value in params.items() if path.startswith(name)}
        for name in ("cell", "attention")
    )

    def cell(state, *inputs):
        after = step(of_cell, tuple(state) if len(state) > 1 else state[0], np.concatenate(inputs))
        return list(after) if isinstance(after, tuple) else [after]

    def read(query, own):
        looks = softmax(score(of_attention, query, own))
        return looks, looks @ own if len(own) else np.zeros(own.shape[-1])

    for row, (length, memory_length) in enumerate(zip(LENGTHS, MEMORY_LENGTHS, strict=True)):
        own = memory[row, :memory_length]
        *state, fed_back = (part[row] for part in final)
        for t in range(length):
            if "output_kernel" in params:
                state = cell(state, inputs[row, t], fed_back)
                looks, context = read(state[-1], own)
                fed_back = np.tanh(np.concatenate([context, state[-1]]) @ params["output_kernel"])
            else:
                looks, context = read(fed_back, own)
                state = cell(state, inputs[row, t], context)
                fed_back = state[-1]
            outputs[row, t], weights[row, t, :memory_length] = fed_back, looks
        for part, value in zip(final, [*state, fed_back], strict=True):
            part[row] = value
    return final, outputs, weights


def functional(xp, carry, outputs):
    """One number of all that a decoder computes."""
    mixture = np.cos(np.arange(STEPS * outputs.shape[-1])).reshape(STEPS, -1)
    return (outputs * mixture).sum() + sum(xp.sin(part).sum() for part in carry)


@pytest.mark.parametrize(
    ("cell", "attention"),
    [("rnn", "dot"), ("gru", "general"), ("lstm", "general"), ("lstm", "additive")],
)
def test_the_decoder_and_its_gradients_equal_loops_with_nan_in_the_padding(cell, attention):
    options = {"features": 2} if attention == "general" else {}
    decoder = decoder_of(cell, attention, **options)
    with jax.enable_x64(True):
        inputs, memory = random_inputs(attention, dtype=jnp.float64)
        initial, carry_of = jax.tree.flatten(random_carry(decoder, memory))
        params = flatten_dict(parameters(decoder, attention)["params"], sep="/")
        named = {f"initial {number}": part for number, part in enumerate(initial)}
        arguments = {"inputs": inputs, "memory": memory, **named, **params}
        arguments = {name: np.asarray(value, float) for name, value in arguments.items()}

        def unnamed(arguments):
            weights = {name: arguments[name] for name in params}
            return weights, arguments["inputs"], arguments["memory"], [arguments[name] for name in named]

        def by_decoder(arguments):
            weights, inputs, memory, initial = unnamed(arguments)
            (carry, outputs), seen = decoder.apply(
                {"params": unflatten_dict(weights, sep="/")},
                spoilt(inputs, LENGTHS),
                spoilt(memory, MEMORY_LENGTHS),
                LENGTHS,
                MEMORY_LENGTHS,
                carry_of.unflatten(initial),
                mutable=["intermediates"],
            )
            result = jax.tree.leaves(carry), outputs, weights_of(seen)
            return functional(jnp, *result[:2]), result

        def by_loops(arguments):
            return decode_by_loops(REFERENCES[cell], *unnamed(arguments))

        gradients, result = jax.jit(jax.grad(by_decoder, has_aux=True))(arguments)
        precise = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-11)
        jax.tree.map(precise, result, by_loops(arguments))
        by_complex_step = reference.gradients(lambda moved: functional(np, *by_loops(moved)[:2]), arguments)
        jax.tree.map(precise, gradients, by_complex_step)


@pytest.mark.parametrize(("attention", "batch"), [("dot", ()), ("general", (2, 2)), ("additive", (4,))])
def test_one_step_at_a_time_equals_the_whole_sequence(attention, batch):
    decoder = decoder_of("lstm", attention)
    variables, (inputs, memory) = parameters(decoder, attention), random_inputs(attention)
    rows = int(np.prod(batch))
    inputs, memory, memory_lengths = (
        array[:rows].reshape((*batch, *array.shape[1:])) for array in (inputs, memory, MEMORY_LENGTHS)
    )
    whole = jax.jit(functools.partial(decoder.apply, mutable=["intermediates"]))
    step = jax.jit(functools.partial(decoder.apply, method="step", mutable=["intermediates"]))
    carry = random_carry(decoder, memory)
    (final, outputs), seen = whole(variables, inputs, memory, None, memory_lengths, carry)
    for t in range(STEPS):
        (carry, now), looks = step(variables, carry, inputs[..., t, :], memory, memory_lengths)
        np.testing.assert_allclose(now, outputs[..., t, :], rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(weights_of(looks), weights_of(seen)[..., t, :], rtol=1e-6, atol=1e-6)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-6), carry, final)


def test_the_sequence_may_be_initialized_by_one_step():
    decoder, (inputs, memory) = decoder_of("gru", "additive"), random_inputs("additive")
    step = functools.partial(decoder.init, method="step")
    variables = jax.jit(step)(KEY, decoder.initialize_carry(memory.shape), inputs[:, 0], memory)
    jax.tree.map(np.testing.assert_array_equal, variables, parameters(decoder, "additive"))


def products_in_the_loop(jaxpr, inside=False):
    """The shapes of what products within a scan put out."""
    for equation in jaxpr.eqns:
        if inside and equation.primitive.name == "dot_general":
            yield equation.outvars[0].aval.shape
        for inner in jax.extend.core.jaxprs_in_params(equation.params):
            yield from products_in_the_loop(inner, inside or equation.primitive.name == "scan")


def test_what_depends_on_the_memory_only_is_computed_once():
    inputs, memory = random_inputs()
    for attention, keys in (("general", WIDTH), ("additive", 6)):
        decoder = decoder_of("gru", attention)
        run = functools.partial(decoder.apply, parameters(decoder, attention))
        shapes = set(products_in_the_loop(jax.make_jaxpr(run)(inputs, memory).jaxpr))
        assert shapes
        assert (BATCH, MEMORY_STEPS, keys) not in shapes


@pytest.mark.parametrize(
    ("attention", "options"),
    [
        ("additive", {"time_chunk": 3}),
        ("general", {"time_chunk": 2, "unroll": 2}),
        ("general", {"truncate": 2}),
    ],
)
def test_windows_change_no_output_and_only_truncation_the_gradient(attention, options):
    inputs, memory = random_inputs(attention)

    def run(decoder):
        def loss(variables, memory):
            carry, outputs = decoder.apply(variables, inputs, memory, LENGTHS, MEMORY_LENGTHS)
            return functional(jnp, jax.tree.leaves(carry), outputs), outputs

        variables = parameters(decoder_of("gru", attention), attention)
        return jax.jit(jax.grad(loss, (0, 1), has_aux=True))(variables, memory)

    gradients, outputs = run(decoder_of("gru", attention, **options))
    expected_gradients, expected = run(decoder_of("gru", attention))
    close(outputs, expected)
    if "truncate" not in options:
        jax.tree.map(close, gradients, expected_gradients)
    else:
        different = jax.tree.map(
            lambda a, b: np.abs(np.asarray(a) - np.asarray(b)).max() > 1e-4, gradients, expected_gradients
        )
        assert any(jax.tree.leaves(different))


def test_chunks_need_less_memory():
    """Of T * S * features tanhs a row, those of one chunk are kept."""

    def temporary_bytes(time_chunk):
        decoder = AttentionDecoder(dl.GRUCell(8), BahdanauAttention(32), time_chunk=time_chunk)
        shapes = [jax.ShapeDtypeStruct((4, steps, 8), jnp.float32) for steps in (64, 32)]
        variables = jax.eval_shape(decoder.init, KEY, *shapes)
        gradient = jax.jit(jax.grad(lambda *arguments: decoder.apply(*arguments)[1].sum()))
        return gradient.lower(variables, *shapes).compile().memory_analysis().temp_size_in_bytes

    whole = temporary_bytes(None)
    assert whole > 64 * 4 * 32 * 32 * 4
    assert temporary_bytes(8) < whole / 4


@pytest.mark.parametrize(
    ("cell", "attention"),
    [
        (nn.OptimizedLSTMCell(WIDTH), "additive"),
        (nn.GRUCell(WIDTH), "dot"),
        (dl.FeedbackCell([dl.GRUCell(2), dl.LSTMCell(WIDTH)]), "additive"),
        (dl.GRUCell(WIDTH, dtype=jnp.bfloat16), "dot"),
    ],
)
def test_other_cells(cell, attention):
    decoder = AttentionDecoder(cell, ATTENTIONS[attention])
    inputs, memory = random_inputs(attention)
    (carry, outputs), variables = jax.jit(decoder.init_with_output)(KEY, inputs, memory, LENGTHS)
    assert outputs.shape == (BATCH, STEPS, WIDTH)
    step = jax.jit(functools.partial(decoder.apply, method="step"))
    now = decoder.initialize_carry(memory.shape)
    for t in range(STEPS):
        now, last = step(variables, now, inputs[:, t], memory)
    tolerance = {"rtol": 2e-2, "atol": 2e-2} if cell.__dict__.get("dtype") == jnp.bfloat16 else {"atol": 1e-6}
    np.testing.assert_allclose(last[0].astype(float), outputs[0, -1].astype(float), **tolerance)
    jax.tree.map(
        lambda part, step: np.testing.assert_allclose(
            part[0].astype(float), step[0].astype(float), **tolerance
        ),
        carry,
        now,
    )


def test_everything_in_bfloat16_stays_so():
    cell, attention = dl.GRUCell(WIDTH, dtype=jnp.bfloat16), LuongAttention("general", dtype=jnp.bfloat16)
    decoder = AttentionDecoder(cell, attention, dtype=jnp.bfloat16)
    inputs, memory = random_inputs(dtype=jnp.bfloat16)
    (carry, outputs), variables = jax.jit(decoder.init_with_output)(
        KEY, inputs, memory, LENGTHS, MEMORY_LENGTHS
    )
    assert {array.dtype for array in jax.tree.leaves((carry, outputs))} == {jnp.bfloat16.dtype}
    assert {array.dtype for array in jax.tree.leaves(variables)} == {jnp.float32.dtype}


def test_dropout_draws_in_training_anew_in_every_step():
    decoder = AttentionDecoder(dl.GRUCell(WIDTH, recurrent_dropout=0.5), LuongAttention("general"))
    inputs, memory = jnp.ones((1, 6, DEPTH)), jnp.ones((1, 2, 4))
    variables = decoder.init(KEY, inputs, memory, train=False)
    run = jax.jit(
        lambda key, train: decoder.apply(variables, inputs, memory, train=train, rngs={"dropout": key})[1],
        static_argnums=1,
    )
    plain = AttentionDecoder(dl.GRUCell(WIDTH), LuongAttention("general"))
    close(run(KEY, False), plain.apply(variables, inputs, memory)[1])
    np.testing.assert_array_equal(run(KEY, True), run(KEY, True))
    assert (run(KEY, True) != run(jax.random.key(1), True)).any()
    assert (run(KEY, True) != run(KEY, False)).any()


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_sequences_of_no_step_and_the_carry_of_an_encoder(attention):
    decoder = decoder_of("lstm", attention)
    inputs, memory = random_inputs(attention)
    encoder = dl.Recurrent(dl.LSTMCell(WIDTH))
    state, _ = encoder.init_with_output(KEY, inputs)[0]
    start = decoder.initialize_carry(memory.shape, state)
    jax.tree.map(np.testing.assert_array_equal, start[0], state)
    close(start[1], state[1] if attention == "additive" else jnp.zeros((BATCH, WIDTH)))
    carry, outputs = decoder.apply(parameters(decoder, attention), inputs[:, :0], memory, None, None, start)
    assert outputs.shape == (BATCH, 0, WIDTH)
    jax.tree.map(np.testing.assert_array_equal, carry, start)


def test_under_jit_lengths_out_of_bounds_count_as_0_or_all():
    decoder, (inputs, memory) = decoder_of("gru", "general"), random_inputs()
    run = jax.jit(functools.partial(decoder.apply, parameters(decoder)))
    beyond, within = jnp.array([-1, 9, 9, 2]), jnp.array([0, 4, 4, 2])
    wide, full = jnp.array([9, 9, -1, 2]), jnp.array([5, 5, 0, 2])
    jax.tree.map(
        np.testing.assert_array_equal, run(inputs, memory, beyond, wide), run(inputs, memory, within, full)
    )


INPUTS, MEMORY = jnp.ones((4, 4, 2)), jnp.ones((4, 5, 4))


def apply(*arguments, method=None, attention="general"):
    decoder = decoder_of("gru", attention)
    return lambda: decoder.apply(parameters(decoder), *arguments, method=method)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: LuongAttention("concat"), ValueError, 'score: got \'concat\', expected "dot" or "general"'),
        (lambda: BahdanauAttention(0), ValueError, "features: got 0"),
        (lambda: AttentionDecoder(nn.Dense(3), LuongAttention()), TypeError, "cell: got Dense"),
        (
            lambda: AttentionDecoder(nn.ConvLSTMCell(3, (3, 3)), LuongAttention()),
            ValueError,
            "cell: got ConvLSTMCell",
        ),
        (lambda: AttentionDecoder(dl.GRUCell(3), nn.Dense(3)), TypeError, "attention: got Dense"),
        (lambda: decoder_of("gru", "dot", features=0), ValueError, "features: got 0"),
        (
            lambda: decoder_of("gru", "additive", features=2),
            ValueError,
            "features: got 2 with BahdanauAttention",
        ),
        (
            lambda: decoder_of("gru", "dot").init(KEY, INPUTS, MEMORY),
            ValueError,
            "memory: got 4 features for queries of 3",
        ),
        (
            lambda: decoder_of("gru", "general", time_chunk=0).init(KEY, INPUTS, MEMORY),
            ValueError,
            "time_chunk: got 0",
        ),
        (apply(INPUTS.astype(int), MEMORY), TypeError, "inputs: got int32"),
        (apply(INPUTS, MEMORY.astype(int)), TypeError, "memory: got int32"),
        (
            apply(INPUTS[0, 0], MEMORY),
            ValueError,
            r"inputs: got shape \(2,\), expected \[\*batch, T, features\]",
        ),
        (
            apply(INPUTS, MEMORY[0, 0]),
            ValueError,
            r"memory: got shape \(4,\), expected \[\*batch, S, features\]",
        ),
        (
            apply(INPUTS, MEMORY[:3]),
            ValueError,
            r"memory: got shape \(3, 5, 4\), expected the inputs' batch \(4,\)",
        ),
        (
            apply(INPUTS, MEMORY, jnp.array([5, 0, 0, 0])),
            ValueError,
            "^lengths: got 5 in row 0, expected 0 to 4",
        ),
        (
            apply(INPUTS, MEMORY, None, jnp.array([0, 6, 0, 0])),
            ValueError,
            "^memory_lengths: got 6 in row 1, expected 0 to 5",
        ),
        (apply(INPUTS, MEMORY, None, [5] * 4), TypeError, "^memory_lengths: got list"),
        (
            apply(INPUTS, MEMORY, None, None, jnp.zeros((4, 3))),
            ValueError,
            r"initial_carry: got \(4, 3\), expected \(\(4, 3\), \(4, 3\)\), the GRUCell's and the outputs; initialize",
        ),
        (apply(jnp.zeros((4, 3)), INPUTS[:, 0], MEMORY, method="step"), ValueError, r"^carry: got \(4, 3\)"),
        (lambda: attend(jnp.ones((2, 4)), jnp.ones((2, 5, 1))), ValueError, r"scores: got shape \(2, 4\)"),
        (lambda: attend(jnp.ones((2, 4), int), jnp.ones((2, 4, 1))), TypeError, "scores: got int32"),
        (
            lambda: attend(jnp.ones((2, 4)), jnp.ones((2, 4, 1)), jnp.array([5, 0])),
            ValueError,
            "^lengths: got 5 in row 0",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


TOKENS, START, END = 8, 8, 9
LONGEST = 6


class Reverser(nn.Module):
    """A tiny encoder-decoder."""

    attention: nn.Module

    def setup(self):
        self.embed = nn.Embed(TOKENS + 2, 16)
        self.encoder = dl.Recurrent(dl.GRUCell(32))
        self.decoder = AttentionDecoder(dl.GRUCell(32), self.attention)
        self.readout = nn.Dense(TOKENS + 2)

    def encode(self, sources, lengths):
        state, memory = self.encoder(self.embed(sources), lengths)
        return self.decoder.initialize_carry(memory.shape, state), memory

    def __call__(self, sources, lengths, targets):
        carry, memory = self.encode(sources, lengths)
        before = jnp.pad(targets[:, :-1], ((0, 0), (1, 0)), constant_values=START)
        _, outputs = self.decoder(self.embed(before), memory, lengths + 1, lengths, carry)
        return self.readout(outputs)

    def step(self, carry, tokens, memory, lengths):
        carry, outputs = self.decoder.step(carry, self.embed(tokens), memory, lengths)
        return carry, self.readout(outputs)


def reversals(key, rows):
    """Sources, their lengths, their reversals with an end, and which of the rows are held out."""
    of_tokens, of_lengths = jax.random.split(key)
    sources = jax.random.randint(of_tokens, (rows, LONGEST), 0, TOKENS)
    lengths = jax.random.randint(of_lengths, (rows,), 2, LONGEST + 1)
    place = lengths[:, None] - 1 - jnp.arange(LONGEST + 1)
    targets = jnp.take_along_axis(sources, jnp.clip(place, 0), axis=1)
    own = jnp.arange(LONGEST) < lengths[:, None]
    return sources, lengths, jnp.where(place >= 0, targets, END), (sources * own).sum(axis=1) % 5 == 0


def trained(model, steps=600, rows=64):
    optimizer = optax.adam(optax.cosine_decay_schedule(1e-2, steps))

    def loss(variables, key):
        sources, lengths, targets, held_out = reversals(key, rows)
        logits = model.apply(variables, sources, lengths, targets)
        costs = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
        counts = (jnp.arange(LONGEST + 1) <= lengths[:, None]) & ~held_out[:, None]
        return (costs * counts).sum() / counts.sum()

    def one(state, number):
        variables, moments = state
        gradients = jax.grad(loss)(variables, jax.random.fold_in(KEY, number))
        updates, moments = optimizer.update(gradients, moments)
        return (optax.apply_updates(variables, updates), moments), None

    variables = model.init(KEY, *reversals(KEY, 2)[:3])
    return jax.lax.scan(one, (variables, optimizer.init(variables)), jnp.arange(steps))[0][0]


@pytest.mark.parametrize(
    "attention", [LuongAttention("general"), pytest.param(BahdanauAttention(32), marks=pytest.mark.slow)]
)
def test_a_tiny_encoder_decoder_learns_to_reverse(attention):
    model = Reverser(attention)
    variables = jax.jit(functools.partial(trained, model))()
    sources, lengths, targets, held_out = (array[:1000] for array in reversals(jax.random.key(1), 1000))
    sources, lengths, targets = (array[held_out] for array in (sources, lengths, targets))

    def step_over(memory, lengths):
        return lambda carry, tokens: model.apply(variables, carry, tokens, memory, lengths, method="step")

    @jax.jit
    def decode(sources, lengths):
        carry, memory = model.apply(variables, sources, lengths, method="encode")
        first = jnp.full(len(sources), START)
        greedy = generate(step_over(memory, lengths), carry, first, LONGEST + 1, end=END)
        tiled = step_over(jnp.repeat(memory, 3, axis=0), jnp.repeat(lengths, 3))
        return greedy, beam_search(tiled, carry, first, LONGEST + 1, beams=3, end=END)

    generated, found = decode(sources, lengths)
    own = jnp.arange(LONGEST + 1) <= lengths[:, None]
    accuracy = ((generated.tokens == targets) & own).sum() / own.sum()
    assert accuracy > 0.95, accuracy
    assert (generated.lengths == lengths + 1).mean() > 0.95
    assert ((found.tokens[:, 0] == targets) & own).sum() / own.sum() > 0.95
    assert (found.scores[:, 0] >= generated.log_probabilities.sum(axis=1) - 1e-4).mean() > 0.95
