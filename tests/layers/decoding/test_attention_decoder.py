"""The attention decoder against loops in NumPy, one step against the whole sequence, windows, dropout, errors."""

import functools

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

import dlcore as dl
from dlcore.layers.decoding.attention import BahdanauAttention, LuongAttention
from dlcore.layers.decoding.attention_decoder import AttentionDecoder
from dlcore.layers.decoding.beam_search import beam_search
from dlcore.layers.decoding.generate import generate
from tests.helpers import attention_reference, reference
from tests.helpers.reverser import END, LONGEST, START, Reverser, reversals, trained

KEY = jax.random.key(0)
close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
LENGTHS, MEMORY_LENGTHS = np.array([4, 0, 1, 3], np.int32), np.array([5, 2, 1, 0], np.int32)
BATCH, STEPS, MEMORY_STEPS, DEPTH, WIDTH = 4, 4, 5, 2, 3

ATTENTIONS = {
    "dot": LuongAttention(),
    "general": LuongAttention("general"),
    "additive": BahdanauAttention(features=6),
}

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
    """Normally distributed parameters, which need no compilation."""
    random = np.random.default_rng(3)
    shapes = jax.eval_shape(decoder.init, KEY, *random_inputs(attention))
    return jax.tree.map(lambda leaf: random.normal(scale=0.5, size=leaf.shape).astype(np.float32), shapes)


def spoilt(inputs, lengths):
    """The inputs with NaN in their padding."""
    return jnp.where((jnp.arange(inputs.shape[1]) >= lengths[:, None])[..., None], jnp.nan, inputs)


def weights_of(seen):
    return seen["intermediates"]["weights"][0]


def functional(xp, carry, outputs):
    """One number that depends on everything a decoder computes."""
    mixture = np.cos(np.arange(STEPS * outputs.shape[-1])).reshape(STEPS, -1)
    return (outputs * mixture).sum() + sum(xp.sin(part).sum() for part in carry)


@pytest.mark.parametrize(
    ("cell", "attention"),
    [
        pytest.param("gru", "general", marks=pytest.mark.slow),
        ("lstm", "additive"),
        pytest.param("rnn", "dot", marks=pytest.mark.slow),
        pytest.param("lstm", "general", marks=pytest.mark.slow),
    ],
)
def test_the_decoder_and_its_gradients_equal_loops_with_nan_in_the_padding(cell, attention):
    options = {"features": 2} if attention == "general" else {}
    decoder = decoder_of(cell, attention, **options)
    with jax.enable_x64(True):
        inputs, memory = random_inputs(attention, dtype=jnp.float64)
        initial, carry_of = jax.tree.flatten(random_carry(decoder, memory))
        params = flatten_dict(parameters(decoder, attention)["params"], sep="/")
        named = {f"initial {index}": part for index, part in enumerate(initial)}
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
            return attention_reference.decode(REFERENCES[cell], *unnamed(arguments), LENGTHS, MEMORY_LENGTHS)

        gradients, result = jax.jit(jax.grad(by_decoder, has_aux=True))(arguments)
        precise = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-11)
        jax.tree.map(precise, result, by_loops(arguments))
        by_complex_step = reference.gradients(lambda moved: functional(np, *by_loops(moved)[:2]), arguments)
        jax.tree.map(precise, gradients, by_complex_step)


@pytest.mark.parametrize(
    ("attention", "batch"),
    [pytest.param("dot", (), marks=pytest.mark.slow), ("general", (2, 2)), ("additive", (4,))],
)
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


@pytest.mark.parametrize(
    "transform",
    [lambda init: functools.partial(jax.eval_shape, init), pytest.param(jax.jit, marks=pytest.mark.slow)],
)
def test_one_step_initializes_the_same_parameters_as_the_sequence(transform):
    decoder, (inputs, memory) = decoder_of("gru", "additive"), random_inputs("additive")
    step = transform(functools.partial(decoder.init, method="step"))
    variables = step(KEY, decoder.initialize_carry(memory.shape), inputs[:, 0], memory)
    whole = transform(decoder.init)(KEY, inputs, memory)
    jax.tree.map(np.testing.assert_array_equal, variables, whole)


def products_in_the_loop(jaxpr, inside=False):
    """The output shapes of the products within a scan."""
    for equation in jaxpr.eqns:
        if inside and equation.primitive.name == "dot_general":
            yield equation.outvars[0].aval.shape
        for inner in jax.extend.core.jaxprs_in_params(equation.params):
            yield from products_in_the_loop(inner, inside or equation.primitive.name == "scan")


def test_products_of_the_memory_alone_are_computed_once_before_the_loop():
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
        pytest.param("additive", {"time_chunk": 3}, marks=pytest.mark.slow),
        pytest.param("general", {"time_chunk": 2, "unroll": 1}, marks=pytest.mark.slow),
        pytest.param("general", {"truncate": 2}, marks=pytest.mark.slow),
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


@pytest.mark.slow
def test_chunks_need_less_memory():
    """Each row has T * S * features tanhs; only those of one chunk are kept."""

    def temporary_bytes(time_chunk):
        decoder = AttentionDecoder(dl.GRUCell(8), BahdanauAttention(32), time_chunk=time_chunk)
        shapes = [jax.ShapeDtypeStruct((4, steps, 8), jnp.float32) for steps in (64, 32)]
        variables = jax.eval_shape(decoder.init, KEY, *shapes)
        gradient = jax.jit(jax.grad(lambda *arguments: decoder.apply(*arguments)[1].sum()))
        return gradient.lower(variables, *shapes).compile().memory_analysis().temp_size_in_bytes

    whole = temporary_bytes(None)
    assert whole > 64 * 4 * 32 * 32 * 4
    assert temporary_bytes(8) < whole / 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell", "attention"),
    [
        (nn.OptimizedLSTMCell(WIDTH), "additive"),
        (nn.GRUCell(WIDTH), "dot"),
        (dl.FeedbackCell([dl.GRUCell(2), dl.LSTMCell(WIDTH)]), "additive"),
        (dl.GRUCell(WIDTH, dtype=jnp.bfloat16), "dot"),
    ],
)
def test_other_cells_decode_one_step_at_a_time_as_the_whole_sequence(cell, attention):
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


def test_bfloat16_stays_bfloat16():
    cell, attention = dl.GRUCell(WIDTH, dtype=jnp.bfloat16), LuongAttention("general", dtype=jnp.bfloat16)
    decoder = AttentionDecoder(cell, attention, dtype=jnp.bfloat16)
    inputs, memory = random_inputs(dtype=jnp.bfloat16)
    (carry, outputs), variables = jax.eval_shape(
        decoder.init_with_output, KEY, inputs, memory, LENGTHS, MEMORY_LENGTHS
    )
    assert {array.dtype for array in jax.tree.leaves((carry, outputs))} == {jnp.bfloat16.dtype}
    assert {array.dtype for array in jax.tree.leaves(variables)} == {jnp.float32.dtype}


@pytest.mark.slow
def test_dropout_draws_only_in_training_and_anew_for_every_key():
    decoder = AttentionDecoder(dl.GRUCell(WIDTH, recurrent_dropout=0.5), LuongAttention("general"))
    inputs, memory = jnp.ones((1, 6, DEPTH)), jnp.ones((1, 2, 4))
    variables = parameters(decoder)
    plain = AttentionDecoder(dl.GRUCell(WIDTH), LuongAttention("general"))

    @jax.jit
    def run(key):
        trained = decoder.apply(variables, inputs, memory, train=True, rngs={"dropout": key})[1]
        evaluated = decoder.apply(variables, inputs, memory, rngs={"dropout": key})[1]
        return trained, evaluated, plain.apply(variables, inputs, memory)[1]

    (trained, evaluated, expected), (other, _, _) = run(KEY), run(jax.random.key(1))
    np.testing.assert_array_equal(evaluated, expected)
    assert (trained != evaluated).any()
    assert (trained != other).any()
    np.testing.assert_array_equal(trained, run(KEY)[0])


@pytest.mark.parametrize("attention", ["general", "additive"])
def test_sequences_of_no_step_and_the_carry_of_an_encoder(attention):
    decoder = decoder_of("lstm", attention)
    inputs, memory = random_inputs(attention)
    random = np.random.default_rng(0)
    state = tuple(random.normal(size=(2, BATCH, WIDTH)).astype(np.float32))
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


INPUTS, MEMORY = np.ones((4, 4, 2), np.float32), np.ones((4, 5, 4), np.float32)


def apply(*arguments, method=None, attention="general"):
    decoder = decoder_of("gru", attention)
    return lambda: decoder.apply(parameters(decoder), *arguments, method=method)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: AttentionDecoder(nn.Dense(3), LuongAttention()), TypeError, "cell: got Dense"),
        (
            lambda: AttentionDecoder(nn.ConvLSTMCell(3, (3, 3)), LuongAttention()),
            ValueError,
            "cell: got ConvLSTMCell",
        ),
        (
            lambda: AttentionDecoder(dl.GRUCell(3), nn.Dense(3)),
            TypeError,
            "attention: got Dense, expected an object of the class Attention",
        ),
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
        (apply(INPUTS.astype(int), MEMORY), TypeError, "inputs: got int64"),
        (apply(INPUTS, MEMORY.astype(int)), TypeError, "memory: got int64"),
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
            r"initial_carry: got \(4, 3\), expected \(\(4, 3\), \(4, 3\)\) for a GRUCell and the outputs; initialize",
        ),
        (apply(jnp.zeros((4, 3)), INPUTS[:, 0], MEMORY, method="step"), ValueError, r"^carry: got \(4, 3\)"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def step_over(model, variables, memory, lengths):
    return lambda carry, tokens: model.apply(variables, carry, tokens, memory, lengths, method="step")


def test_decoding_token_by_token_equals_teacher_forcing_on_the_same_tokens():
    model = Reverser(BahdanauAttention(5), width=6)
    sources, lengths, _, _ = reversals(KEY, 3)
    random = np.random.default_rng(0)
    shapes = jax.eval_shape(model.init, KEY, sources, lengths, jnp.zeros((3, LONGEST + 1), int))
    variables = jax.tree.map(lambda leaf: random.normal(size=leaf.shape).astype(np.float32), shapes)

    @jax.jit
    def run():
        carry, memory = model.apply(variables, sources, lengths, method="encode")
        step = step_over(model, variables, memory, lengths)
        generated = generate(step, carry, jnp.full(3, START), LONGEST + 1)
        logits = model.apply(variables, sources, lengths, generated.tokens)
        forced = jnp.take_along_axis(jax.nn.log_softmax(logits), generated.tokens[..., None], axis=-1)[..., 0]
        return generated.log_probabilities, forced

    generated, forced = run()
    for row, length in enumerate(np.asarray(lengths) + 1):  # the teacher's sequences end there
        np.testing.assert_allclose(generated[row, :length], forced[row, :length], rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("attention", [LuongAttention("general"), BahdanauAttention(32)])
def test_a_tiny_encoder_decoder_learns_to_reverse(attention):
    model = Reverser(attention)
    variables = jax.jit(functools.partial(trained, model))()
    sources, lengths, targets, held_out = (array[:1000] for array in reversals(jax.random.key(1), 1000))
    sources, lengths, targets = (array[held_out] for array in (sources, lengths, targets))

    @jax.jit
    def decode(sources, lengths):
        carry, memory = model.apply(variables, sources, lengths, method="encode")
        first = jnp.full(len(sources), START)
        greedy = generate(step_over(model, variables, memory, lengths), carry, first, LONGEST + 1, end=END)
        tiled = step_over(model, variables, jnp.repeat(memory, 3, axis=0), jnp.repeat(lengths, 3))
        return greedy, beam_search(tiled, carry, first, LONGEST + 1, beams=3, end=END)

    generated, found = decode(sources, lengths)
    valid = jnp.arange(LONGEST + 1) <= lengths[:, None]
    accuracy = ((generated.tokens == targets) & valid).sum() / valid.sum()
    assert accuracy > 0.95, accuracy
    assert (generated.lengths == lengths + 1).mean() > 0.95
    assert ((found.tokens[:, 0] == targets) & valid).sum() / valid.sum() > 0.95
    assert (found.scores[:, 0] >= generated.log_probabilities.sum(axis=1) - 1e-4).mean() > 0.95
