"""What recurrent layers refuse: the argument, what it got, what was expected, before anything is computed."""

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

import dlcore as dl

KEY = jax.random.key(0)
X = jnp.ones((3, 5, 2))
GRU, LSTM = dl.GRUCell(4), dl.LSTMCell(4)


def run(layer, *arguments, **options):
    return lambda: layer.init(KEY, *arguments, **options)


BAD = {
    "lengths: got -1 in row 1, expected 0 to 5": run(dl.Recurrent(GRU), X, jnp.array([5, -1, 0])),
    "lengths: got 6 in row 0, expected 0 to 5": run(dl.Recurrent(GRU), X, jnp.array([6, 1, 0])),
    "lengths: got float32, expected integers; lengths.astype": run(
        dl.Recurrent(GRU), X, jnp.array([5.0, 1, 0])
    ),
    "lengths: got bool, expected integers": run(dl.Recurrent(GRU), X, jnp.array([True, False, True])),
    "lengths: got shape (2,) for inputs of shape (3, 5, 2), expected one a row, (3,)": run(
        dl.Recurrent(GRU), X, jnp.array([5, 1])
    ),
    "lengths: got shape (3, 1) for inputs": run(dl.Recurrent(GRU), X, jnp.array([[5], [1], [2]])),
    "lengths: got shape () for inputs": run(dl.Recurrent(GRU), X, jnp.array(5)),
    "lengths: got list, expected an array of integers": run(dl.Recurrent(GRU), X, [5, 1, 0]),
    "lengths: got 9 in row (0, 2), expected 0 to 5": run(dl.Recurrent(GRU), X[None], jnp.array([[1, 2, 9]])),
    "lengths: got 7 in row 2, expected 0 to 5": run(
        dl.Bidirectional(GRU, GRU.clone()), X, jnp.array([1, 2, 7])
    ),
    "lengths: got -4 in row 0, expected 0 to 5": run(
        dl.DeepRecurrent(GRU, layers=2), X, jnp.array([-4, 2, 3]), train=False
    ),
    "lengths: got 8 in row 0, expected 0 to 5": lambda: dl.mean_over_time(X, jnp.array([8, 2, 3])),
    "inputs: got int32, expected floating point numbers": run(dl.Recurrent(GRU), X.astype(int)),
    "inputs: got complex64, expected floating point numbers": run(dl.Recurrent(GRU), X.astype(complex)),
    "inputs: got shape (5,), expected [*batch, T, features]": run(dl.Recurrent(GRU), X[0, :, 0]),
    "inputs: got shape (3, 5), expected [B, T, ...]": run(dl.TimeDistributed(nn.Dense(2)), X[..., 0]),
    "initial_carry: got (3, 7), expected (3, 4) for a step's inputs of shape (3, 2) and a GRUCell": run(
        dl.Recurrent(GRU), X, None, jnp.zeros((3, 7))
    ),
    "initial_carry: got (1, 4), expected (3, 4)": run(dl.Recurrent(GRU), X, None, jnp.zeros((1, 4))),
    "initial_carry: got (3, 4), expected ((3, 4), (3, 4))": run(
        dl.Recurrent(LSTM), X, None, jnp.zeros((3, 4))
    ),
    "initial_carry: got ((3, 4), (3, 4)), expected (3, 4)": run(
        dl.Recurrent(GRU), X, None, (jnp.zeros((3, 4)),) * 2
    ),
    "initial_carry: got (3, 4), expected a pair": run(
        dl.Bidirectional(GRU, GRU.clone()), X, None, jnp.zeros((3, 4))
    ),
    "initial_carry: got (3, 3, 4), expected a first dimension of 2 layers": run(
        dl.DeepRecurrent(GRU, layers=2), X, None, jnp.zeros((3, 3, 4)), train=False
    ),
    "time_chunk: got 0, expected an integer >= 1": run(dl.Recurrent(GRU, time_chunk=0), X),
    "time_chunk: got 2.5, expected an integer >= 1": run(dl.Recurrent(GRU, time_chunk=2.5), X),
    "truncate: got -3, expected an integer >= 1": run(dl.Recurrent(GRU, truncate=-3), X),
    "unroll: got 0, expected an integer >= 1": run(dl.Recurrent(GRU, unroll=0), X),
    "merge: got 'add', expected one of concat, sum, mean, product": run(
        dl.Bidirectional(GRU, GRU.clone(), "add"), X
    ),
    "merge: got 'sum' for outputs of shapes (3, 5, 4) and (3, 5, 3)": run(
        dl.Bidirectional(GRU, dl.GRUCell(3), "sum"), X
    ),
    "cell: got Recurrent, expected a cell such as dl.GRUCell": run(dl.Recurrent(dl.Recurrent(GRU)), X),
    "cell: got Dense, expected a cell such as dl.GRUCell": run(dl.Recurrent(nn.Dense(3)), X),
    "cells: got none, expected at least one": lambda: dl.FeedbackCell([]),
    "layers: got 1.5, expected an integer >= 1": lambda: dl.DeepRecurrent(GRU, layers=1.5),
}


@pytest.mark.parametrize("message", BAD)
def test_what_does_not_fit_is_named(message):
    with pytest.raises((ValueError, TypeError)) as caught:
        BAD[message]()
    assert message in str(caught.value)
    assert "expected" in str(caught.value)
    assert "\n" not in str(caught.value)
