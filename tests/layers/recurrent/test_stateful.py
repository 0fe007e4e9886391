"""Streams: the state continues from batch to batch, resets start rows anew, and gradients end between batches."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlcore as dl
from tests.helpers.cells import some_slow

KEY = jax.random.key(0)
STREAM = np.random.default_rng(1).normal(size=(3, 12, 2)).astype(np.float32)
LAYERS = {
    "gru": dl.Recurrent(dl.GRUCell(4)),
    "lstm": dl.Recurrent(dl.LSTMCell(4)),
    "deep": dl.DeepRecurrent(dl.LSTMCell(4), layers=2),
}


def random_params(stateful):
    """Normally distributed parameters, which need no compilation."""
    random = np.random.default_rng(0)
    shapes = jax.eval_shape(stateful.init, KEY, STREAM)["params"]
    return jax.tree.map(lambda leaf: random.normal(scale=0.5, size=leaf.shape).astype(leaf.dtype), shapes)


@pytest.mark.parametrize("name", some_slow(LAYERS, ["gru"]))
def test_a_stream_in_pieces_with_resets_and_ragged_ends_equals_its_parts(name):
    """Row 0 never ends. Row 1 starts anew at step 4. Row 2 has 2 valid steps of the first 4, and then continues."""
    layer = LAYERS[name]
    stateful = dl.Stateful(layer)
    shapes = jax.eval_shape(stateful.init, KEY, STREAM[:, :4])["carry"]
    # The first step resets every row: what the carry holds before does not count.
    before = jax.tree.map(lambda leaf: np.full(leaf.shape, 7, leaf.dtype), shapes)
    variables = {"params": random_params(stateful), "carry": before}
    step = jax.jit(
        lambda state, inputs, lengths, resets: stateful.apply(
            {**variables, **state}, inputs, lengths, resets, mutable=["carry"]
        )
    )
    state, outputs = {"carry": variables["carry"]}, []
    for start, lengths, resets in (
        (0, [4, 4, 2], [True] * 3),
        (4, [4, 4, 4], [False, True, False]),
        (8, [4, 4, 4], [False] * 3),
    ):
        (_, output), state = step(state, STREAM[:, start : start + 4], jnp.array(lengths), jnp.array(resets))
        outputs.append(output)
    outputs = np.concatenate(outputs, axis=1)
    assert not outputs[2, 2:4].any()
    # All parts as rows of one batch: padded at the end, where nothing comes back.
    joined = np.concatenate([STREAM[2, :2], STREAM[2, 4:]])
    parts = [np.asarray(STREAM[0]), np.asarray(STREAM[1, :4]), np.asarray(STREAM[1, 4:]), joined]
    lengths = np.array([len(part) for part in parts])
    rows = np.stack([np.pad(part, ((0, 12 - len(part)), (0, 0))) for part in parts])
    _, expected = jax.jit(layer.apply)({"params": variables["params"]["layer"]}, rows, lengths)
    found = [outputs[0], outputs[1, :4], outputs[1, 4:], np.concatenate([outputs[2, :2], outputs[2, 4:]])]
    for one, row, length in zip(found, expected, lengths, strict=True):
        np.testing.assert_allclose(one, row[:length], rtol=1e-5, atol=1e-6)


def test_gradients_end_where_a_batch_begins():
    layer = LAYERS["gru"]
    stateful = dl.Stateful(layer)

    def loss(params, state):
        (_, outputs), _ = stateful.apply({"params": params, **state}, STREAM[:, 6:], mutable=["carry"])
        return (outputs**2).sum()

    def plain_loss(params, state):
        return (layer.apply({"params": params}, STREAM[:, 6:], None, state["carry"]["state"])[1] ** 2).sum()

    @jax.jit
    def run(params):
        _, state = stateful.apply({"params": params}, STREAM[:, :6], mutable=["carry"])
        return jax.grad(loss, (0, 1))(params, state), jax.grad(plain_loss)(params["layer"], state)

    (of_params, of_state), expected = run(random_params(stateful))
    assert not np.asarray(jax.tree.leaves(of_state)[0]).any()
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), of_params["layer"], expected
    )


def test_an_evaluation_starts_from_the_initial_carry_whatever_the_number_of_rows():
    layer = LAYERS["gru"]
    stateful = dl.Stateful(layer)

    @jax.jit
    def run(params):
        _, state = stateful.apply({"params": params}, STREAM[:, :6], mutable=["carry"])
        _, outputs = stateful.apply({"params": params, **state}, STREAM[:2, 6:])
        return outputs, layer.apply({"params": params["layer"]}, STREAM[:2, 6:])[1]

    np.testing.assert_allclose(*run(random_params(stateful)), rtol=1e-6)


@pytest.mark.parametrize(
    ("resets", "error", "message"),
    [
        (jnp.array([1, 0, 0]), TypeError, "resets: got int32, expected booleans"),
        (jnp.array([True]), ValueError, r"resets: got shape \(1,\), expected one for each row, \(3,\)"),
    ],
)
def test_resets_that_do_not_fit_are_refused(resets, error, message):
    with pytest.raises(error, match=message):
        dl.Stateful(LAYERS["gru"]).init(KEY, STREAM, None, resets)


@pytest.mark.parametrize(
    "layer",
    [
        dl.Recurrent(dl.GRUCell(2), reverse=True),
        dl.DeepRecurrent(dl.GRUCell(2), layers=2, bidirectional=True),
        dl.Bidirectional(dl.GRUCell(2), dl.GRUCell(2)),
    ],
)
def test_layers_that_need_the_end_of_the_stream_are_refused(layer):
    with pytest.raises((ValueError, TypeError), match=r"layer: got .* expected a Recurrent or DeepRecurrent"):
        dl.Stateful(layer)


def test_a_batch_of_another_number_of_rows_is_refused_with_the_settings_that_change_it():
    stateful = dl.Stateful(LAYERS["lstm"])
    variables = jax.eval_shape(stateful.init, KEY, STREAM)
    run = lambda variables: stateful.apply(variables, STREAM[:1], mutable=["carry"])
    with pytest.raises(
        ValueError, match=r"inputs: got shape \(1, 12, 2\).* batch_size must not change"
    ) as caught:
        jax.eval_shape(run, variables)
    assert "micro_batches must be 1" in str(caught.value)
    assert "expected the rows of the previous batch, whose state is ((3, 4), (3, 4))" in str(caught.value)


def test_a_stream_continues_after_the_last_step_that_its_mask_takes():
    layer, mask = LAYERS["gru"], np.array([[True, False, True]] * 3)
    stateful = dl.Stateful(layer)
    params = random_params(stateful)

    @jax.jit
    def run(stream):
        state = {"carry": {"state": layer.initialize_carry(stream.shape)}}
        apply = lambda inputs, state, **options: stateful.apply(
            {"params": params, **state}, inputs, mutable=["carry"], **options
        )
        _, state = apply(stream[:, :3], state, mask=mask)
        (_, outputs), _ = apply(stream[:, 3:], state)
        kept = jnp.concatenate([stream[:, :3:2], stream[:, 3:]], axis=1)
        return outputs, layer.apply({"params": params["layer"]}, kept)[1][:, 2:]

    np.testing.assert_allclose(*run(STREAM[:, :5]), rtol=1e-5, atol=1e-6)
