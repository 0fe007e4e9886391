"""Streams: the state goes on from batch to batch, rows begin anew where told, and gradients end between."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlcore as dl

KEY = jax.random.key(0)
STREAM = jax.random.normal(KEY, (3, 12, 2))
LAYERS = {
    "gru": dl.Recurrent(dl.GRUCell(4)),
    "lstm": dl.Recurrent(dl.LSTMCell(4)),
    "deep": dl.DeepRecurrent(dl.LSTMCell(4), layers=2),
}


def plain(layer, *arguments):
    options = {"train": False} if isinstance(layer, dl.DeepRecurrent) else {}
    return layer.apply(*arguments, **options)


@pytest.mark.parametrize("name", LAYERS)
def test_a_stream_in_pieces_with_resets_and_ragged_ends_equals_its_parts(name):
    """Row 0 never ends; row 1 begins anew at step 4; row 2 gave 2 of the first 4 steps, and goes on after those."""
    layer = LAYERS[name]
    stateful = dl.Stateful(layer)
    variables = stateful.init(KEY, STREAM[:, :4])
    step = jax.jit(
        lambda state, inputs, lengths, resets: stateful.apply(
            {**variables, **state}, inputs, lengths, resets, mutable=["carry"]
        )
    )
    state, outputs = {"carry": variables["carry"]}, []
    for piece, lengths, resets in (
        (0, [4, 4, 2], [True] * 3),
        (4, [4, 4, 4], [False, True, False]),
        (8, [4, 4, 4], [False] * 3),
    ):
        (_, output), state = step(state, STREAM[:, piece : piece + 4], jnp.array(lengths), jnp.array(resets))
        outputs.append(output)
    outputs = np.concatenate(outputs, axis=1)
    inner = {"params": variables["params"]["layer"]}
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    close(outputs[:1], plain(layer, inner, STREAM[:1])[1])
    close(outputs[1:2, :4], plain(layer, inner, STREAM[1:2, :4])[1])
    close(outputs[1:2, 4:], plain(layer, inner, STREAM[1:2, 4:])[1])
    joined = jnp.concatenate([STREAM[2:, :2], STREAM[2:, 4:]], axis=1)
    close(np.concatenate([outputs[2:, :2], outputs[2:, 4:]], axis=1), plain(layer, inner, joined)[1])
    assert not outputs[2, 2:4].any()


def test_gradients_end_where_a_batch_begins():
    stateful = dl.Stateful(LAYERS["gru"])
    variables = stateful.init(KEY, STREAM[:, :6])
    _, state = stateful.apply(variables, STREAM[:, :6], mutable=["carry"])

    def loss(params, state):
        (_, outputs), _ = stateful.apply({"params": params, **state}, STREAM[:, 6:], mutable=["carry"])
        return (outputs**2).sum()

    of_params, of_state = jax.grad(loss, (0, 1))(variables["params"], state)
    assert not np.asarray(jax.tree.leaves(of_state)[0]).any()
    reference = jax.grad(
        lambda params: (
            LAYERS["gru"].apply({"params": params}, STREAM[:, 6:], None, state["carry"]["state"])[1] ** 2
        ).sum()
    )(variables["params"]["layer"])
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), of_params["layer"], reference
    )


def test_an_evaluation_begins_anew_whatever_the_number_of_rows():
    stateful = dl.Stateful(LAYERS["gru"])
    variables = stateful.init(KEY, STREAM[:, :6])
    _, state = stateful.apply(variables, STREAM[:, :6], mutable=["carry"])
    _, outputs = stateful.apply({**variables, **state}, STREAM[:2, 6:])
    expected = LAYERS["gru"].apply({"params": variables["params"]["layer"]}, STREAM[:2, 6:])[1]
    np.testing.assert_allclose(outputs, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("resets", "error", "message"),
    [
        (jnp.array([1, 0, 0]), TypeError, "resets: got int32, expected booleans"),
        (jnp.array([True]), ValueError, r"resets: got shape \(1,\), expected one a row, \(3,\)"),
    ],
)
def test_resets_that_cannot_be_are_refused(resets, error, message):
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
    with pytest.raises(
        ValueError, match=r"layer: got .* expected a Recurrent or DeepRecurrent that goes forward"
    ):
        dl.Stateful(layer)
