"""A cell from the settings of flags: its kind, its initial values, and settings that do not fit it."""

import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlcore as dl
from dlcore.layers.recurrent.cell_config import CellName

KEY = jax.random.key(0)


def initial_params(*every, features=3):
    """The parameters of a cell of each of these settings, from one program."""
    cells = [dl.CellConfig(features=features, **settings).make_cell() for settings in every]

    @jax.jit
    def run():
        carries = [cell.initialize_carry(KEY, (1, 2)) for cell in cells]
        return [
            cell.init(KEY, carry, jnp.ones((1, 2)))["params"]
            for cell, carry in zip(cells, carries, strict=True)
        ]

    return run()


def test_every_cell_is_made_by_its_name():
    assert set(typing.get_args(CellName)) == set(dl.CELLS)
    for name in dl.CELLS:
        assert dl.CellConfig(name, 3).make_cell() == dl.CELLS[name](3)
    assert dl.CellConfig("lstm", 3, forget_bias=2.0).make_cell() == dl.LSTMCell(3, forget_bias=2.0)
    for name, cell in (("lstm", dl.LSTMCell), ("gru", dl.GRUCell)):
        assert dl.CellConfig(name, 3, chrono=9).make_cell() == cell(3, chrono=9)
    made = dl.CellConfig("projected", 8, forget_bias=2.0, projection=3).make_cell()
    assert made == dl.ProjectedLSTMCell(8, forget_bias=2.0, projection=3)


@pytest.mark.parametrize("name", ["rnn", "identity", "lstm"])
@pytest.mark.parametrize("init", ["own", "gaussian"])
def test_a_scale_multiplies_the_recurrent_kernel(name, init):
    half, whole = initial_params(
        *({"cell": name, "recurrent_scale": scale, "recurrent_init": init} for scale in (0.5, 1.0))
    )
    np.testing.assert_allclose(half["recurrent_kernel"], whole["recurrent_kernel"] / 2, rtol=1e-5)


@pytest.mark.slow
def test_the_initializer_of_the_recurrent_kernel():
    inits = "own", "identity", "orthogonal", "gaussian"
    every = initial_params(*({"cell": "rnn", "recurrent_init": init} for init in inits), features=64)
    own, identity, orthogonal, gaussian = (np.asarray(params["recurrent_kernel"]) for params in every)
    assert (identity == np.eye(64)).all()
    assert (own == orthogonal).all()
    np.testing.assert_allclose(orthogonal @ orthogonal.T, np.eye(64), atol=1e-5)
    assert np.abs(np.linalg.eigvals(gaussian)).max() == pytest.approx(1, abs=0.2)
    assert gaussian.std() == pytest.approx(1 / 8, rel=0.05)


def test_settings_that_do_not_fit_the_cell_are_refused():
    with pytest.raises(ValueError, match=r"forget_bias: got 0\.0 for the cell 'gru', expected none"):
        dl.CellConfig("gru", 3, forget_bias=0.0).make_cell()
    with pytest.raises(ValueError, match=r"chrono: got 9 for the cell 'rnn', .* for lstm and gru"):
        dl.CellConfig("rnn", 3, chrono=9).make_cell()
    with pytest.raises(ValueError, match=r"projection: got 2 for the cell 'lstm', .* it is for projected"):
        dl.CellConfig("lstm", 3, projection=2).make_cell()
    with pytest.raises(ValueError, match=r"chrono: got 9 and a forget_bias of 2.0, expected one of them"):
        dl.CellConfig("lstm", 3, chrono=9, forget_bias=2.0).make_cell()
    with pytest.raises(ValueError, match="cell: got 'grew', expected one of rnn, identity"):
        dl.CellConfig("grew", 3).make_cell()


def test_the_deviation_of_the_input_kernel():
    settings = {"cell": "gru", "input_deviation": 0.5, "recurrent_init": "gaussian"}
    (params,) = initial_params(settings, features=256)
    kernel = params["input_kernel"]
    assert kernel.std() == pytest.approx(0.5, rel=0.1)
