"""Recurrent layers: padding that does nothing, both directions, every batch rank, all of JAX's transformations."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import dlcore as dl

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
    "bidirectional": dl.Bidirectional(dl.LSTMCell(3), dl.GRUCell(3)),
    "deep": dl.DeepRecurrent(dl.GRUCell(3), layers=3, norm="layer", residual=True),
    "deep, bidirectional": dl.DeepRecurrent(dl.LSTMCell(3), layers=2, bidirectional=True, merge="sum"),
}

# What differs from another only in what a third one shows, too.
ALSO = [
    "residual, reverse",
    "rnn, reverse",
    "gru, after, reverse",
    "flax, reverse",
    "feedback, reverse",
    "unrolled",
]


def some_slow(names, slow):
    return [pytest.param(name, marks=pytest.mark.slow) if name in slow else name for name in names]


def call(layer, variables, *arguments):
    options = {"train": False} if isinstance(layer, dl.DeepRecurrent) else {}
    return layer.apply(variables, *arguments, **options)


def initialize(layer, inputs):
    options = {"train": False} if isinstance(layer, dl.DeepRecurrent) else {}
    return jax.jit(functools.partial(layer.init, **options))(KEY, inputs)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def random_carry(layer, shape):
    random = np.random.default_rng(7)
    carry = jax.eval_shape(lambda: layer.initialize_carry(shape))
    return jax.tree.map(lambda part: random.normal(size=part.shape).astype(part.dtype), carry)


def row_of(layer, carry, row):
    """One row of a carry; in a stack the rows are the second dimension."""
    rows = slice(row, row + 1)
    return jax.tree.map(
        lambda part: part[:, rows] if isinstance(layer, dl.DeepRecurrent) else part[rows], carry
    )


def outputs_and_gradients(layer):
    """outputs, carry and the gradients of a random functional of both, in variables, inputs and initial carry."""

    def loss(variables, inputs, initial, lengths):
        carry, outputs = call(layer, variables, inputs, lengths, initial)
        # The same weights for a row whether it is padded or trimmed.
        weights = np.cos(np.arange(np.prod(outputs.shape[1:])), dtype=np.float32)
        total = (outputs * weights.reshape(outputs.shape[1:])).sum()
        return total + sum(jnp.sin(part).sum() for part in jax.tree.leaves(carry)), (carry, outputs)

    gradients = jax.grad(loss, (0, 1, 2), has_aux=True)
    return lambda variables, inputs, lengths, initial: gradients(variables, inputs, initial, lengths)


def fetched(function, *arguments):
    """What a function gives, as one program, in NumPy."""
    return jax.device_get(jax.jit(function)(*arguments))


@pytest.mark.parametrize("name", some_slow(LAYERS, ALSO))
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
        (own_variables, own_inputs, own_initial), (own_carry, own_outputs) = alone[row]
        close(outputs[row : row + 1, :length], own_outputs)
        close(of_inputs[row : row + 1, :length], own_inputs)
        jax.tree.map(close, row_of(layer, carry, row), own_carry)
        jax.tree.map(close, row_of(layer, of_initial, row), own_initial)
        total = jax.tree.map(np.add, total, own_variables)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5), of_variables, total)


@pytest.mark.parametrize("name", ["lstm", "gru, reverse", "flax", "bidirectional", "chunks"])
def test_any_number_of_batch_dimensions(name):
    layer = LAYERS[name]
    inputs = normal(4, 5, 2)
    batches = (), (2, 2), (2, 1, 2)

    def shaped(variables, inputs, batch):
        rows = int(np.prod(batch))
        lengths = LENGTHS[:rows].reshape(batch)  # known while it is traced
        return call(layer, variables, inputs[:rows].reshape(*batch, 5, 2), lengths)

    def run(variables, inputs):
        return shaped(variables, inputs, (4,)), [shaped(variables, inputs, batch) for batch in batches]

    (carry, outputs), results = fetched(run, initialize(layer, inputs), inputs)
    for batch, (own_carry, own_outputs) in zip(batches, results, strict=True):
        rows = int(np.prod(batch))
        assert own_outputs.shape == (*batch, *outputs.shape[1:])
        flat = own_outputs.reshape(-1, *outputs.shape[1:])
        np.testing.assert_allclose(flat, outputs[:rows], rtol=1e-6, atol=1e-6)
        for part, whole in zip(jax.tree.leaves(own_carry), jax.tree.leaves(carry), strict=True):
            assert part.shape == (*batch, *whole.shape[1:])
            flat = part.reshape(-1, *whole.shape[1:])
            np.testing.assert_allclose(flat, whole[:rows], rtol=1e-6, atol=1e-6)


def test_under_jit_lengths_out_of_bounds_count_as_0_or_all():
    layer, inputs = LAYERS["gru"], normal(2, 5, 2)
    variables = initialize(layer, inputs)
    jitted = jax.jit(lambda lengths: layer.apply(variables, inputs, lengths))
    jax.tree.map(np.testing.assert_array_equal, jitted(jnp.array([-2, 9])), jitted(jnp.array([0, 5])))


@pytest.mark.parametrize("steps", [0, 1])
def test_sequences_of_no_and_of_one_step(steps):
    for name in ("lstm", "gru, reverse", "chunks", "bidirectional", "deep"):
        layer = LAYERS[name]
        inputs = np.ones((2, steps, 2), np.float32)
        initial = random_carry(layer, inputs.shape)
        run = lambda initial, layer=layer, inputs=inputs: call(
            layer, initialize(layer, inputs), inputs, None, initial
        )
        carry, outputs = fetched(run, initial)
        assert outputs.shape[:2] == (2, steps)
        if not steps:
            jax.tree.map(np.testing.assert_array_equal, carry, initial)


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

    def run(inputs):
        variables = initialize(apart, inputs)
        merged = {merge: layer.apply(variables, inputs)[1] for merge, layer in layers.items()}
        return apart.apply(variables, inputs)[1], merged

    outputs, merged = fetched(run, inputs)
    for merge, combine in MERGES.items():
        expected = combine(outputs[..., :3], outputs[..., 3:])
        np.testing.assert_allclose(merged[merge], expected, rtol=1e-6)


@pytest.mark.parametrize(
    "name",
    some_slow(
        ["rnn", "lstm", "gru", "gru, after", "flax", "chunks", "lstm, reverse"],
        ["flax", "rnn", "lstm, reverse"],
    ),
)
def test_forward_mode_linearize_and_second_derivatives_agree_with_each_other(name):
    layer = LAYERS[name]
    with jax.enable_x64(True):
        inputs = normal(4, 5, 2).astype(float)
        variables = jax.tree.map(lambda leaf: np.asarray(leaf, float), initialize(layer, inputs))
        direction = jax.tree.map(np.cos, variables)

        @jax.jit
        def loss(variables):
            return (layer.apply(variables, inputs, LENGTHS)[1] ** 2).sum()

        @jax.jit
        def derivatives(variables):
            _, forward = jax.jvp(loss, [variables], [direction])
            _, linear = jax.linearize(loss, variables)
            along = lambda tree: sum(
                (one * other).sum()
                for one, other in zip(*map(jax.tree.leaves, (tree, direction)), strict=True)
            )
            forward_over_reverse = along(jax.jvp(jax.grad(loss), [variables], [direction])[1])
            reverse_over_reverse = along(jax.grad(lambda v: along(jax.grad(loss)(v)))(variables))
            return (
                (forward, linear(direction), along(jax.grad(loss)(variables))),
                (forward_over_reverse, reverse_over_reverse),
            )

        (first, second), step = derivatives(variables), 1e-4
        moved = [
            loss(jax.tree.map(lambda leaf, by, scale=scale: leaf + scale * by, variables, direction))
            for scale in (-step, 0.0, step)
        ]
        np.testing.assert_allclose(first, (moved[2] - moved[0]) / (2 * step), rtol=1e-6)
        np.testing.assert_allclose(second, (moved[2] - 2 * moved[1] + moved[0]) / step**2, rtol=1e-4)


def test_vmap_remat_and_shard_map_change_nothing():
    layer, inputs = LAYERS["lstm"], normal(4, 5, 2)
    variables = initialize(layer, inputs)

    def loss(variables, inputs, lengths):
        return (layer.apply(variables, inputs, lengths)[1] ** 2).sum()

    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    expected = jax.jit(jax.grad(loss))(variables, inputs, LENGTHS)
    by_row = jax.jit(jax.vmap(jax.grad(loss), (None, 0, 0)))(variables, inputs, LENGTHS)
    jax.tree.map(close, jax.tree.map(lambda leaf: leaf.sum(axis=0), by_row), expected)
    jax.tree.map(close, jax.jit(jax.grad(jax.checkpoint(loss)))(variables, inputs, LENGTHS), expected)
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec
    sharded = jax.shard_map(
        lambda *arguments: jax.lax.psum(loss(*arguments), "data"),
        mesh=mesh,
        in_specs=(spec(), spec("data"), spec("data")),
        out_specs=spec(),
    )
    jax.tree.map(close, jax.jit(jax.grad(sharded))(variables, inputs, LENGTHS), expected)


@functools.cache
def whole_sequence(cell, reverse):
    """Variables, inputs, lengths, initial carry, and what a layer makes of them in one piece."""
    layer, inputs = dl.Recurrent(CELLS[cell], reverse), normal(4, 5, 2)
    arguments = initialize(layer, inputs), inputs, LENGTHS, random_carry(layer, inputs.shape)
    return arguments, fetched(outputs_and_gradients(layer), *arguments)


@pytest.mark.parametrize("time_chunk", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("reverse", [False, True])
def test_rematerialized_chunks_change_no_number(time_chunk, reverse):
    arguments, expected = whole_sequence("lstm", reverse)
    chunks = dl.Recurrent(CELLS["lstm"], reverse, time_chunk)
    actual = fetched(outputs_and_gradients(chunks), *arguments)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5), actual, expected)


def test_chunks_need_less_memory():
    def temporary_bytes(time_chunk):
        layer = dl.Recurrent(dl.LSTMCell(32), time_chunk=time_chunk)
        inputs = jax.ShapeDtypeStruct((4, 256, 8), jnp.float32)
        variables = jax.eval_shape(layer.init, KEY, inputs)
        gradient = jax.jit(jax.grad(lambda v, x: layer.apply(v, x)[0][1].sum()))
        return gradient.lower(variables, inputs).compile().memory_analysis().temp_size_in_bytes

    assert temporary_bytes(16) < temporary_bytes(None) / 4


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("truncate", [2, 3, 5, 7])
def test_truncated_gradients_equal_a_loop_that_stops_them(truncate, reverse):
    (variables, inputs, _, initial), expected = whole_sequence("gru", reverse)
    whole, layer = (dl.Recurrent(CELLS["gru"], reverse, truncate=steps) for steps in (None, truncate))
    result = fetched(outputs_and_gradients(layer), variables, inputs, LENGTHS, initial)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    if truncate >= 5:
        jax.tree.map(close, result, expected)
        return

    def loss(variables, inputs, initial):
        carry, pieces, starts = initial, {}, range(0, 5, truncate)
        for number, start in enumerate(reversed(starts) if reverse else starts):
            carry = jax.lax.stop_gradient(carry) if number else carry
            lengths = np.clip(LENGTHS - start, 0, min(truncate, 5 - start))
            carry, pieces[start] = whole.apply(variables, inputs[:, start : start + truncate], lengths, carry)
        outputs = jnp.concatenate([pieces[start] for start in starts], axis=1)
        weights = jnp.cos(jnp.arange(15.0)).reshape(5, 3)
        return (outputs * weights).sum() + jnp.sin(carry).sum(), (carry, outputs)

    expected = fetched(jax.grad(loss, (0, 1, 2), has_aux=True), variables, inputs, initial)
    jax.tree.map(close, result, expected)


def test_inputs_that_are_data_cost_no_product_for_their_gradient():
    layer, inputs = dl.Recurrent(dl.LSTMCell(8)), np.ones((2, 5, 4), np.float32)
    variables = initialize(layer, inputs)
    loss = lambda variables, inputs: layer.apply(variables, inputs)[1].sum()
    flops = [
        jax.jit(jax.grad(loss, wanted)).lower(variables, inputs).compile().as_text().count(" dot(")
        for wanted in (0, (0, 1))
    ]
    assert flops[0] < flops[1]


def test_pooling_over_time_counts_valid_steps_only():
    outputs = normal(4, 5, 2)
    spoilt = np.where((np.arange(5) < LENGTHS[:, None])[..., None], outputs, np.float32(np.nan))
    for pool, reference in (
        (dl.last_over_time, lambda x: x[-1]),
        (dl.mean_over_time, np.mean),
        (dl.max_over_time, np.max),
    ):

        def run(spoilt, outputs, pool=pool):
            loss = lambda x: (pool(x, LENGTHS) ** 2).sum()
            return (
                pool(spoilt, LENGTHS),
                jax.grad(loss)(spoilt),
                pool(outputs),
                pool(outputs, np.full(4, 5, np.int32)),
            )

        pooled, gradient, unpadded, full = fetched(run, spoilt, outputs)
        np.testing.assert_array_equal(pooled[1], [0, 0])
        for row, length in enumerate(LENGTHS.tolist()):
            if length:
                own = outputs[row, :length]
                expected = reference(own) if pool is dl.last_over_time else reference(own, axis=0)
                np.testing.assert_allclose(pooled[row], expected, rtol=1e-6)
        assert np.isfinite(gradient).all()
        assert not gradient[np.arange(5) >= LENGTHS[:, None]].any()
        np.testing.assert_allclose(unpadded, full, rtol=1e-6)


def test_time_distributed_applies_a_module_to_every_valid_step():
    inputs = normal(4, 5, 6, 6, 1)
    layer = dl.TimeDistributed(dl.Conv(2, 3))
    maps, variables = fetched(lambda inputs: layer.init_with_output(KEY, inputs, LENGTHS), inputs)
    alone = dl.Conv(2, 3).apply({"params": variables["params"]["module"]}, inputs[3, :3])
    np.testing.assert_allclose(maps[3, :3], alone, rtol=1e-5, atol=1e-6)
    assert not maps[3, 3:].any()


@pytest.mark.parametrize("name", ["lstm", "gru, reverse", "flax", "bidirectional", "two layers"])
def test_the_hidden_state_of_a_carry_is_the_output_of_each_directions_last_step(name):
    layer = {**LAYERS, "two layers": dl.DeepRecurrent(dl.LSTMCell(3), layers=2)}[name]
    lengths = np.array([5, 4, 1, 3], np.int32)

    def run(inputs):
        carry, outputs = call(layer, initialize(layer, inputs), inputs, lengths)
        return layer.hidden(carry), outputs

    hidden, outputs = fetched(run, normal(4, 5, 2))
    last, first = outputs[np.arange(4), lengths - 1], outputs[:, 0]
    expected = {"gru, reverse": first, "bidirectional": np.concatenate([last[:, :3], first[:, 3:]], axis=1)}
    np.testing.assert_allclose(hidden, expected.get(name, last), rtol=1e-6, atol=1e-6)
