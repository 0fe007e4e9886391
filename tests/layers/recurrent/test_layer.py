"""Recurrent layers: padding that does nothing, both directions, chunks and truncation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import dlcore as dl
from tests.helpers.cells import some_slow

KEY = jax.random.key(0)
LENGTHS = np.array([5, 0, 1, 3], np.int32)
CELLS = {
    "rnn": dl.RNNCell(3),
    "residual": dl.ResidualRNNCell(3, feedback=True),
    "lstm": dl.LSTMCell(3),
    "gru": dl.GRUCell(3),
    "gru, after": dl.GRUCell(3, reset="after"),
    "flax": nn.OptimizedLSTMCell(3),
    "feedback": dl.FeedbackCell([dl.GRUCell(3), dl.RNNCell(3)]),
}
LAYERS = {
    **{name: dl.Recurrent(cell) for name, cell in CELLS.items()},
    **{f"{name}, reverse": dl.Recurrent(cell, reverse=True) for name, cell in CELLS.items()},
    "chunks": dl.Recurrent(dl.LSTMCell(3), time_chunk=2),
    "chunks, reverse": dl.Recurrent(dl.GRUCell(3), time_chunk=2, reverse=True),
    "unrolled": dl.Recurrent(dl.LSTMCell(3), unroll=3),
    "truncated": dl.Recurrent(dl.LSTMCell(3), truncate=2),
    "truncated, reverse": dl.Recurrent(dl.GRUCell(3), truncate=2, time_chunk=1, reverse=True),
    "bidirectional": dl.Bidirectional(dl.LSTMCell(3), dl.GRUCell(3)),
    "deep": dl.DeepRecurrent(dl.GRUCell(3), layers=3, norm="layer", residual=True),
    "deep, bidirectional": dl.DeepRecurrent(dl.LSTMCell(3), layers=2, bidirectional=True, merge="sum"),
}


def initialize(layer, inputs):
    """Normally distributed variables, which need no compilation."""
    random = np.random.default_rng(3)
    shapes = jax.eval_shape(layer.init, KEY, inputs)
    return jax.tree.map(lambda leaf: random.normal(scale=0.5, size=leaf.shape).astype(leaf.dtype), shapes)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def random_carry(layer, shape):
    random = np.random.default_rng(7)
    carry = jax.eval_shape(lambda: layer.initialize_carry(shape))
    return jax.tree.map(lambda part: random.normal(size=part.shape).astype(part.dtype), carry)


def row_of(layer, carry, row):
    """One row of a carry; the rows of a stack are the second dimension."""
    rows = slice(row, row + 1)
    return jax.tree.map(
        lambda part: part[:, rows] if isinstance(layer, dl.DeepRecurrent) else part[rows], carry
    )


def outputs_and_gradients(layer):
    """outputs, carry and the gradients of a random functional of both, in variables, inputs and initial carry."""

    def loss(variables, inputs, initial, lengths):
        carry, outputs = layer.apply(variables, inputs, lengths, initial)
        # The same weights for a row whether it is padded or trimmed.
        weights = np.cos(np.arange(np.prod(outputs.shape[1:])), dtype=np.float32)
        total = (outputs * weights.reshape(outputs.shape[1:])).sum()
        return total + sum(jnp.sin(part).sum() for part in jax.tree.leaves(carry)), (carry, outputs)

    gradients = jax.grad(loss, (0, 1, 2), has_aux=True)
    return lambda variables, inputs, lengths, initial: gradients(variables, inputs, initial, lengths)


def fetched(function, *arguments):
    """The results of a function, compiled as one program, in NumPy."""
    return jax.device_get(jax.jit(function)(*arguments))


@pytest.mark.parametrize("name", some_slow(LAYERS, ["lstm, reverse", "truncated", "truncated, reverse"]))
def test_a_padded_row_equals_the_trimmed_row_and_padding_does_nothing(name):
    layer = LAYERS[name]
    inputs = normal(4, 5, 2, seed=1)
    variables, initial = initialize(layer, inputs), random_carry(layer, inputs.shape)
    function = outputs_and_gradients(layer)
    mask = (np.arange(5) < LENGTHS[:, None])[..., None]
    padded = jax.jit(function)
    rubbish = np.array([np.nan, np.inf], np.float32)
    result, spoilt = jax.device_get(
        [padded(variables, np.where(mask, inputs, padding), LENGTHS, initial) for padding in (0, rubbish)]
    )
    jax.tree.map(np.testing.assert_array_equal, spoilt, result)
    (of_variables, of_inputs, of_initial), (carry, outputs) = result

    def rows_alone(variables, inputs, initial):
        return {
            row: function(variables, inputs[row : row + 1, :length], None, row_of(layer, initial, row))
            for row, length in enumerate(LENGTHS.tolist())
            if length
        }

    alone = fetched(rows_alone, variables, inputs, initial)
    total = jax.tree.map(np.zeros_like, of_variables)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-6)
    for row, length in enumerate(LENGTHS.tolist()):
        assert not outputs[row, length:].any()
        assert not of_inputs[row, length:].any()
        if not length:
            before = row_of(layer, initial, row)
            jax.tree.map(np.testing.assert_array_equal, row_of(layer, carry, row), before)
            continue
        (row_variables, row_inputs, row_initial), (row_carry, row_outputs) = alone[row]
        close(outputs[row : row + 1, :length], row_outputs)
        close(of_inputs[row : row + 1, :length], row_inputs)
        jax.tree.map(close, row_of(layer, carry, row), row_carry)
        jax.tree.map(close, row_of(layer, of_initial, row), row_initial)
        total = jax.tree.map(np.add, total, row_variables)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5), of_variables, total)


def test_reverse_is_the_forward_layer_on_the_flipped_row():
    inputs = normal(1, 5, 2)
    forward, backward = dl.Recurrent(dl.LSTMCell(3)), dl.Recurrent(dl.LSTMCell(3), reverse=True)
    variables = initialize(forward, inputs)
    run = lambda variables, inputs: (
        forward.apply(variables, inputs[:, ::-1]),
        backward.apply(variables, inputs),
    )
    (carry, outputs), (flipped_carry, flipped) = fetched(run, variables, inputs)
    np.testing.assert_allclose(flipped, outputs[:, ::-1], rtol=1e-6)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), carry, flipped_carry)


MERGES = {"sum": np.add, "mean": lambda a, b: (a + b) / 2, "product": np.multiply}


def test_both_directions_are_merged_as_told():
    inputs = normal(2, 5, 2)
    layers = {merge: dl.Bidirectional(dl.GRUCell(3), dl.GRUCell(3), merge) for merge in MERGES}
    apart = dl.Bidirectional(dl.GRUCell(3), dl.GRUCell(3))

    variables = initialize(apart, inputs)

    def run(inputs):
        merged = {merge: layer.apply(variables, inputs)[1] for merge, layer in layers.items()}
        return apart.apply(variables, inputs)[1], merged

    outputs, merged = fetched(run, inputs)
    for merge, combine in MERGES.items():
        expected = combine(outputs[..., :3], outputs[..., 3:])
        np.testing.assert_allclose(merged[merge], expected, rtol=1e-6)


def arguments_of(cell):
    """Variables, inputs, lengths and initial carry of a layer."""
    layer, inputs = dl.Recurrent(CELLS[cell]), normal(4, 5, 2)
    return initialize(layer, inputs), inputs, LENGTHS, random_carry(layer, inputs.shape)


@functools.cache
def whole_sequence(cell, reverse):
    """The results of a layer without chunks."""
    return fetched(outputs_and_gradients(dl.Recurrent(CELLS[cell], reverse)), *arguments_of(cell))


@pytest.mark.slow
@pytest.mark.parametrize("time_chunk", some_slow([1, 2, 3, 5, 9], [2]))
@pytest.mark.parametrize("reverse", some_slow([False, True], [True]))
def test_rematerialized_chunks_change_no_number(time_chunk, reverse):
    expected = whole_sequence("lstm", reverse)
    chunks = dl.Recurrent(CELLS["lstm"], reverse, time_chunk)
    actual = fetched(outputs_and_gradients(chunks), *arguments_of("lstm"))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5), actual, expected)


@pytest.mark.slow
def test_chunks_need_less_memory():
    def temporary_bytes(time_chunk):
        layer = dl.Recurrent(dl.LSTMCell(32), time_chunk=time_chunk)
        inputs = jax.ShapeDtypeStruct((4, 256, 8), jnp.float32)
        variables = jax.eval_shape(layer.init, KEY, inputs)
        gradient = jax.jit(jax.grad(lambda v, x: layer.apply(v, x)[0][1].sum()))
        return gradient.lower(variables, inputs).compile().memory_analysis().temp_size_in_bytes

    assert temporary_bytes(16) < temporary_bytes(None) / 4


@pytest.mark.slow
@pytest.mark.parametrize(("wanted", "mebibytes"), [(0, 12), ((0, 1), 42)], ids=["parameters", "and inputs"])
def test_the_gradient_of_a_long_lstm_in_chunks_needs_little_memory(wanted, mebibytes):
    """B=32, T=1024, I=H=256, where a copy of the inputs would have 32 MiB, and all states have more than 128."""
    layer = dl.Recurrent(dl.LSTMCell(256), time_chunk=16)
    inputs = jax.ShapeDtypeStruct((32, 1024, 256), jnp.float32)
    variables = jax.eval_shape(layer.init, KEY, inputs)
    gradient = jax.jit(jax.grad(lambda v, x: (layer.apply(v, x)[0][1] ** 2).sum(), wanted))
    memory = gradient.lower(variables, inputs).compile().memory_analysis()
    assert memory.temp_size_in_bytes <= (mebibytes + 0.9) * 2**20


@pytest.mark.slow
@pytest.mark.parametrize("reverse", some_slow([False, True], [False]))
@pytest.mark.parametrize("truncate", some_slow([2, 3, 5, 7], [3]))
def test_truncated_gradients_equal_a_loop_that_stops_them(truncate, reverse):
    variables, inputs, _, initial = arguments_of("gru")
    whole, layer = (dl.Recurrent(CELLS["gru"], reverse, truncate=steps) for steps in (None, truncate))
    result = fetched(outputs_and_gradients(layer), variables, inputs, LENGTHS, initial)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    if truncate >= 5:
        jax.tree.map(close, result, whole_sequence("gru", reverse))
        return

    def loss(variables, inputs, initial):
        carry, pieces, starts = initial, {}, range(0, 5, truncate)
        for start in reversed(starts) if reverse else starts:
            cut = start + truncate < LENGTHS if reverse else (start > 0) & (start < LENGTHS)
            carry = jnp.where(cut[:, None], jax.lax.stop_gradient(carry), carry)
            lengths = np.clip(LENGTHS - start, 0, min(truncate, 5 - start))
            carry, pieces[start] = whole.apply(variables, inputs[:, start : start + truncate], lengths, carry)
        outputs = jnp.concatenate([pieces[start] for start in starts], axis=1)
        weights = jnp.cos(jnp.arange(15.0)).reshape(5, 3)
        return (outputs * weights).sum() + jnp.sin(carry).sum(), (carry, outputs)

    expected = fetched(jax.grad(loss, (0, 1, 2), has_aux=True), variables, inputs, initial)
    jax.tree.map(close, result, expected)


@pytest.mark.slow
def test_inputs_that_are_data_cost_no_product_for_their_gradient():
    layer, inputs = dl.Recurrent(dl.LSTMCell(8)), np.ones((2, 5, 4), np.float32)
    variables = initialize(layer, inputs)
    loss = lambda variables, inputs: layer.apply(variables, inputs)[1].sum()
    flops = [
        jax.jit(jax.grad(loss, wanted)).lower(variables, inputs).compile().as_text().count(" dot(")
        for wanted in (0, (0, 1))
    ]
    assert flops[0] < flops[1]


@pytest.mark.parametrize(
    "name",
    some_slow(["lstm", "gru, reverse", "flax", "bidirectional", "two layers"], ["bidirectional"]),
)
def test_the_hidden_state_of_a_carry_is_the_output_of_each_directions_last_step(name):
    layer = {**LAYERS, "two layers": dl.DeepRecurrent(dl.LSTMCell(3), layers=2)}[name]
    inputs, lengths = normal(4, 5, 2), np.array([5, 4, 1, 3], np.int32)

    def run(variables, inputs):
        carry, outputs = layer.apply(variables, inputs, lengths)
        return layer.hidden(carry), outputs

    hidden, outputs = fetched(run, initialize(layer, inputs), inputs)
    last, first = outputs[np.arange(4), lengths - 1], outputs[:, 0]
    expected = {"gru, reverse": first, "bidirectional": np.concatenate([last[:, :3], first[:, 3:]], axis=1)}
    np.testing.assert_allclose(hidden, expected.get(name, last), rtol=1e-6, atol=1e-6)


def test_a_step_and_noise_of_a_layer():
    layer, inputs = dl.Recurrent(dl.GRUCell(3, recurrent_dropout=0.5)), normal(2, 1, 2)
    both = dl.Bidirectional(dl.GRUCell(3, recurrent_dropout=0.5), dl.GRUCell(3, input_dropout=0.5))

    variables, of_both = initialize(layer, inputs), initialize(both, inputs)

    @jax.jit
    def run(key):
        carry = jnp.ones((2, 3))
        options = {"train": True, "rngs": {"dropout": key}}
        stepped = layer.apply(variables, carry, inputs[:, 0], method="step")
        drawn = layer.apply(variables, carry, inputs[:, 0], method="step", **options)
        directions = both.apply(of_both, inputs, None, (carry, carry), **options)
        return stepped, layer.apply(variables, inputs, None, carry), drawn, directions

    (_, stepped), (_, outputs), (_, drawn), (_, directions) = run(jax.random.key(1))
    np.testing.assert_allclose(stepped, outputs[:, 0], rtol=1e-6)
    assert (np.asarray(drawn) != np.asarray(stepped)).any()
    _, _, _, (_, others) = run(jax.random.key(3))
    for half in np.split(np.asarray(directions != others), 2, axis=-1):
        assert half.any()


GRU = dl.GRUCell(4)
REFUSED = {
    "merge: got 'sum' for outputs of shapes (3, 5, 4) and (3, 5, 3)": (
        dl.Bidirectional(GRU, dl.GRUCell(3), "sum"),
        None,
    ),
    "initial_carry: got (3, 4), expected a pair": (dl.Bidirectional(GRU, GRU.clone()), jnp.zeros((3, 4))),
    "backward: got a ConvGRUCell with 2 feature axes, expected 1 as the GRUCell has": (
        dl.Bidirectional(GRU, dl.ConvGRUCell(4, (3,))),
        None,
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_a_bidirectional_layer_names_carries_and_cells_that_do_not_fit(message):
    layer, carry = REFUSED[message]
    with pytest.raises(ValueError, match="expected") as caught:
        jax.eval_shape(layer.init, KEY, jnp.ones((3, 5, 2)), None, carry)
    assert message in str(caught.value)


SETTINGS = {
    "merge: got 'bogus', expected \"concat\"": lambda: dl.Bidirectional(GRU, GRU.clone(), "bogus"),
    "reverse: got 'no', expected True or False": lambda: dl.Recurrent(GRU, reverse="no"),
    "time_chunk: got '3', expected an integer >= 1": lambda: dl.Recurrent(GRU, time_chunk="3"),
    "time_chunk: got 0, expected an integer >= 1": lambda: dl.Recurrent(GRU, time_chunk=0),
    "time_chunk: got 2.5, expected an integer >= 1": lambda: dl.Recurrent(GRU, time_chunk=2.5),
    "truncate: got -3, expected an integer >= 1": lambda: dl.Recurrent(GRU, truncate=-3),
    "unroll: got 0, expected an integer >= 1": lambda: dl.Recurrent(GRU, unroll=0),
    "cell: got Dense, expected a cell such as dl.GRUCell": lambda: dl.Recurrent(nn.Dense(3)),
    "cell: got Recurrent, expected a cell such as dl.GRUCell(features=64)": lambda: dl.Recurrent(
        dl.Recurrent(GRU)
    ),
    "backward: got 4, expected a cell": lambda: dl.Bidirectional(GRU, 4),
}


@pytest.mark.parametrize("message", SETTINGS)
def test_settings_that_do_not_fit_are_refused_before_the_call(message):
    with pytest.raises((ValueError, TypeError)) as caught:
        SETTINGS[message]()
    assert message in str(caught.value)
